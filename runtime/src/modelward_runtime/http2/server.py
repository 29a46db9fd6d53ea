"""Listens for HTTP/2, keeps its connections and lets them leave. One a port; composed by `grpc_server.py`.

A client leaves without losing a call by being asked to: GOAWAY that still lets streams open, and the final one when the client has heard
it. That happens at the server's end, while it `retire`s, and when a connection has reached an age: lasting ones spread over new pods.
"""

import asyncio
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from modelward_runtime.http2.connection import Connection, Settings
from modelward_runtime.http2.stream import Stream
from modelward_runtime.unfinished import Unfinished

Make = Callable[[Connection, int, int, int], Stream]

AGE: Final = 30.0  # seconds; a connection's, give or take a tenth: to connect anew costs half a millisecond
_TICK: Final = 0.25
_GREETING: Final = 10.0  # seconds within which a client must have said that it speaks HTTP/2, or all of a call's fields
_SILENT: Final = 60.0  # seconds without a byte, after which a client is asked whether it is there
_DEAD: Final = 80.0  # seconds without a byte, after which it is not
_FAREWELL: Final = 1.0  # seconds for a client to hear that it is to leave
_BUFFER: Final = 1 << 18
_log = logging.getLogger(__name__)


class Server:
    """Sockets and connections. `make` makes an application's stream of each that a client opens.

    Who listens by itself, with connections of its own making, gives None and has them looked after here.
    """

    def __init__(self, make: Make | None, settings: Settings, *, age: float = AGE) -> None:
        self.buffer = memoryview(bytearray(_BUFFER))
        self.now = time.monotonic
        self.unfinished = Unfinished()
        self._make = make
        self._settings = settings
        self._age = age
        self._connections: dict[Connection, float] = {}  # and when each is to leave
        self._listening: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None
        self._stay: float | None = None  # how long a connection stays, while the server retires
        self._gone = asyncio.Event()

    def add(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a bound socket, once it starts."""
        self._listening.append((listening, tls))

    async def start(self) -> None:
        """Accept connections."""
        if self._make is not None:
            connect = partial(Connection, self, self._make, self._settings)
            for listening, tls in self._listening:
                loop = asyncio.get_running_loop()
                self._servers.append(await loop.create_server(connect, sock=listening, ssl=tls, backlog=2048))
        self._ticking = asyncio.ensure_future(self._tick())

    def retire(self, stay: float) -> None:
        """Clients are to go elsewhere: those that are here now, and who comes all the same after `stay` seconds."""
        self._stay = stay
        for connection in list(self._connections):
            connection.ask_to_leave()

    async def stop(self, grace: float) -> None:
        """Accept no more, let streams end within `grace` seconds, close."""
        for server in self._servers:
            server.close()
        self.retire(0)
        try:
            async with asyncio.timeout(grace):
                while self._connections:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
        if self._ticking is not None:
            self._ticking.cancel()
        for listening, _ in self._listening:
            listening.close()

    def enter(self, connection: Connection) -> None:
        """A connection is there."""
        stay = self._age * random.uniform(0.9, 1.1) if self._stay is None else self._stay  # noqa: S311  spreads, hides nothing
        self._connections[connection] = connection.born + stay

    def leave(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.pop(connection, None)
        self._gone.set()

    def later(self, step: Callable[[], None]) -> None:
        """Do something when a client had time to hear us."""
        asyncio.get_running_loop().call_later(_FAREWELL, step)

    def look_after(self, now: float) -> None:
        """Whom to ask to leave, whether somebody is still there, and who owes something for too long."""
        for connection, leaves in list(self._connections.items()):
            silent, owes = now - connection.heard_at, connection.owes_since
            if silent > _DEAD or (owes is not None and now - owes > _GREETING):
                connection.abort()
            elif now >= leaves:
                connection.ask_to_leave()
            elif owes is None and silent > _SILENT:
                connection.check_alive()
            for stream in list(connection.streams.values()):
                stream.ticked(now)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                self.look_after(self.now())
            except Exception:  # noqa: BLE001  a flaw of ours must not end it for all
                _log.exception("connections could not be looked after")
