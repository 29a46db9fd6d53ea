"""The socket's side of an HTTP connection, played by a test: bytes in, answers out, and callers who leave or do not read."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import httptools

from modelward_runtime.connection import Application, Connection
from modelward_runtime.site import Site

Answer = tuple[int, dict[str, str], bytes]
NO_ANSWER: Answer = (0, {}, b"")
PEER = ("::ffff:127.0.0.1", 5)


class Wire(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self, application: Application, site: Site | None = None) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = self.finished = self.paused = False
        self.connection: Connection = (Site(application, keep_alive=120) if site is None else site)()
        self._unread = bytearray()
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        self.connection.connection_made(self)

    # what the caller does

    def feed(self, data: bytes) -> None:
        """Send. What the connection does not want to read yet, it reads when it does."""
        self._unread += data
        self._deliver()

    def hang_up(self) -> None:
        """Leave."""
        self.close()

    async def answers(self, count: int = 1, *, heads: Iterable[str] = ()) -> list[Answer]:
        """The next answers, whole; fewer where the connection ends before. `heads` says of which methods they are to be."""
        reader = Reader(self.sent, list(heads))
        while len(reader.answers) < count and not self.closed and not self.finished:
            self._something.clear()
            await self._something.wait()
            reader = Reader(self.sent, list(heads))
        return reader.answers

    async def ended(self) -> None:
        """Return when the connection is closed."""
        while not self.closed:
            self._something.clear()
            await self._something.wait()

    # what the connection does

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The caller's address."""
        return PEER if name == "peername" else default

    def write(self, data: Any) -> None:
        """Keep it."""
        assert not self.closed, "written to nobody"
        self.sent += data
        self._something.set()

    def is_closing(self) -> bool:
        """It was closed."""
        return self.closed

    def close(self) -> None:
        """End; the connection hears of it a moment later."""
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self.connection.connection_lost, None)
            self._loop.call_soon(self._something.set)

    def abort(self) -> None:
        """As above: nothing is buffered here."""
        self.close()

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """The connection says no more."""
        self.finished = True
        self._something.set()

    def pause_reading(self) -> None:
        """Nothing more is wanted for now."""
        self.paused = True

    def resume_reading(self) -> None:
        """And again, a moment later."""
        self.paused = False
        self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        """All was taken."""
        return 0

    def _deliver(self) -> None:
        """As an event loop does it: to where the connection says, as long as it wants to read."""
        while self._unread and not (self.paused or self.closed):
            room = self.connection.get_buffer(-1)
            count = min(len(room), len(self._unread))
            room[:count], self._unread = self._unread[:count], self._unread[count:]
            self.connection.buffer_updated(count)


class Reader:
    """Whole answers among bytes."""

    def __init__(self, data: bytes | bytearray, heads: list[str]) -> None:
        self.answers: list[Answer] = []
        self._heads = heads
        self._headers: dict[str, str] = {}
        self._body = b""
        rest = bytes(data)
        while rest and (end := rest.find(b"\r\n\r\n")) > 0:
            self._whole = False
            self._headers, self._body = {}, b""
            self._parser = httptools.HttpResponseParser(self)
            method = heads[len(self.answers)] if len(self.answers) < len(heads) else "GET"
            head = rest[: end + 4]
            self._parser.feed_data(head)
            status = self._parser.get_status_code()
            length = int(self._headers.get("content-length", 0))
            if method == "HEAD" or status < 200:
                size = len(head)
            elif self._headers.get("transfer-encoding") == "chunked":
                size = rest.find(b"0\r\n\r\n", len(head)) + 5
                self._parser.feed_data(rest[len(head) : size])
            else:
                size = len(head) + length
                self._body = rest[len(head) : size]
            if size < len(head) or len(rest) < size:
                return
            if status >= 200:
                self.answers.append((status, self._headers, self._body))
            rest = rest[size:]

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's."""
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, piece: bytes) -> None:
        """The parser's."""
        self._body += piece


def head_of(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request; headers without a value are left out."""
    lines = [f"{method} {path} HTTP/1.1", "host: test", *(f"{n}: {v}" for n, v in headers.items() if v)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def ask(
    application: Application,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
    *,
    leaves: bool = False,
) -> Answer:
    """One request, a piece of its body at a time, and its answer: `NO_ANSWER` for who `leaves` before it."""
    wire = Wire(application)
    pieces = [body] if isinstance(body, bytes) else list(body)
    sent = {"content-length": str(sum(map(len, pieces))), **(headers or {})}
    wire.feed(head_of(method, path, sent))
    chunked = sent.get("transfer-encoding") == "chunked"
    for piece in pieces if sent["content-length"] or chunked else ():
        if wire.closed or wire.finished:
            break
        if chunked and piece:
            wire.feed(b"%x\r\n%b\r\n" % (len(piece), piece))
        elif piece:
            wire.feed(piece)
        await asyncio.sleep(0)
    if chunked and not (wire.closed or wire.finished):
        wire.feed(b"0\r\n\r\n")
    if leaves:
        wire.hang_up()
        await wire.ended()
        await settled()
    try:
        found = await wire.answers(heads=[method])
    finally:
        if not wire.closed:
            wire.close()
    return found[0] if found else NO_ANSWER


async def settled() -> None:
    """Give tasks that were cancelled the turns of the loop that they take to end."""
    for _ in range(20):
        await asyncio.sleep(0)
