"""The ports of all models: a REST and a gRPC port for each route, opened and closed as routes come and go.

Told by `run.py` what there should be. All REST ports share one application and one site of connections, all gRPC ports one server of
HTTP/2; a connection knows its model's route. A certificate is made with the first handshake that needs it. A port that cannot be had is
tried again, and keeps no other from being opened.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from modelward_runtime.access.certificate import Pair, Unusable, make_context
from modelward_runtime.activator.authority import Authority
from modelward_runtime.activator.calling import SETTINGS, CallerConnection
from modelward_runtime.activator.connection import Crowd, HeldConnection
from modelward_runtime.activator.grpc_proxy import AGE, Methods
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.rest import App
from modelward_runtime.activator.route import LiveRoute
from modelward_runtime.exits import PortTaken
from modelward_runtime.http2.server import Server
from modelward_runtime.listen import bind
from modelward_runtime.site import Site

_KEEP_ALIVE: Final = 30.0  # seconds; nobody has a reason to stay
_BACKLOG: Final = 512
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """One model's two."""

    http: asyncio.Server
    grpc: asyncio.Server
    wanted: object  # what they were opened for: a change of it means to open anew


class Ports:
    """All that are open."""

    def __init__(self, host: str, authority: Authority, metrics: Metrics, crowd: Crowd) -> None:
        self._host = host
        self._authority = authority
        self._metrics = metrics
        self._crowd = crowd
        self._opened: dict[LiveRoute, Opened] = {}
        self._problems: dict[LiveRoute, str] = {}
        self._site = Site(App(metrics), keep_alive=_KEEP_ALIVE)
        self._server = Server(None, SETTINGS, age=AGE)
        self._started = False

    def __len__(self) -> int:
        return len(self._opened)

    def is_open(self, live: LiveRoute | None) -> bool:
        """Its ports are there, as it wants them now."""
        opened = self._opened.get(live) if live else None
        return opened is not None and live is not None and opened.wanted == _shape(live)

    async def open(self, routes: Iterable[LiveRoute]) -> int:
        """Have ports for these routes, and for no others; how many could not be had."""
        if not self._started:
            self._started = True
            await self._server.start()
        wanted = list(routes)
        for live in set(self._opened) - set(wanted):
            self._close(live)
        self._problems = {live: cause for live, cause in self._problems.items() if live in wanted}
        missing = 0
        for live in wanted:
            have = self._opened.get(live)
            if have is not None and have.wanted != _shape(live):
                self._close(live)
                have = None
            if have is None and not await self._try_open(live):
                missing += 1
        return missing

    async def drain(self, grace: float) -> None:
        """Accept no more, and let requests end within `grace` seconds."""
        opened, self._opened = self._opened, {}
        for one in opened.values():
            one.http.close()
            one.grpc.close()
        await asyncio.gather(self._site.close(grace), self._server.stop(grace))

    async def _try_open(self, live: LiveRoute) -> bool:
        try:
            self._opened[live] = await self._open(live)
        except (PortTaken, Unusable, ssl.SSLError, OSError) as error:
            self._complain(live, str(error))
            return False
        self._problems.pop(live, None)
        return True

    def _complain(self, live: LiveRoute, cause: str) -> None:
        """Once for each cause, though it is tried again and again."""
        if self._problems.get(live) != cause:
            self._problems[live] = cause
            log.error("ports cannot be opened", extra={"model": "/".join(live.config.key), "cause": cause})

    async def _open(self, live: LiveRoute) -> Opened:
        ports, loop = live.config.ports, asyncio.get_running_loop()
        held = partial(HeldConnection, self._site, route=live, crowd=self._crowd)
        methods = Methods(live, self._metrics)
        called = partial(CallerConnection, self._server, methods, live, self._crowd)
        http_tls, grpc_tls = self._context(live, "http/1.1"), self._context(live, "h2")
        with ExitStack() as bound:  # both or none
            sockets = [bound.enter_context(bind(self._host, port)) for port in (ports.http, ports.grpc)]
            http = await loop.create_server(held, sock=sockets[0], ssl=http_tls, backlog=_BACKLOG)
            bound.callback(http.close)
            grpc = await loop.create_server(called, sock=sockets[1], ssl=grpc_tls, backlog=_BACKLOG)
            bound.pop_all()
        return Opened(http, grpc, _shape(live))

    def _close(self, live: LiveRoute) -> None:
        """Now nobody comes in; who is in may end."""
        opened = self._opened.pop(live)
        opened.http.close()
        opened.grpc.close()
        for connection in self._crowd.of(live):
            connection.shutdown()

    def _leaf(self, live: LiveRoute) -> Pair:
        if live.config.tls is None:
            raise Unusable("the model has no TLS any more")
        return self._authority.leaf(live.config.tls.dns_names)

    def _context(self, live: LiveRoute, protocol: str) -> ssl.SSLContext | None:
        """A listener's context that shows nothing itself: each handshake gets the newest leaf's. Raises `Unusable` without one."""
        if live.config.tls is None:
            return None
        self._leaf(live)
        made: list[tuple[Pair, ssl.SSLContext]] = []

        def choose(connection: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> int | None:
            try:
                pair = self._leaf(live)
            except Unusable as error:
                log.error("no certificate can be shown", extra={"cause": str(error)})  # noqa: TRY400
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            if not made or made[0][0] is not pair:
                made[:] = [(pair, make_context(pair))]
                made[0][1].set_alpn_protocols([protocol])
            connection.context = made[0][1]
            return None

        listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listening.minimum_version = ssl.TLSVersion.TLSv1_2
        listening.set_alpn_protocols([protocol])
        listening.sni_callback = choose
        return listening


def _shape(live: LiveRoute) -> object:
    """What a listener is made for."""
    config = live.config
    return config.ports, config.tls is None, config.max_body_bytes
