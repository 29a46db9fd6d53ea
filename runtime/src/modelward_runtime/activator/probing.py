"""Asks new pods themselves whether they are ready, every 30 ms, and only while somebody waits for them.

Used by `route.py`. The kubelet would tell by way of the API server and the EndpointSlices, a second or more later. A probe is a GET of
/readyz on the pod's admin port, over a connection that is kept while the model loads.

    try ─ SYN dropped, the next one in a second ···················· given up
        try ─ the same ············································· given up
            try ─ connected ─▶ GET /readyz, and again over this connection

The first packets to a new address are often lost: whoever enforces NetworkPolicies has not heard of it yet. TCP sends its next one a second
later, so a try that hangs is not waited for.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from modelward_runtime.activator.pods import Pod
from modelward_runtime.activator.upstream import Broken, ConnectFailed, Connection, Pool

EVERY: Final = 0.03  # seconds between two probes of one pod
_SECONDS: Final = 0.5  # for one; an address that nobody has yet answers nothing at all
_AT_ONCE: Final = 256  # of all models
_REQUEST: Final = b"GET /readyz HTTP/1.1\r\nhost: pod\r\n\r\n"


class Prober:
    """One for all models."""

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._watched: dict[object, asyncio.Task[None]] = {}

    def watch(
        self, who: object, pods: Callable[[], Iterable[Pod]], needed: Callable[[], bool], found: Callable[[], None]
    ) -> None:
        """Probe what `pods` gives for as long as it is `needed`; `found` hears of each that is ready. Once for each `who`."""
        known = self._watched.get(who)
        if known is None or known.done():
            task = self._watched[who] = asyncio.ensure_future(self._watch(pods, needed, found))
            task.add_done_callback(lambda ended: self._forget(who, ended))

    def _forget(self, who: object, ended: "asyncio.Task[None]") -> None:
        """Unless somebody came in the meantime, and another one watches."""
        if self._watched.get(who) is ended:
            del self._watched[who]

    async def _watch(
        self, pods: Callable[[], Iterable[Pod]], needed: Callable[[], bool], found: Callable[[], None]
    ) -> None:
        asked: dict[Pod, asyncio.Task[None]] = {}
        try:
            while needed():
                for pod in pods():
                    if pod not in asked or asked[pod].done():
                        asked[pod] = asyncio.ensure_future(self._ask(pod, found))
                await asyncio.sleep(self._every)
        finally:
            for task in asked.values():
                task.cancel()

    async def _ask(self, pod: Pod, found: Callable[[], None]) -> None:
        async with self._turns:
            if await is_ready(pod):
                pod.prove()
                found()


async def is_ready(pod: Pod) -> bool:
    """Does it say so itself? Whatever goes wrong is a no."""
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await _reach(pod.admin)
            try:
                connection.begin(_REQUEST)
                status = (await connection.head()).status
                while await connection.part():
                    pass
            except BaseException:
                connection.close()
                raise
            pod.admin.give_back(connection)
    except (TimeoutError, ConnectFailed, Broken):
        return False
    return status == 200


async def _reach(pool: Pool) -> Connection:
    """A connection, tried for anew every 30 ms beside the tries that hang. Raises `ConnectFailed` where one is refused."""
    tries: set[asyncio.Task[Connection]] = set()
    try:
        while True:
            tries.add(asyncio.ensure_future(pool.take(_SECONDS)))
            done, _ = await asyncio.wait(tries, timeout=EVERY, return_when=asyncio.FIRST_COMPLETED)
            if done:
                first = done.pop()
                tries.discard(first)
                return first.result()
    finally:
        for late in tries:
            late.add_done_callback(_close)
            late.cancel()


def _close(late: "asyncio.Task[Connection]") -> None:
    """It may have come in the same turn as the one that was taken."""
    if not late.cancelled() and late.exception() is None:
        late.result().close()
