"""HTTP/1.1 on a plain TCP connection: says exactly the bytes it is given, and reads answers as they come, several ahead if need be.

A library would repair, retry or refuse what hostile clients send, and would cost more than the server it asks.
"""

import asyncio
import socket
import struct
from collections import deque
from typing import NamedTuple

_LENGTH = b"\ncontent-length:"
PATIENCE = 60.0  # seconds without an answer, on a machine that has other things to do
_RESET = struct.pack("ii", 1, 0)


class Gone(Exception):
    """The connection ended, or nothing came for too long."""


class Answer(NamedTuple):
    """One HTTP answer; `head` is all before the body, in lower case."""

    status: int
    head: bytes
    body: bytes


class Wire(asyncio.Protocol):
    """One connection. Not for two coroutines at once."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answers: deque[Answer] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end = asyncio.Event()
        self.waits_since = 0.0  # the event loop's time; 0: for nothing

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self._end.is_set()

    @classmethod
    async def open(cls, port: int) -> "Wire":
        """Connect to this host's port."""
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read what has come; wake who waits."""
        self._buffer += data
        while self._take():
            pass
        if self._answers:
            self._wake()

    def eof_received(self) -> bool:
        """Nothing more will come."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._end.set()
        self._wake()

    def send(self, data: bytes) -> None:
        """Send, or queue where the server does not read."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    async def answer(self) -> Answer:
        """The next answer. Raises `Gone`."""
        while not self._answers:
            if self.closed:
                raise Gone("the connection was closed without an answer")
            loop = asyncio.get_running_loop()
            self._waiter, self.waits_since = loop.create_future(), loop.time()
            try:
                await self._waiter
            finally:
                self._waiter, self.waits_since = None, 0.0
        return self._answers.popleft()

    async def ask(self, data: bytes) -> Answer:
        """Send, and wait for the answer."""
        self.send(data)
        return await self.answer()

    async def until_closed(self, seconds: float) -> None:
        """Wait for the server to close. Raises `Gone` when it does not."""
        async with asyncio.timeout(seconds):
            await self._end.wait()

    def give_up(self, why: str) -> None:
        """End the wait for an answer with `Gone`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Gone(why))

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        if self._transport is not None and not self.closed:
            self._transport.write_eof()

    def close(self) -> None:
        """Leave politely."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Leave rudely: the peer gets a reset, no goodbye."""
        if self._transport is not None and not self.closed:
            found: socket.socket | None = self._transport.get_extra_info("socket")
            if found is not None:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> bool:
        """Move one whole answer out of the buffer."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        at = head.find(_LENGTH)
        length = 0 if at < 0 else int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return False
        self._answers.append(Answer(int(head[9:12]), head, bytes(self._buffer[end + 4 : end + 4 + length])))
        del self._buffer[: end + 4 + length]
        return True
