"""A real ledger in a real API server, as a pod sees it; and one in memory, for what must hold whatever the API does.

Used by tests/unit, tests/properties and tests/integration.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from modelward_runtime.access.identity import Unreachable
from modelward_runtime.epsilon.account import Shard
from modelward_runtime.epsilon.shards import Conflict, Seen

NOON = 1_795_608_000  # 2026-11-25T12:00:00Z
MIDNIGHT = NOON + 12 * 3600


@dataclass
class Clock:
    """A clock that is set by hand: `wall` may jump, `passed` only grows."""

    wall: float = float(NOON)
    passed: float = 1000.0

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@dataclass
class Memory:
    """A `ledger.Store` with the API server's semantics: versions, conflicts, and a clock of its own."""

    clock: Callable[[], float]
    shards: dict[str, Shard] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    away: bool = False
    lost_answers: int = 0
    """So many writes are done and not answered."""
    reads: int = 0
    writes: int = 0

    async def read(self, shard: str) -> Seen:
        await asyncio.sleep(0)
        self.reads += 1
        if self.away:
            raise Unreachable("away")
        found = self.shards.get(shard, Shard(0, "", {}))
        metadata = {"resourceVersion": str(self.versions.get(shard, 0))}
        return Seen(found, metadata, {}, formatdate(self.clock(), usegmt=True))

    async def write(self, shard: str, wanted: Shard, seen: Seen) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise Unreachable("away")
        if seen.metadata["resourceVersion"] != str(self.versions.get(shard, 0)):
            raise Conflict
        self.shards[shard] = replace(wanted, rows=dict(wanted.rows))
        self.versions[shard] = self.versions.get(shard, 0) + 1
        self.writes += 1
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unreachable("the answer was lost")

    def spent(self, shard: str, row: str) -> int:
        return self.shards[shard].rows[row].spent
