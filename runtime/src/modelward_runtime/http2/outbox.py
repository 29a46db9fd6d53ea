"""What a connection sends: frames, as far as the client's windows let them through, and in the order in which they were given.

Used by `stream.py` and `connection.py`. A block of header fields is written when it is its turn and not before, because the order of
blocks is the state of the peer's table. What goes out in one step with its end, as most answers do, is one write.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from modelward_runtime.http2.faults import Code, ConnectionFault
from modelward_runtime.http2.frames import (
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD,
    MOST_WINDOW,
    Type,
    frame,
)
from modelward_runtime.http2.hpack import Encoder, Fields

if TYPE_CHECKING:
    from modelward_runtime.http2.connection import Connection
    from modelward_runtime.http2.stream import Bytes, Stream

_JOINED: Final = 1 << 16  # bytes that are cheaper to copy once more than to hand over in pieces
_TURN: Final = 1 << 16  # bytes of one stream, before another has its turn
_PIECE: Final = (
    1 << 18
)  # of one write: a client that takes large frames must not fill what is kept for those that do not read


class Pending:
    """What of one stream waits: bytes of its body, then, maybe, the fields that end it, or its mere end."""

    __slots__ = ("chunks", "end", "last")

    def __init__(self) -> None:
        self.chunks: deque[memoryview] = deque()
        self.end: tuple[Fields, Fields] | None = None
        self.last = False


class Outbox:
    """One connection's."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._encoder = Encoder()
        self._window = DEFAULT_WINDOW
        self._initial = DEFAULT_WINDOW
        self._largest = DEFAULT_FRAME
        self._waiting: dict[int, Stream] = {}

    @property
    def initial(self) -> int:
        """The window of a stream that opens now."""
        return self._initial

    def answer(self, stream: "Stream", fields: Fields, parts: "list[Bytes]", size: int, ending: Fields) -> None:
        """A whole answer at once."""
        if stream.closed:
            return
        most = min(self._window, stream.window, self._largest, _JOINED)
        if size > most or stream.pending is not None or self._connection.choked:
            self.fields(stream, fields, (), end=False)
            self.data(stream, parts, size)
            self.fields(stream, ending, (), end=True)
            return
        self._window -= size
        stream.window -= size
        number = stream.number
        block, last = self._encoder.encode(fields), self._encoder.encode(ending)
        write = HEAD.pack
        self._connection.write(
            b"".join(
                (
                    write(len(block) << 8 | Type.HEADERS, END_HEADERS, number),
                    block,
                    write(size << 8 | Type.DATA, 0, number),
                    *parts,
                    write(len(last) << 8 | Type.HEADERS, END_HEADERS | END_STREAM, number),
                    last,
                )
            )
        )
        self._connection.ended(stream)

    def fields(self, stream: "Stream", fields: Fields, others: Fields, *, end: bool) -> None:
        """A block of header fields; with `end` the last thing that is sent."""
        if stream.closed:
            return
        if isinstance(stream.pending, Pending):  # only the end comes behind a body
            stream.pending.end = fields, others
            return
        self._write_block(stream.number, self._encoder.encode(fields, others), end=end)
        if end:
            self._connection.ended(stream)

    def data(self, stream: "Stream", parts: "list[Bytes]", size: int) -> None:
        """A part of the body."""
        if stream.closed:
            return
        pending = stream.pending
        if not isinstance(pending, Pending):
            pending = stream.pending = Pending()
        if size <= _JOINED:
            parts = [b"".join(parts)]
        pending.chunks.extend(memoryview(part) for part in parts if len(part))
        self._pump(stream)

    def end(self, stream: "Stream") -> None:
        """The end of a body that no fields follow, as a client's."""
        if stream.closed:
            return
        if isinstance(stream.pending, Pending):
            stream.pending.last = True
            return
        self._connection.write(frame(Type.DATA, END_STREAM, stream.number))

    def widen(self, more: int, stream: "Stream | None") -> None:
        """The client takes so many bytes more: of one stream, or of all. Raises `ConnectionFault`."""
        if stream is not None:
            stream.window += more
            if stream.number in self._waiting:
                self._pump(stream)
            return
        self._window += more
        if self._window > MOST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window is too large")
        self.go_on()

    def resize(self, initial: int, streams: "list[Stream]") -> None:
        """The client has changed what a stream's window is at first. Raises `ConnectionFault`."""
        change, self._initial = initial - self._initial, initial
        for stream in streams:
            stream.window += change
            if stream.window > MOST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a stream's window is too large")
        self.go_on()

    def frames_of(self, largest: int) -> None:
        """The client takes frames of so many bytes."""
        self._largest = largest

    def table_of(self, size: int) -> None:
        """The client's table of header fields has so many bytes."""
        self._encoder.limit(size)

    def go_on(self) -> None:
        """Send what waits, each stream a piece in turn, until nothing more gets through."""
        moved = True
        while moved and self._waiting and self._window and not self._connection.choked:
            moved = False
            for stream in list(self._waiting.values()):
                moved = self._pump(stream, _TURN) or moved

    def forget(self, stream: "Stream") -> None:
        """Nothing of this stream is sent any more."""
        stream.pending = None
        self._waiting.pop(stream.number, None)

    def _pump(self, stream: "Stream", most: int = MOST_WINDOW) -> bool:
        """Send of one stream what gets through; whether anything did."""
        pending = stream.pending
        if not isinstance(pending, Pending):
            return False
        chunks, sent = pending.chunks, 0
        while chunks and sent < most and not self._connection.choked:
            room = min(self._window, stream.window, self._largest, _PIECE, len(chunks[0]))
            if room <= 0:
                break
            self._write_data(stream, chunks, room)
            sent += room
        if chunks:
            self._waiting[stream.number] = stream
        else:
            self._settle(stream, pending)
        return sent > 0

    def _write_data(self, stream: "Stream", chunks: deque[memoryview], room: int) -> None:
        self._window -= room
        stream.window -= room
        chunk = chunks[0]
        if room == len(chunk):
            chunks.popleft()
        else:
            chunks[0] = chunk[room:]
        self._connection.write(HEAD.pack(room << 8 | Type.DATA, 0, stream.number))
        self._connection.write(chunk[:room])

    def _settle(self, stream: "Stream", pending: Pending) -> None:
        """All of its body is on its way."""
        self.forget(stream)
        if pending.end is not None:
            self.fields(stream, *pending.end, end=True)
            return
        if pending.last:
            self.end(stream)
        stream.drained()

    def _write_block(self, number: int, block: bytes, *, end: bool) -> None:
        flags = END_STREAM if end else 0
        if len(block) <= self._largest:
            self._connection.write(frame(Type.HEADERS, flags | END_HEADERS, number, block))
            return
        pieces = [block[start : start + self._largest] for start in range(0, len(block), self._largest)]
        kinds = [Type.HEADERS] + [Type.CONTINUATION] * (len(pieces) - 1)
        for place, (kind, piece) in enumerate(zip(kinds, pieces, strict=True)):
            last = END_HEADERS if place == len(pieces) - 1 else 0
            self._connection.write(frame(kind, last | (flags if place == 0 else 0), number, piece))
