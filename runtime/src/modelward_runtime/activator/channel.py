"""The gRPC connections to one pod: opened with the first call, and known to stand before a call is put on one.

Owned by `pods.py`, used by `carrying.py`. A connection stands when the pod has said its SETTINGS: what fails before is somebody else's
call, what fails after is an error of the caller's. One that the pod asks to leave, that has as many calls as the pod takes, or more than
it has read, gets a sister.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from modelward_runtime.activator.upstream import CONNECT_SECONDS, ConnectFailed
from modelward_runtime.http2.client import ClientConnection
from modelward_runtime.http2.connection import Connection, Settings
from modelward_runtime.unfinished import Unfinished

if TYPE_CHECKING:
    from modelward_runtime.activator.trust import Trust

SETTINGS: Final = Settings(unread=1 << 16)  # windows as HTTP/2 has them: what a call may have in memory, each way
_HEARD: Final = 1.0  # seconds


class _Dialling:
    """What all these connections have in common: the buffer into which they read, by turns."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(1 << 16))
        self.now = time.monotonic
        self.unfinished = Unfinished()

    def enter(self, connection: Connection) -> None:
        """`Channel` knows its own."""

    def leave(self, connection: Connection) -> None:
        """As above."""

    def later(self, step: Callable[[], None]) -> None:
        """When the pod had time to hear us."""
        asyncio.get_running_loop().call_later(_HEARD, step)


_dialling: Final = _Dialling()


class Channel:
    """One pod's."""

    def __init__(self, address: str, port: int, trust: "Trust | None") -> None:
        self._place = (address, port)
        self._trust = trust
        self._connections: list[ClientConnection] = []
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._closed = False

    @property
    def scheme(self) -> bytes:
        """Of its requests."""
        return b"http" if self._trust is None else b"https"

    async def connect(self) -> ClientConnection:
        """A connection that stands and takes a call. Raises `ConnectFailed`."""
        if self._closed:
            raise ConnectFailed("the pod is gone")
        for connection in self._connections:
            if connection.takes:
                return connection
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        connection = await asyncio.shield(opening)
        return connection if connection.takes else await self.connect()

    def close(self) -> None:
        """No new calls; those that it has go on to their end."""
        self._closed = True
        for connection in list(self._connections):
            connection.retire()

    async def _open(self) -> ClientConnection:
        loop, trust = asyncio.get_running_loop(), self._trust
        made: ClientConnection | None = None

        def make() -> ClientConnection:
            nonlocal made
            made = ClientConnection(_dialling, SETTINGS, self._forget)
            return made

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(
                    make,
                    *self._place,
                    ssl=trust.http2 if trust else None,
                    server_hostname=trust.server_name if trust else None,
                )
                if made is None:
                    raise ConnectFailed("no connection was made")
                await made.stands
        except TimeoutError:
            if made is not None:
                made.abort()
            raise ConnectFailed("no connection in time") from None
        except OSError as error:  # of TLS, too
            raise ConnectFailed(str(error)) from None
        if not made.takes:
            made.abort()
            raise ConnectFailed("the pod takes no call")
        self._connections.append(made)
        if self._closed:
            made.retire()
        return made

    def _opened(self, opening: "asyncio.Task[ClientConnection]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # seen, also where nobody waits any more

    def _forget(self, connection: ClientConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
