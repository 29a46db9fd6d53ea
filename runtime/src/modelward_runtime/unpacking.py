"""Unpacks what callers packed with gzip or deflate, within their limits: a small body may hold a huge one.

    a small body ──▶ here, for as long as little comes out of it ──▶ whole
    a large one, or what turns out to be ──▶ on a thread, until the request's deadline; who is late holds nothing any more, and so the
                                             thread ends with the piece that it is at

Called by both transports. It must not know what a body is.
"""

import asyncio
import zlib
from typing import Final

from modelward_runtime.budget import Hold
from modelward_runtime.errors import BadRequest, BodyTooLarge, DeadlineExceeded
from modelward_runtime.stepping import wait_by

WINDOW_BITS: Final = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_PIECE: Final = 1 << 22  # so much is unpacked before the budget is asked for more
_SMALL: Final = 1 << 16  # bytes of a body that is begun on the event loop …
_LITTLE: Final = 1 << 18  # … and so much of what comes out of it: a thousand times as much may

Packed = bytes | bytearray | memoryview


class Unpacking:
    """One body, whose packing is one of `WINDOW_BITS`. Its methods raise `BadRequest`, `BodyTooLarge` or `BodiesFull`."""

    def __init__(self, body: Packed, packing: str, limit: int, hold: Hold) -> None:
        self._unpacker = zlib.decompressobj(WINDOW_BITS[packing])
        self._packing, self._limit, self._hold = packing, limit, hold
        self._packed, self._rest = len(body), bytes(body)
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False

    def go_on(self, most: int) -> bool:
        """Unpack so many bytes more at most; True when nothing more comes."""
        enough = self._size + most
        while not self._ended and self._size < enough:
            try:
                part = self._unpacker.decompress(
                    self._rest, min(_PIECE, enough - self._size, self._limit + 1 - self._size)
                )
            except zlib.error as bad:
                raise BadRequest(f"the body is not valid {self._packing}: {bad}") from None
            if not part:
                self._ended = True
                break
            self._rest = self._unpacker.unconsumed_tail
            self._size += len(part)
            if self._size > self._limit:
                raise BodyTooLarge(self._limit)
            self._hold.reach(self._packed + self._size)
            self._parts.append(part)
        return self._ended

    def whole(self) -> bytes:
        """All that was in it, never more than the limit or the budget."""
        self.go_on(self._limit + 1)
        if not self._unpacker.eof or self._unpacker.unused_data:
            raise BadRequest(f"the body is not valid {self._packing}: it ends too early or too late")
        return b"".join(self._parts)


def unpack(body: Packed, packing: str, limit: int, hold: Hold) -> bytes:
    """Unpacked bytes, here and now: of what is known to be little. Raises as `Unpacking` does."""
    return Unpacking(body, packing, limit, hold).whole()


async def unpack_by(deadline: float, body: Packed, packing: str, limit: int, hold: Hold) -> bytes:
    """Unpacked bytes, before the deadline in the event loop's time. Raises as `Unpacking` does, and `DeadlineExceeded`."""
    unpacking = Unpacking(body, packing, limit, hold)
    if len(body) <= _SMALL and unpacking.go_on(_LITTLE):
        return unpacking.whole()
    thread = asyncio.get_running_loop().run_in_executor(None, unpacking.whole)
    try:
        return await wait_by(deadline, thread)
    except TimeoutError:
        raise DeadlineExceeded("the deadline passed before the request was unpacked") from None
