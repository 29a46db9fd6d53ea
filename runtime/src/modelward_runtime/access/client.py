"""A small HTTPS client on the event loop: whole answers, bounded in bytes and in time, over connections that are kept.

Called by `apiserver.py` and `jwks.py`, and by `activator/kube.py`, which also reads answers that do not end. It costs no import (the
listener's parser does the reading), no thread, and a call that takes too long is really over, however slowly its bytes drip: that is why
it is not the standard library's blocking one, which `store/kek/vault.py` uses once a load. It follows no redirect, knows no proxy, and
must not put a header that it sends into a message.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httptools

from modelward_runtime.access.identity import Unreachable

_MOST_BYTES: Final = 4 << 20  # of an answer, head and body
_MOST_IDLE: Final = 4  # connections that are kept
_KEPT_SECONDS: Final = 60.0  # shorter than any server or firewall forgets
Resolve = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(slots=True)
class Answer:
    """One answer, as the parser builds it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Client:
    """One server. `ca_file` is trusted beside the system's roots, or alone with `only_ca`.

    `permits` says which addresses it may have; `resolve` looks its name up, the event loop where nothing is given.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        *,
        only_ca: bool = False,
        permits: Callable[[str], bool] | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        parts = urlsplit(url)
        self.place = parts.netloc  # for messages
        self._path = parts.path.rstrip("/") if only_ca else parts.path or "/"
        self._query = f"?{parts.query}" if parts.query else ""
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._ca_file, self._only_ca = ca_file, only_ca
        self._permits, self._resolve = permits, resolve
        self._trust: tuple[object, ssl.SSLContext] | None = None
        self._idle: list[Connection] = []

    async def call(
        self, method: str, headers: Mapping[str, str], body: bytes = b"", *, path: str = "", seconds: float
    ) -> Answer:
        """The answer to one request, whatever its status. A kept connection that died in silence is replaced once."""
        request = self._request(method, headers, body, path)
        with self._explaining(seconds):
            async with asyncio.timeout(seconds):
                kept = self._take_idle()
                if kept and (answer := await self._try_kept(kept, request)):
                    return answer
                return await self._converse(await self._connect(), request)

    async def stream(
        self, method: str, headers: Mapping[str, str], *, path: str, silence: float, check: Callable[[int], None]
    ) -> AsyncGenerator[bytes, None]:
        """The pieces of an answer that may never end, over a connection of its own; at most `silence` seconds lie between two.

        `check` gets the status before anything of the body, and raises what it likes.
        """
        request = self._request(method, headers, b"", path)
        with self._explaining(silence):
            async with asyncio.timeout(silence):
                connection = await self._connect()
            try:
                async with aclosing(connection.stream(request, silence, check)) as pieces:
                    async for piece in pieces:
                        yield piece
            finally:
                connection.close()

    def _request(self, method: str, headers: Mapping[str, str], body: bytes, path: str) -> bytes:
        head = [
            f"{method} {self._path}{path}{self._query} HTTP/1.1",
            f"host: {self.place}",
            f"content-length: {len(body)}",
        ]
        head += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body

    @contextmanager
    def _explaining(self, seconds: float) -> Iterator[None]:
        """Whatever goes wrong is `Unreachable`, with a text for the log."""
        try:
            yield
        except TimeoutError:
            self.close()  # what was kept may lead to a machine that is gone: the next attempt connects anew
            raise Unreachable(f"{self.place} did not answer within {seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"the certificate of {self.place} is not trusted: {error.verify_message}") from None
        except (OSError, EOFError, httptools.HttpParserError) as error:
            raise Unreachable(f"{self.place} does not answer: {error or type(error).__name__}") from None

    def close(self) -> None:
        """Let kept connections go."""
        while self._idle:
            self._idle.pop().close()

    async def _try_kept(self, connection: "Connection", request: bytes) -> Answer | None:
        """None when the connection turns out to be dead: none of our requests is harmful when it is sent twice."""
        try:
            return await self._converse(connection, request)
        except (OSError, EOFError, httptools.HttpParserError):
            return None

    async def _converse(self, connection: "Connection", request: bytes) -> Answer:
        try:
            answer = await connection.converse(request)
        except BaseException:
            connection.close()
            raise
        if connection.reusable and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _take_idle(self) -> "Connection | None":
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.used < _KEPT_SECONDS and not connection.gone:
                return connection
            connection.close()
        return None

    async def _connect(self) -> "Connection":
        trust = await asyncio.to_thread(self._trusted)
        failure: OSError | None = None
        for host in await self._addresses():
            try:
                opened = await asyncio.open_connection(host, self._port, ssl=trust, server_hostname=self._host)
                return Connection(*opened)
            except OSError as error:
                failure = error
        raise failure or Unreachable(f"{self.place} has no address that may be asked")

    async def _addresses(self) -> list[str]:
        """The name, or the addresses behind it that are permitted: looked up once, so that it cannot mean another a moment later."""
        permits = self._permits
        if permits is None and self._resolve is None:
            return [self._host]
        found = await (self._resolve or _look_up)(self._host)
        return [address for address in found if permits is None or permits(address)]

    def _trusted(self) -> ssl.SSLContext:
        """The roots, read anew when the file has changed: a cluster's CA rotates too. It may take 10 ms: on a thread."""
        stamp: object = None
        if self._ca_file:
            stat = self._ca_file.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if self._trust is None or self._trust[0] != stamp:
            only = str(self._ca_file) if self._ca_file and self._only_ca else None
            context = ssl.create_default_context(cafile=only)
            if self._ca_file and not self._only_ca:
                context.load_verify_locations(self._ca_file)
            self._trust = (stamp, context)
        return self._trust[1]


