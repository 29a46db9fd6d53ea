"""Makes the objects of privacy budgets' ledgers where they are missing. Called by adapter.py, once a pass, before the children.

It only creates: what exists is the pods' to write and nobody's to change. It needs no right to read them, asks by creating, and asks
about the same object at most once in `SETTLED` seconds: one that somebody deleted comes back, empty, after that; until then pods answer
nobody.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.kinds import LEDGER
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Applied, Json, Refusal
from modelward_operator.plan import names

SETTLED: Final = 240.0
MOST_REMEMBERED: Final = 65_536

logger = logging.getLogger(__name__)


class Founder:
    """Creates ledgers through one client."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._seen: dict[tuple[str, str], float] = {}

    async def found(self, ledgers: Iterable[Json]) -> Applied:
        """Make those that are missing; what was refused is told in the status."""
        refusals, writes = [], 0
        for ledger in ledgers:
            key = (ledger["metadata"]["namespace"], ledger["metadata"]["name"])
            if self._clock() - self._seen.get(key, -SETTLED) < SETTLED:
                continue
            try:
                writes += await self._create(ledger)
            except (Rejected, NotFound) as error:
                refusals.append(Refusal(LEDGER.kind, key[1], "Rejected", str(error)))
            except Unreadable as error:
                refusals.append(Refusal(LEDGER.kind, key[1], "Unwritten", str(error)))
            else:
                self._remember(key)
        return Applied(writes, tuple(refusals))

    async def _create(self, ledger: Json) -> int:
        try:
            await self._client.create(LEDGER, ledger, manager=names.FIELD_MANAGER)
        except Conflict:
            return 0  # it is there
        logger.info("ledger made", extra={"ledger": ledger["metadata"]["name"]})
        return 1

    def _remember(self, key: tuple[str, str]) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[key] = self._clock()
