"""HTTP/1.1 connections to a pod, for one request after the other: the answer is handed on as it comes, never gathered.

Used by `rest.py` to forward and by `probing.py`. Both directions have back-pressure: nothing is read from a pod faster than the caller
takes it. It follows nothing, decodes nothing, and must not send a request twice.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import httptools

CONNECT_SECONDS: Final = 1.0
_MOST_BUFFERED: Final = 1 << 16  # of an answer: what `share.PER_CALL` counts on
_MOST_HEAD: Final = 1 << 16
_MOST_IDLE: Final = 16
_KEPT_SECONDS: Final = 5.0  # far shorter than a pod keeps an idle connection: it is never the pod that closes first


class ConnectFailed(Exception):
    """There is no connection, and so the pod knows nothing of the request: another may have it."""


class Broken(Exception):
    """The connection ended, or spoke no HTTP, in the middle of an answer or before it."""


@dataclass(slots=True)
class Head:
    """The head of an answer; names as the pod spelt them."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One connection; also the parser's callbacks. One task reads, another may write."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.used = 0.0
        self.gone = False
        self._parser: httptools.HttpResponseParser | None = None
        self._head = Head()
        self._head_bytes = 0
        self._headless = False
        self._parts: deque[bytes] = deque()
        self._buffered = 0
        self._begun = self._complete = self._framed = self._keep = False
        self._error: Exception | None = None
        self._moved = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def reusable(self) -> bool:
        """The answer is whole and the pod keeps the connection."""
        return self._complete and self._keep and not self.gone

    @property
    def drained(self) -> bool:
        """The answer is whole, and all of it was taken."""
        return self._complete and not self._parts

    def begin(self, request: bytes, *, is_head: bool = False) -> None:
        """Send the first bytes of a request. `is_head`: its answer has a length and no body."""
        self._parser = httptools.HttpResponseParser(self)
        self._head, self._head_bytes, self._headless = Head(), 0, is_head
        self._begun = self._complete = self._framed = self._keep = False
        self._moved.clear()
        self.transport.write(request)

    async def write(self, data: bytes) -> None:
        """More of the request, as fast as the pod takes it."""
        await self._writable.wait()
        if not self.gone:
            self.transport.write(data)

    async def head(self) -> Head:
        """The head of the answer. Raises `Broken`, or what `fail` was given."""
        while not self._begun:
            await self._move()
        return self._head

    async def part(self) -> bytes:
        """The next piece of its body, empty at the end. Raises as `head` does."""
        while not self._parts:
            if self._complete:
                return b""
            await self._move()
        part = self._parts.popleft()
        self._buffered -= len(part)
        if self._buffered < _MOST_BUFFERED and not self.gone:
            self.transport.resume_reading()
        return part

    def fail(self, error: Exception) -> None:
        """Whoever reads gets this instead of the rest."""
        if self._error is None:
            self._error = error
        self._moved.set()

    def close(self) -> None:
        """End it without waiting for the other side."""
        self.gone = True
        self.transport.abort()

    async def _move(self) -> None:
        if self._error is not None:
            raise self._error
        self._moved.clear()
        await self._moved.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = transport  # type: ignore[assignment]  # a TCP connection's transport is one

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._parser is None or self._complete:
            self.close()  # nobody asked
            return
        if not self._begun:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(Broken(f"no HTTP: {type(error).__name__}"))
            self.close()
            return
        if not self._begun and self._head_bytes > _MOST_HEAD:
            self.fail(Broken("the head of the answer is too long"))
            self.close()
        if self._buffered >= _MOST_BUFFERED:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer without a length ends with its connection, any other was cut off."""
        self.gone = True
        self._writable.set()
        if self._begun and not self._framed and exc is None:
            self._complete = True
        if not self._complete:
            self.fail(Broken("the connection ended"))
        self._moved.set()

    def pause_writing(self) -> None:
        """The pod does not take more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def on_message_begin(self) -> None:
        """What a pod says behind its answer is nobody's, and such a connection is not kept."""
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        if self._complete:
            return
        self._head.headers.append((name, value))
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._framed = True

    def on_headers_complete(self) -> None:
        """The head is there, unless it only hints that there will be one."""
        assert self._parser is not None  # noqa: S101  its callback
        status = self._parser.get_status_code()
        if self._complete:
            return
        if status < 200:
            self._head.headers.clear()
            return
        self._head.status, self._begun = status, True
        self._keep = self._parser.should_keep_alive()
        if self._headless:
            self._complete, self._keep = True, False  # the parser would wait for the body that the length speaks of
        self._moved.set()

    def on_body(self, part: bytes) -> None:
        """A piece of the body."""
        if self._complete:
            return
        self._parts.append(part)
        self._buffered += len(part)
        self._moved.set()

    def on_message_complete(self) -> None:
        """That was all."""
        if self._begun:
            self._complete = True
            self._moved.set()


class Pool:
    """Connections to one port of one pod, by TLS where there is a context for it."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None = None, server_name: str = "") -> None:
        self.place = (address, port)
        self._tls, self._server_name = tls, server_name
        self._idle: list[Connection] = []

    async def take(self, seconds: float = CONNECT_SECONDS) -> Connection:
        """A connection that nobody uses. Raises `ConnectFailed`."""
        loop = asyncio.get_running_loop()
        while self._idle:
            kept = self._idle.pop()
            if not kept.gone and loop.time() - kept.used < _KEPT_SECONDS:
                return kept
            kept.close()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    Connection, *self.place, ssl=self._tls, server_hostname=self._server_name if self._tls else None
                )
        except TimeoutError:
            raise ConnectFailed("no connection in time") from None
        except OSError as error:  # of TLS, too
            raise ConnectFailed(str(error)) from None
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next request, if that can be."""
        if connection.reusable and len(self._idle) < _MOST_IDLE:
            connection.used = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Let the idle ones go."""
        while self._idle:
            self._idle.pop().close()
