"""Tells the operator what is held: an answer that hangs until some model's queue goes from empty to not, or other routes are in force.

Written by `route.py` and `run.py`, asked by `admin.py` for `GET /demand?since=CURSOR&wait=S`. The cursor only grows in one process and
begins with the time, so that a reader who was told by another process, or by this one before it was restarted, does not wait for what it
has missed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

_MOST_READERS = 32


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One model that has something; `oldest_seconds` is how long the oldest has been held."""

    namespace: str
    name: str
    held: int
    forwarding: int
    oldest_seconds: float


class Told(msgspec.Struct, frozen=True):
    """The answer."""

    cursor: int
    models: list[Line]
    routes: dict[str, int]  # of each ConfigMap, the resourceVersion whose routes are all open here


class Demand:
    """The cursor, and who waits for it to move. `lines` are taken when somebody is answered."""

    def __init__(self, lines: Callable[[], Iterable[Line]], wall: Callable[[], float] = time.time) -> None:
        self._lines = lines
        self._routes: dict[str, int] = {}
        self._cursor = int(wall() * 1000)
        self._readers: dict[asyncio.Event, None] = {}  # in the order in which they came

    def rise(self) -> None:
        """There is something to tell: some model's queue is no longer empty."""
        self._cursor += 1
        for reader in self._readers:
            reader.set()

    def open(self, routes: dict[str, int]) -> None:
        """These versions of ConfigMaps are in force."""
        if routes != self._routes:
            self._routes = routes
            self.rise()

    async def told(self, since: int | None, seconds: float) -> Told:
        """What is held now: at once unless `since` is the present cursor, else when it moves, or after so many seconds.

        Or when there are too many who wait: then the longest hears it now, and may ask again. So those who only scrape this port can make
        the operator ask more often, and cannot keep it from hearing.
        """
        if since == self._cursor and seconds > 0:
            if len(self._readers) >= _MOST_READERS:
                longest = next(iter(self._readers))
                del self._readers[longest]
                longest.set()
            moved = asyncio.Event()
            self._readers[moved] = None
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(moved.wait(), seconds)
            finally:
                self._readers.pop(moved, None)
        busy = [line for line in self._lines() if line.held or line.forwarding]
        return Told(self._cursor, busy, self._routes)
