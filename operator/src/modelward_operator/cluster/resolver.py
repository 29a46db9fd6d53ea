"""The operator's own DNS: what keeps one tenant's slow name servers from stopping everybody's lookups.

A lookup of the C library cannot be ended: its thread hangs for as long as the name server lets it, a minute or so. So a namespace has one
under way and no more, and the next of its names waits until that one has really ended, not only until nobody listens any more.

    name ──▶ the namespace's turn ──▶ a free thread ──▶ getaddrinfo
                    └───── none within 2 s: Busy ◀─────┘   no answer within 2 s: TimeoutError, and the turn stays taken until it ends

Why no asynchronous resolver: it would be another native library, c-ares, with a parser of its own for what strangers' servers send.
Called by network.py, which asks for a name that fails more and more seldom.
"""

import asyncio
import functools
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from modelward_operator.cluster.recent import Busy

LOOKUP: Final = 2.0
"""Seconds for one lookup of a name."""
LOOKUPS_AT_ONCE: Final = 16


class Resolver:
    """Looks names up in threads of its own, one for each namespace at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="lookup")
        self._free = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._turns: dict[str, asyncio.Future[None]] = {}
        """Of the namespaces that have a lookup under way or about to be; done when it has ended."""

    async def __call__(self, host: str, namespace: str) -> Sequence[str]:
        """Return the addresses of a name; raises OSError."""
        begun = None
        try:
            async with asyncio.timeout(LOOKUP):
                begun = await self._begin(host, namespace)
                found = await asyncio.shield(begun)
        except TimeoutError as error:
            if begun is None:
                raise Busy(f"{host} waits for other names of {namespace}") from error
            raise
        except UnicodeError as error:
            raise OSError(f"{host} is no name") from error
        return sorted(set(found))

    async def _begin(self, host: str, namespace: str) -> asyncio.Future[list[str]]:
        loop = asyncio.get_running_loop()
        while before := self._turns.get(namespace):
            await asyncio.wait([before])
        self._turns[namespace] = loop.create_future()
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            self._turns.pop(namespace).set_result(None)
            raise
        begun = loop.run_in_executor(self._threads, _resolve, host)
        begun.add_done_callback(functools.partial(self._end, namespace))
        return begun

    def _end(self, namespace: str, ended: asyncio.Future[list[str]]) -> None:
        self._free.release()
        self._turns.pop(namespace).set_result(None)
        if not ended.cancelled():
            ended.exception()  # seen, also where nobody waits for it any more


def _resolve(host: str) -> list[str]:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(info[4][0]).partition("%")[0] for info in infos]
