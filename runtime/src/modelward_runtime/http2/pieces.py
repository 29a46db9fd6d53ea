"""A stream whose body goes through piece by piece: a task takes it, and the other side gets room for more when it has.

What such a stream has in memory is at most its window, however long its body is. Used by `client.py` for answers, and by the activator for
what callers send.
"""

import asyncio
from typing import TYPE_CHECKING

from modelward_runtime.http2.stream import Bytes, Stream

if TYPE_CHECKING:
    from modelward_runtime.http2.connection import Connection


class Lost(Exception):
    """The other side ended the stream before its body, or the connection did."""


class Pieces(Stream):
    """One task reads, another may write."""

    __slots__ = ("_came", "_least", "_reader", "_taken", "_writer")

    def __init__(self, connection: "Connection", number: int, window: int, allowance: int) -> None:
        super().__init__(connection, number, window, allowance)
        self._came = bytearray()
        self._taken, self._least = 0, allowance >> 2  # bytes that are done with, and how many are worth a frame
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    async def piece(self) -> bytes:
        """What has come of the body, empty at its end; who asks is done with what came before. Raises `Lost`."""
        if self._taken >= self._least:
            self.allow(self._taken)
            self._taken = 0
        while not self._came:
            if self.heard:
                return b""
            await self.move()
        piece = bytes(self._came)
        self._came.clear()
        self._taken += len(piece)
        return piece

    async def look(self, beyond: int) -> bytes:
        """What has come and is not taken by this: more than so many bytes, or all there is. Raises `Lost`."""
        while not self.heard and len(self._came) <= beyond:
            await self.move()
        return bytes(self._came)

    async def move(self) -> None:
        """Until something comes. Raises `Lost`."""
        if self.closed:
            raise Lost
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    async def write(self, data: Bytes) -> None:
        """Send a piece. Returns when it is on its way, or nobody wants it."""
        self.send([data], len(data))
        while self.pending is not None and not self.closed:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def received(self, data: Bytes) -> None:
        """A piece of its body, or its end."""
        self._came += data
        _wake(self._reader)

    def drained(self) -> None:
        """What was sent is on its way."""
        _wake(self._writer)

    def lost(self) -> None:
        """Nothing more comes, and nobody waits. A body that is complete is still there to be taken."""
        if not self.heard:
            self._came.clear()
        _wake(self._reader)
        _wake(self._writer)


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
