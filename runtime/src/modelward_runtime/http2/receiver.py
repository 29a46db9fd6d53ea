"""What a client's frames do: open, feed, widen and end streams, by the rules of RFC 9113.

Used by `reader.py`, which cuts the frames, on behalf of a `connection.py`. What a client may do at most: `MOST_STREAMS` calls at once,
counting those that it gave up and that are still being worked on; fields of `Settings.most_fields` bytes, in so many frames; give up so
many calls before they are answered.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from modelward_runtime.http2 import frames
from modelward_runtime.http2.faults import Code, ConnectionFault, StreamFault
from modelward_runtime.http2.fields import BadFields, check
from modelward_runtime.http2.frames import ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY, Setting, Type
from modelward_runtime.http2.hpack import Decoder, Fields, FieldsTooLarge
from modelward_runtime.http2.stream import Stream

if TYPE_CHECKING:
    from modelward_runtime.http2.connection import Connection

MOST_STREAMS: Final = 1024
WINDOW: Final = (
    1 << 24
)  # bytes that a connection may have on the way to us: what is read is held by streams, under windows of their own
_MOST_CONTINUATIONS: Final = 16
_MOST_RESETS: Final = 1000  # before they are compared with what was answered


class Receiver:
    """One connection's. `settled` is that the client's first SETTINGS are there, `last` the highest stream that was opened."""

    def __init__(self, connection: "Connection", most_fields: int) -> None:
        self.settled = False
        self.last = 0
        self.most = frames.LAST_STREAM  # the highest that may be opened
        self._connection = connection
        self._most_fields = most_fields
        self._decoder = Decoder(most_fields)
        self._block: tuple[int, int, bytearray, int] | None = None  # fields in parts: stream, flags, bytes, parts
        self._taken = 0  # bytes for which the client has not got room again
        self._cut: dict[int, None] = {}  # streams that we have ended, whose frames may still be under way
        self._resets = 0

    @property
    def over(self) -> bool:
        """Nothing more is read."""
        return self._connection.closing

    @property
    def between(self) -> bool:
        """No block of fields has begun and not ended."""
        return self.settled and self._block is None

    @property
    def unfinished(self) -> int:
        """Bytes of a block of fields that has not ended."""
        return 0 if self._block is None else len(self._block[2])

    def remember_cut(self, number: int) -> None:
        """A stream was ended before its client has."""
        self._cut[number] = None
        if len(self._cut) > 4 * MOST_STREAMS:
            del self._cut[next(iter(self._cut))]

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """A whole frame. Raises `ConnectionFault`."""
        self._check_order(kind, number)
        try:
            if kind == Type.HEADERS:
                self._take_headers(flags, number, payload)
            elif kind in _TAKERS:
                _TAKERS[kind](self, flags, number, payload)
        except StreamFault as fault:
            self._fail(fault)

    def begin_body(self, number: int, flags: int, size: int, padding: int = 0) -> Stream | None:
        """A frame of a body begins: whose it is, None where nobody wants it. Raises `ConnectionFault`."""
        self._check_order(Type.DATA)
        self._taken += size
        if self._taken > WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._taken > WINDOW >> 1:
            self._connection.tell(frames.window_update(0, self._taken))
            self._taken = 0
        try:
            return self._find_for_body(number, size, padding, ends=bool(flags & END_STREAM))
        except StreamFault as fault:
            self._fail(fault)
            return None

    def _find_for_body(self, number: int, size: int, padding: int, *, ends: bool) -> Stream | None:
        stream = self._connection.streams.get(number)
        if stream is None:
            self._check_closed(number)
            return None
        if stream.heard:
            raise StreamFault(number, Code.STREAM_CLOSED)
        stream.allowance -= size
        if stream.allowance < 0:
            raise StreamFault(number, Code.FLOW_CONTROL_ERROR)
        if stream.expected >= 0:
            stream.expected -= size - padding
            if stream.expected < 0 or (ends and stream.expected):
                raise StreamFault(number, Code.PROTOCOL_ERROR)
        return stream

    def _check_order(self, kind: int, number: int = 0) -> None:
        """SETTINGS come first, and nothing between the parts of a block of fields."""
        if not self.settled and kind != Type.SETTINGS:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if (kind == Type.CONTINUATION) != (self._block is not None) or (self._block and self._block[0] != number):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "header fields are interrupted, or go on without a beginning")

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._connection.reader.give_body(number, flags, frames.without_padding(payload), len(payload))

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "clients' streams have odd numbers")
        if flags & PADDED:
            payload = frames.without_padding(payload)
        if flags & PRIORITY:
            _check_priority(payload, number)
            payload = payload[5:]
        if flags & END_HEADERS:
            self._take_block(number, flags, payload)
        else:
            self._block = (number, flags, bytearray(payload), 1)
            self._connection.owes()

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, block, count = self._block
        block += payload
        if count > _MOST_CONTINUATIONS or len(block) > 2 * self._most_fields:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "the header fields are too large")
        if flags & END_HEADERS:
            self._block = None
            self._connection.owes_nothing()
            self._take_block(number, first_flags, bytes(block))
        else:
            self._block = (number, first_flags, block, count + 1)

    def _take_block(self, number: int, flags: int, block: bytes) -> None:
        """A whole block of fields: a stream opens, or ends with trailers."""
        fields: Fields | None
        try:
            fields = self._decoder.decode(block)
        except FieldsTooLarge:
            fields = None
        stream = self._connection.streams.get(number)
        if stream is not None:
            _end_with_trailers(stream, flags, fields)
        elif number > self.last:
            self._open(number, flags, fields)
        else:
            self._check_closed(number)

    def _open(self, number: int, flags: int, fields: Fields | None) -> None:
        self.last = number
        if number > self.most or self._connection.load >= MOST_STREAMS:
            raise StreamFault(number, Code.REFUSED_STREAM)
        try:
            expected = -1 if fields is None else check(fields)
        except BadFields:
            raise StreamFault(number, Code.PROTOCOL_ERROR) from None
        heard = bool(flags & END_STREAM)
        if heard and expected > 0:
            raise StreamFault(number, Code.PROTOCOL_ERROR)
        self._connection.open(number, fields, expected, heard=heard)

    def _take_priority(self, _flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != 5:
            raise StreamFault(number, Code.FRAME_SIZE_ERROR)
        _check_priority(payload, number)

    def _take_reset(self, _flags: int, number: int, payload: bytes) -> None:
        if not number or number > self.last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "RST_STREAM of no stream")
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        stream = self._connection.streams.get(number)
        if stream is not None:
            self._count_reset()
            self._connection.lose(stream)

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS that acknowledge and say something")
            return
        changes = list(frames.read_settings(payload))
        self._connection.write(frames.frame(Type.SETTINGS, ACK, 0))
        outbox = self._connection.outbox
        for name, value in changes:
            if name == Setting.INITIAL_WINDOW_SIZE:
                outbox.resize(value, list(self._connection.streams.values()))
            elif name == Setting.MAX_FRAME_SIZE:
                outbox.frames_of(value)
            elif name == Setting.HEADER_TABLE_SIZE:
                outbox.table_of(value)
        if not self.settled:
            self.settled = True
            self._connection.owes_nothing()
        self._connection.hear_settings(changes)

    def _take_push(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "nobody may push here")

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING has eight bytes")
        if flags & ACK:
            self._connection.hear_ping(payload)
        else:
            self._connection.tell(frames.frame(Type.PING, ACK, 0, payload))

    def _take_goaway(self, _flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY of a stream, or of less than it says")
        self._connection.hear_goaway(int.from_bytes(payload[:4], "big") & frames.LAST_STREAM)

    def _take_update(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        more = int.from_bytes(payload, "big") & frames.MOST_WINDOW
        if not number:
            if not more:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self._connection.outbox.widen(more, None)
            return
        stream = self._connection.streams.get(number)
        if stream is None:
            if number > self.last:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of no stream")
            return
        if not more:
            raise StreamFault(number, Code.PROTOCOL_ERROR)
        if stream.window + more > frames.MOST_WINDOW:
            raise StreamFault(number, Code.FLOW_CONTROL_ERROR)
        self._connection.outbox.widen(more, stream)

    def _check_closed(self, number: int) -> None:
        """A frame of a stream that is not open: nothing, where the client could not know; else a fault."""
        if number in self._cut:
            return
        if not number or not number & 1 or number > self.last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame of a stream that was never opened")
        raise ConnectionFault(Code.STREAM_CLOSED, "a frame of a stream that has ended")

    def _fail(self, fault: StreamFault) -> None:
        """A client broke one of its streams."""
        self._connection.write(frames.reset(fault.stream, fault.code))
        self.remember_cut(fault.stream)
        stream = self._connection.streams.get(fault.stream)
        if stream is not None:
            self._connection.lose(stream)
        elif fault.code != Code.REFUSED_STREAM:
            self._count_reset()

    def _count_reset(self) -> None:
        self._resets += 1
        if self._resets > _MOST_RESETS and self._resets > 2 * self._connection.answered:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many streams were wrong, or given up")


_TAKERS: Final[dict[int, Callable[[Receiver, int, int, bytes], None]]] = {
    Type.DATA: Receiver._take_data,  # noqa: SLF001  its own, as all of these
    Type.PRIORITY: Receiver._take_priority,  # noqa: SLF001
    Type.RST_STREAM: Receiver._take_reset,  # noqa: SLF001
    Type.SETTINGS: Receiver._take_settings,  # noqa: SLF001
    Type.PUSH_PROMISE: Receiver._take_push,  # noqa: SLF001
    Type.PING: Receiver._take_ping,  # noqa: SLF001
    Type.GOAWAY: Receiver._take_goaway,  # noqa: SLF001
    Type.WINDOW_UPDATE: Receiver._take_update,  # noqa: SLF001
    Type.CONTINUATION: Receiver._take_continuation,  # noqa: SLF001
}


def _end_with_trailers(stream: Stream, flags: int, fields: Fields | None) -> None:
    if stream.heard:
        raise StreamFault(stream.number, Code.STREAM_CLOSED)
    if not flags & END_STREAM or stream.expected > 0 or any(name.startswith(b":") for name, _ in fields or ()):
        raise StreamFault(stream.number, Code.PROTOCOL_ERROR)
    stream.heard = True
    stream.received(b"")


def _check_priority(payload: bytes, number: int) -> None:
    if len(payload) < 5:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PRIORITY has five bytes")
    if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == number:
        raise StreamFault(number, Code.PROTOCOL_ERROR)
