"""Does the cluster's network plug-in enforce NetworkPolicy? Try what the policy forbids, and see.

    the operator's pod ──8082, allowed──▶ a serving pod      answers: so the pod is up and the way is there
                       ──8080, forbidden─▶ the same pod      connects: nothing is enforced    does not: the policy is

Asked of a model whose policy does not let the operator's namespace in, of one pod that has been ready for a while (the plug-in needs a
moment for a new one). Nothing is sent: the connection is closed at once. Called by network.py, once a pass; it remembers for minutes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from modelward_operator.facts import Given, Pod
from modelward_operator.plan import names

PATIENCE: Final = 1.0
"""Seconds in which a connection that is let through is made."""
SETTLED: Final = timedelta(seconds=10)
"""For which a pod must have been ready."""
BELIEVED: Final = 300.0
"""Seconds for which an answer stands."""
REMEMBERED: Final = 10_000

Connect = Callable[[str, int], Awaitable[bool]]
"""Says whether a TCP connection to an address and port is made in time."""


async def connects(address: str, port: int) -> bool:
    """Try a TCP connection; it is closed at once."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class EnforcementProbe:
    """Remembers by model what came of the last try. `connect` and `clock` are injected for tests."""

    def __init__(
        self, clock: Callable[[], float], connect: Connect = connects, *, http_port: int = names.HTTP_PORT
    ) -> None:
        self._clock, self._connect, self._http_port = clock, connect, http_port
        self._tried: dict[str, tuple[float, bool]] = {}  # by UID: until when it stands, and whether it is enforced

    async def read(self, given: Given, allowed: Collection[str]) -> tuple[bool | None, float | None]:
        """Return whether the policy is enforced, None for not known; and the seconds after which asking again may tell more."""
        if given.installation.namespace in allowed or not given.child("NetworkPolicy", given.key.name):
            return None, None
        until, enforced = self._tried.get(given.uid, (float("-inf"), None))
        if self._clock() < until:
            return enforced, None
        ready = [pod for pod in given.pods if _ready_since(pod) is not None]
        settled = [pod for pod in ready if given.now - (_ready_since(pod) or given.now) >= SETTLED and pod.report]
        if not settled:
            return enforced, SETTLED.total_seconds() if ready else None
        address = str(settled[0].raw["status"].get("podIP", ""))
        found = not await self._connect(address, self._http_port)
        if len(self._tried) >= REMEMBERED:
            self._tried.clear()
        self._tried[given.uid] = (self._clock() + BELIEVED, found)
        return found, None


def _ready_since(pod: Pod) -> datetime | None:
    """Return since when a pod takes requests; None for one that does not, or is about to end."""
    if "deletionTimestamp" in pod.raw["metadata"]:
        return None
    for condition in pod.raw.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "True" and condition.get("lastTransitionTime"):
            return datetime.fromisoformat(condition["lastTransitionTime"])
    return None
