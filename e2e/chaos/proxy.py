"""One operator's way to the API server, on which faults are done; and the record of what it wrote, and of when it led.

    operator ──TLS, its token──▶ Proxy ──the administrator's token──▶ API server

Each operator has a proxy of its own, so that it is known who wrote what. Requests of a fault are held up, answered by the proxy or never
answered; the others pass unchanged.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from yarl import URL

from tests.integration.apiserver import TOKEN, ApiServer
from tests.serving_certificates import Authority

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
ASKS: Final = ("/subjectaccessreviews", "/tokenreviews", "/selfsubjectaccessreviews")
"""POSTs that change nothing."""
_GONE: Final = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired",'
)
_GONE_END: Final = b'"message":"too old resource version"}}\n'


@dataclass(frozen=True, slots=True)
class Write:
    """A write that reached the API server. Times are of one monotonic clock."""

    operator: str
    method: str
    path: str
    sent: float
    answered: float
    status: int

    @property
    def is_lease(self) -> bool:
        """It took, renewed or gave back the Lease."""
        return "/leases" in self.path

    @property
    def is_event(self) -> bool:
        """It told, and changed nothing."""
        return "/events" in self.path


@dataclass
class Faults:
    """What the way is like at present."""

    refusal: int = 0
    """A status that requests get in place of an answer, 429 and 500 for example."""
    share: float = 0.7
    """Of the requests that are refused; the others pass."""
    late: float = 0.0
    """Seconds that a write is held up before it is handed on."""
    cut: bool = False
    """No connection is answered."""


class Proxy:
    """The way of one operator."""

    def __init__(self, name: str, server: ApiServer, authority: Authority, seed: int) -> None:
        self.name = name
        self.faults = Faults()
        self.writes: list[Write] = []
        self.tokens: set[str] = set()
        """Those that are taken."""
        self.port = 0
        self._server = server
        self._authority = authority
        self._random = random.Random(seed)
        self._watches: set[_Watch] = set()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, folder: Path) -> None:
        """Listen; `folder` is for its certificate."""
        pair = self._authority.issue(lasts=timedelta(days=1))  # operators whose clocks are off by hours take it, too
        (folder / f"{self.name}.crt").write_bytes(pair.certificate)
        (folder / f"{self.name}.key").write_bytes(pair.key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / f"{self.name}.crt", folder / f"{self.name}.key")
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        connector = aiohttp.TCPConnector(ssl=False, limit=0, force_close=False)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)

    async def close(self) -> None:
        """No way any more."""
        if self._session:
            await self._session.close()
        if self._runner:
            await self._runner.cleanup()

    # Faults that are done to what is open

    def silence(self) -> None:
        """The watches that are open stay open, and say nothing for ever; those that are opened later speak."""
        for watch in self._watches:
            watch.silent = True

    def outdate(self) -> None:
        """The watches that are open end with 410: their version is too old."""
        for watch in self._watches:
            watch.outdated.set()

    def cut(self) -> None:
        """Every connection is reset."""
        for watch in list(self._watches):
            if watch.transport is not None:
                watch.transport.abort()

    # What passes

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        faults = self.faults
        if faults.cut:
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        token = request.headers.get("Authorization", "").rpartition(" ")[2]
        if token not in self.tokens:
            return _status(401, "Unauthorized")
        if faults.refusal and self._random.random() < faults.share:
            headers = {"Retry-After": "1"} if faults.refusal == 429 else {}
            return _status(faults.refusal, "chaos", headers)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        return await self._pass(request)

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        is_write = request.method in WRITES and not request.path.endswith(ASKS) and "dryRun" not in request.query
        sent = time.monotonic()
        if is_write and self.faults.late:
            await asyncio.sleep(self.faults.late * self._random.random())
        try:
            async with self._upstream(request, body) as answer:
                content = await answer.read()
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientError, OSError):
            if request.transport:
                request.transport.abort()
            return web.Response(status=502)
        if is_write and status < 400:
            self.writes.append(Write(self.name, request.method, request.path, sent, time.monotonic(), status))
        kept = {
            name: headers[name]
            for name in ("Content-Type", "Content-Encoding", "Date", "Retry-After")
            if name in headers
        }
        return web.Response(status=status, body=content, headers=kept)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watch = _Watch(request.transport)
        self._watches.add(watch)
        try:
            async with self._upstream(request, b"") as answer:
                if answer.status != 200:
                    return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")
                await response.prepare(request)
                await self._tell(watch, answer, response)
        except (aiohttp.ClientError, OSError):
            if request.transport:
                request.transport.abort()
        finally:
            self._watches.discard(watch)
        return response

    async def _tell(self, watch: "_Watch", answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        """Hand on line by line."""
        begun = b""
        while True:
            content = await _either(answer.content.readany(), watch.outdated)
            if watch.silent:
                await asyncio.Event().wait()
            if content is None:
                await response.write(_GONE + _GONE_END)
                return
            if not content:
                return
            whole, newline, begun = (begun + content).rpartition(b"\n")
            await response.write(whole + newline)

    def _upstream(self, request: web.Request, body: bytes) -> Any:
        assert self._session is not None
        headers = {
            name: request.headers[name]
            for name in ("Content-Type", "Accept", "Accept-Encoding")
            if name in request.headers
        }
        headers["Authorization"] = f"Bearer {TOKEN}"
        return self._session.request(
            request.method,
            URL(self._server.url + request.raw_path, encoded=True),
            data=body or None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            allow_redirects=False,
        )


@dataclass(eq=False)
class _Watch:
    """A watch that is open."""

    transport: asyncio.Transport | None
    silent: bool = False

    def __post_init__(self) -> None:
        self.outdated = asyncio.Event()


async def _either(reading: Coroutine[Any, Any, bytes], event: asyncio.Event) -> bytes | None:
    """What is read; None when the event comes first."""
    tasks = asyncio.ensure_future(reading), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() and not event.is_set() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _status(code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    return web.json_response(body, status=code, headers=headers)
