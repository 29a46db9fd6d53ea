"""All connections that one application answers: which there are, a patrol that looks at them, and an end in good order.

Used by `listen.py` for a port and by `activator/ports.py` for all of its ports together. One timer serves all connections: a request
costs none. It must not know HTTP.
"""

import asyncio
from typing import Final

from modelward_runtime.connection import Application, Connection
from modelward_runtime.unfinished import Unfinished

_BUFFER: Final = 1 << 18
_FIRST: Final = 1 << 16
PATROL_SECONDS: Final = 30.0
"""Between two looks: a head must be whole at the second that finds it, an answer taken at the fourth."""


class Site:
    """`keep_alive` is how many seconds a caller may rest between two requests. Called, it makes a connection.

    All connections read into one `buffer`, which is empty again when a read has been looked at; to `first`, a part of it, where a request
    begins: a large body comes with its head then only in part, and the rest can go where it belongs.
    """

    def __init__(self, application: Application, *, keep_alive: float) -> None:
        self.buffer = memoryview(bytearray(_BUFFER))
        self.first = self.buffer[:_FIRST]
        self.application = application
        self.unfinished = Unfinished()
        self._patience = max(1, round(keep_alive / PATROL_SECONDS))
        self._connections: set[Connection] = set()
        self._patrol: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self) -> Connection:
        """One more."""
        return Connection(self)

    def __len__(self) -> int:
        return len(self._connections)

    def enter(self, connection: Connection) -> None:
        """It is open."""
        self._connections.add(connection)
        self._empty.clear()
        if self._patrol is None:
            self._patrol = asyncio.get_running_loop().call_later(PATROL_SECONDS, self._look)

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def close(self, grace: float) -> None:
        """Close idle connections, wait up to `grace` seconds for the answers that are being made, then close the others."""
        for connection in list(self._connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(max(1.0, grace)):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.give_up()
        if self._patrol is not None:
            self._patrol.cancel()

    def _look(self) -> None:
        self._patrol = None
        for connection in list(self._connections):
            connection.check(self._patience)
        if self._connections:
            self._patrol = asyncio.get_running_loop().call_later(PATROL_SECONDS, self._look)
