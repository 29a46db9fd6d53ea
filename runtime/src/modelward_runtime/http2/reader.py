"""Cuts what a client sends into frames, and gives bodies to their streams as they come.

Used by `connection.py`. All connections read into one buffer of their server, which is empty again when a read has been looked at: what a
frame lacks is kept here. A large frame of a body is read to where its stream wants it.
"""

from typing import TYPE_CHECKING, Final

from modelward_runtime.http2.faults import Code, ConnectionFault
from modelward_runtime.http2.frames import END_STREAM, HEAD, PADDED, PREFACE

if TYPE_CHECKING:
    from modelward_runtime.http2.receiver import Receiver
    from modelward_runtime.http2.stream import Bytes, Stream

_DIRECT: Final = 1 << 15  # of a body, that are worth a read of their own


class Reader:
    """One connection's. `largest` bounds a frame, `most_fields` one that is none of a body. `greeted`: it begins without a preface."""

    def __init__(
        self, receiver: "Receiver", buffer: memoryview, largest: int, most_fields: int, *, greeted: bool = False
    ) -> None:
        self._receiver = receiver
        self._buffer = buffer
        self._largest = largest
        self._most_fields = most_fields
        self._greeted = greeted
        self._kept = b""  # the beginning of a frame, or of the preface
        self._within = False  # a frame of a body
        self._stream: Stream | None = None  # whose it is; None where nobody wants it
        self._left = 0  # bytes of it that are still to come
        self._ends = False  # it is the last one
        self._into: memoryview | None = None  # where the next bytes go, if not into the buffer

    @property
    def between(self) -> bool:
        """No frame has begun and not ended."""
        return self._greeted and not self._kept and not self._within

    @property
    def unfinished(self) -> int:
        """Bytes of a frame that is not whole, if it is none of a body."""
        return len(self._kept)

    def room(self) -> memoryview:
        """Where the next bytes go."""
        self._into = None
        stream = self._stream
        if self._left >= _DIRECT and stream is not None and not stream.closed:
            room = stream.room()
            if room is not None and len(room) >= _DIRECT:
                self._into = room[: self._left]
                return self._into
        return self._buffer

    def take(self, count: int) -> None:
        """So many of them are there. Raises `ConnectionFault`."""
        if self._into is not None:
            self._into = None
            self._left -= count
            self._fill(count)
        elif count <= _DIRECT:  # slices of bytes are cheaper than views, as long as they are short
            self._read(self._kept + self._buffer[:count])
        elif self._kept:
            self._read(memoryview(self._kept + self._buffer[:count]))
        else:
            self._read(self._buffer[:count])

    def give_body(self, number: int, flags: int, content: bytes, size: int) -> None:
        """A frame of a body that was read as a whole, because it was padded to `size`."""
        stream = self._receiver.begin_body(number, flags, size, size - len(content))
        if stream is not None:
            if not flags & END_STREAM:
                stream.allow(size - len(content))  # padding is nothing that anybody waits for
            _give(stream, content, ends=bool(flags & END_STREAM))

    def _read(self, data: "Bytes") -> None:
        position, end = (0 if self._greeted else self._greet(data)), len(data)
        while self._greeted and not self._receiver.over:
            if self._within:
                position = self._read_body(data, position, end)
                if self._within:
                    break
            if end - position < 9:
                break
            word, flags, number = HEAD.unpack_from(data, position)
            length, kind = word >> 8, word & 0xFF
            number &= 0x7FFFFFFF
            self._check_length(kind, length)
            if not kind and not flags & PADDED:
                position += 9
                if length <= end - position:
                    position = self._read_bodies(data, position, end, number, flags, length)
                else:
                    self._begin(number, flags, length)
                continue
            if end - position < 9 + length:
                break
            position += 9 + length
            self._receiver.take(kind, flags, number, bytes(data[position - length : position]))
        self._kept = bytes(data[position:]) if position < end else b""

    def _greet(self, data: "Bytes") -> int:
        """How much of this is the preface, which is kept until it is whole."""
        begun = bytes(data[: len(PREFACE)])
        if not PREFACE.startswith(begun):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks HTTP/2")
        self._greeted = len(begun) == len(PREFACE)
        return len(begun) if self._greeted else 0

    def _check_length(self, kind: int, length: int) -> None:
        if length > self._largest:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is too large")
        if kind and length > 2 * self._most_fields:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "nothing but a body may be so large")

    def _begin(self, number: int, flags: int, length: int) -> None:
        self._stream = self._receiver.begin_body(number, flags, length)
        self._left, self._ends, self._within = length, bool(flags & END_STREAM), True

    def _read_bodies(self, data: "Bytes", position: int, end: int, number: int, flags: int, length: int) -> int:
        """Give a stream a whole frame of its body, and those that follow: clients cut large ones into many. Where they end."""
        stop = position + length
        pieces, size = [(position, stop)], length
        while not flags & END_STREAM and end - stop >= 9:
            word, next_flags, next_number = HEAD.unpack_from(data, stop)
            length = word >> 8
            if word & 0xFF or next_flags & PADDED or next_number & 0x7FFFFFFF != number:
                break
            if length > end - stop - 9 or length > self._largest:
                break
            flags, position, stop = next_flags, stop + 9, stop + 9 + length
            pieces.append((position, stop))
            size += length
        stream = self._receiver.begin_body(number, flags, size)
        if stream is not None:
            _give_all(stream, data, pieces, size, ends=bool(flags & END_STREAM))
        return stop

    def _read_body(self, data: "Bytes", position: int, end: int) -> int:
        """Give a stream what is there of its frame; where that ends."""
        stop = min(position + self._left, end)
        self._left -= stop - position
        stream = self._stream
        if not self._left:
            self._within, self._stream = False, None
        if stream is not None and (stop > position or not self._left):
            _give(stream, data[position:stop], ends=self._ends and not self._left)
        return stop

    def _fill(self, count: int) -> None:
        stream = self._stream
        if not self._left:
            self._within, self._stream = False, None
        if stream is not None and not stream.closed:
            stream.heard = self._ends and not self._left
            stream.filled(count)


def _give(stream: "Stream", data: "Bytes", *, ends: bool) -> None:
    if not stream.closed:
        stream.heard = ends
        if len(data) or ends:
            stream.received(data)


def _give_all(stream: "Stream", data: "Bytes", pieces: list[tuple[int, int]], size: int, *, ends: bool) -> None:
    """Several parts of a body at once: where the stream wants them, once it has said where."""
    room = None if stream.closed else stream.room()
    if room is None:  # the first may tell it
        begin, stop = pieces.pop(0)
        _give(stream, data[begin:stop], ends=ends and not pieces)
        size -= stop - begin
        room = stream.room() if pieces and not stream.closed else None
    if room is None or len(room) < size or not size:
        for begin, stop in pieces:
            _give(stream, data[begin:stop], ends=ends and stop == pieces[-1][1])
        return
    filled = 0
    for begin, stop in pieces:
        room[filled : filled + stop - begin] = data[begin:stop]
        filled += stop - begin
    stream.heard = ends
    stream.filled(filled)
