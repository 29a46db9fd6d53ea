"""Sockets and the servers behind them, inside the one event loop that `serve.py` runs.

uvicorn brings the HTTP protocol; its process model (signals, reload, logging set-up) stays unused, because a drain spans three
ports and has an order. It must not know what the applications answer.
"""

import asyncio
import socket
import ssl
from typing import Any

from uvicorn import Config
from uvicorn import Server as Uvicorn

from modelward_runtime.connection import BoundedConnection

_KEEP_ALIVE = 120  # seconds; longer than most clients keep an idle connection, so that they close it and not we
_BACKLOG = 2048


class PortTaken(Exception):
    """Somebody else listens there, or this user may not."""


class HttpListener:
    """An ASGI application on a port, by TLS where there is a context for it."""

    def __init__(self, app: Any, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:  # noqa: ANN401  ASGI has no common type
        self._socket = bind(host, port)
        config = Config(
            app,
            http=BoundedConnection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            backlog=_BACKLOG,
            ssl_context_factory=(lambda _config, _default: tls) if tls else None,
        )
        config.load()
        self._server = Uvicorn(config)
        self._server.lifespan = config.lifespan_class(config)
        self._ticking: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that was really bound."""
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Accept connections."""
        await self._server.startup(sockets=[self._socket])
        self._ticking = asyncio.ensure_future(self._server.main_loop())

    async def stop(self, grace: float) -> None:
        """Accept no more, close idle connections, wait up to `grace` seconds for requests in flight."""
        self._server.should_exit = True
        if self._ticking:
            await self._ticking
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        await self._server.shutdown(sockets=[self._socket])


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; an empty host means every address, IPv6 and IPv4. PortTaken says what is wrong."""
    everywhere = "::" if socket.has_ipv6 and _kernel_has_ipv6() else "0.0.0.0"
    host = host or everywhere
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if found.family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    found.setblocking(False)
    return found


def _kernel_has_ipv6() -> bool:
    """Python may know IPv6 where the kernel was booted without."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
