"""Ports: a listening socket and the connections behind it, inside the one event loop that `serve.py` runs.

Used for the admin port and for REST, here and in the activator. A drain spans three ports and has an order, so nothing here knows
signals or ends the process. It must not know what the applications answer.
"""

import asyncio
import socket
import ssl
from typing import Final

from modelward_runtime.connection import Application
from modelward_runtime.exits import PortTaken
from modelward_runtime.site import Site

_KEEP_ALIVE: Final = (
    120.0  # seconds; longer than most clients keep an idle connection, so that they close it and not we
)
_BACKLOG: Final = 2048


class HttpListener:
    """An application on a port, by TLS where there is a context for it."""

    def __init__(self, application: Application, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._socket = bind(host, port)
        self._tls = tls
        self._site = Site(application, keep_alive=_KEEP_ALIVE)
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that was really bound."""
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._site, sock=self._socket, ssl=self._tls, backlog=_BACKLOG)

    async def stop(self, grace: float) -> None:
        """Accept no more, close idle connections, wait up to `grace` seconds for requests in flight."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        await self._site.close(grace)


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
