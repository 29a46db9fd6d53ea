"""Looks up the names of token issuers: what keeps one tenant's slow name servers from shutting everybody's door.

A lookup of the C library cannot be ended: its thread hangs for as long as the name server lets it. The event loop has two threads for
lookups, and names that hang would soon have both. So a namespace has one lookup under way and no more, in a thread of its own, and
the next of its names waits until that one has really ended, not only until nobody listens any more.

    name ──▶ the namespace's turn ──▶ a thread ──▶ getaddrinfo, as long as it takes
                    └──── OSError after `LOOKUP` seconds ────┘

Made by `run.py`, asked by `access/client.py` for what `route.py` opens. The operator's is `cluster/resolver.py`.
"""

import asyncio
import socket
from functools import partial
from typing import Final

from modelward_runtime.threads import in_thread

LOOKUP: Final = 4.0  # seconds that a caller waits for a name; shorter than a fetch of keys may take
LOOKUPS_AT_ONCE: Final = 128  # threads, and so namespaces whose names may hang before another's have to wait


class Resolver:
    """Addresses by name, for each namespace one lookup at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._turns: dict[str, asyncio.Task[list[str]]] = {}

    async def find(self, namespace: str, host: str) -> list[str]:
        """The addresses of a name that a model of this namespace gave, best first. Raises OSError."""
        begun: asyncio.Task[list[str]] | None = None
        try:
            async with asyncio.timeout(LOOKUP):
                while before := self._turns.get(namespace):
                    await asyncio.wait([before])
                begun = self._turns[namespace] = asyncio.ensure_future(self._look_up(namespace, host))
                begun.add_done_callback(_see)
                return await asyncio.shield(begun)
        except TimeoutError:
            if begun is None:
                raise OSError("its name waits for another of its namespace, which name servers do not answer") from None
            raise OSError(f"name servers did not answer within {LOOKUP:g} s") from None
        except UnicodeError:
            raise OSError("its name is none") from None

    async def _look_up(self, namespace: str, host: str) -> list[str]:
        try:
            async with self._free:
                return await in_thread(partial(_resolve, host), "lookup")
        finally:
            del self._turns[namespace]


def _see(ended: "asyncio.Task[list[str]]") -> None:
    """Also what nobody waits for any more."""
    if not ended.cancelled():
        ended.exception()


def _resolve(host: str) -> list[str]:
    return [str(place[0]) for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