async def _look_up(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class Connection:
    """One connection, one request at a time; also the parser's callbacks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self)
        self._complete = False
        self.reusable = False
        self.used = 0.0

    @property
    def gone(self) -> bool:
        """The server has said goodbye."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def converse(self, request: bytes) -> Answer:
        """Send a request and read the whole answer. EOFError when there is none."""
        self._answer, self._complete, received = Answer(), False, 0
        self._parser = httptools.HttpResponseParser(self)
        self._writer.write(request)
        await self._writer.drain()
        while not self._complete:
            part = await self._reader.read(1 << 16)
            received += len(part)
            if not part:
                return self._end_of_stream()
            if received > _MOST_BYTES:
                raise EOFError(f"the answer has more than {_MOST_BYTES} bytes")
            self._parser.feed_data(part)
        self.used = asyncio.get_running_loop().time()
        return self._answer

    async def stream(self, request: bytes, silence: float, check: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
        """Send a request and give what comes of the answer's body, until it ends. TimeoutError after so many silent seconds."""
        self._answer, self._complete = Answer(), False
        self._parser = httptools.HttpResponseParser(self)
        self._writer.write(request)
        is_checked = False
        while not self._complete:
            async with asyncio.timeout(silence):
                part = await self._reader.read(1 << 16)
            if not part:
                return
            self._parser.feed_data(part)
            if self._answer.status and not is_checked:
                check(self._answer.status)
                is_checked = True
            piece, self._answer.body = self._answer.body, b""
            if piece:
                yield piece

    def _end_of_stream(self) -> Answer:
        """An answer without a length ends with its connection; any other was cut off."""
        self.reusable = False
        if self._answer.status >= 200 and not {"content-length", "transfer-encoding"} & self._answer.headers.keys():
            return self._answer
        raise EOFError("the connection ended before the answer did")

    def close(self) -> None:
        """End it without waiting for the other side."""
        self._writer.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._answer.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        self._answer.body += part

    def on_message_complete(self) -> None:
        """That was all, unless it was only a hint that there will be an answer."""
        self._complete = self._answer.status >= 200
        self.reusable = self._parser.should_keep_alive()  # afterwards the parser has forgotten
        if not self._complete:
            self._answer.headers.clear()
