"""A caller's HTTP connection to one model's port: bounded as the pods' are, and one that tells when its caller has left.

Made by `ports.py` for each connection; `rest.py` finds the model's route here. A caller who leaves while the request is held must not keep
the place in the queue; but as long as a large body is not read, nothing is read, and so not the end either: the kernel is asked then.
"""

import asyncio
import os
import socket
from collections import Counter
from typing import Final, Protocol

from modelward_runtime.activator.route import LiveRoute
from modelward_runtime.connection import Connection
from modelward_runtime.site import Site

_EVERY: Final = 1.0  # seconds between two questions to the kernel
_ENDED: Final = frozenset({7, 8})  # TCP_CLOSE, TCP_CLOSE_WAIT of <netinet/tcp.h>


class Guest(Protocol):
    """A connection of a caller's, of either kind."""

    route: LiveRoute

    def shutdown(self) -> None:
        """Take no more requests, and end with the last one."""


class Crowd:
    """How many connections there may be: in all, of one namespace's models, and of one model, so that a flood leaves room for others."""

    def __init__(self, most: int, of_namespace: int, of_model: int) -> None:
        self._most, self._of_namespace, self._of_model = most, of_namespace, of_model
        self._by_route: dict[LiveRoute, set[Guest]] = {}
        self._by_namespace: Counter[str] = Counter()
        self.count = 0

    def enter(self, connection: Guest) -> bool:
        """A place, if there is one."""
        namespace = connection.route.namespace
        ours = self._by_route.get(connection.route, set())
        if (
            self.count >= self._most
            or self._by_namespace[namespace] >= self._of_namespace
            or len(ours) >= self._of_model
        ):
            return False
        ours.add(connection)
        self._by_route[connection.route] = ours
        self._by_namespace[namespace] += 1
        self.count += 1
        return True

    def leave(self, connection: Guest) -> None:
        """Give the place back."""
        ours = self._by_route.get(connection.route, set())
        if connection not in ours:
            return
        ours.discard(connection)
        self.count -= 1
        self._by_namespace[connection.route.namespace] -= 1
        if not self._by_namespace[connection.route.namespace]:
            del self._by_namespace[connection.route.namespace]
        if not ours:
            del self._by_route[connection.route]

    def of(self, route: LiveRoute) -> list[Guest]:
        """Those of one model."""
        return list(self._by_route.get(route, ()))


class HeldConnection(Connection):
    """One connection to the port of `route`."""

    def __init__(self, site: Site, *, route: LiveRoute, crowd: Crowd) -> None:
        super().__init__(site)
        self.route = route
        self._crowd = crowd
        self._asking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or close."""
        super().connection_made(transport)
        if not self._crowd.enter(self):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever works for this caller may stop."""
        self._crowd.leave(self)
        self._ask_no_more()
        super().connection_lost(exc)

    def pause(self) -> None:
        """Nothing is read for now: ask the kernel instead."""
        super().pause()
        if self._asking is None:
            self._asking = self._loop.call_later(_EVERY, self._ask)

    def resume(self) -> None:
        """The end will be read."""
        self._ask_no_more()
        super().resume()

    def _ask(self) -> None:
        self._asking = None
        if self._has_ended():
            self.abort()
        else:
            self._asking = self._loop.call_later(_EVERY, self._ask)

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _has_ended(self) -> bool:
        """Has the other side said goodbye, behind what was not read yet?"""
        near = self._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(near.fileno())) as twin:
            return twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _ENDED
