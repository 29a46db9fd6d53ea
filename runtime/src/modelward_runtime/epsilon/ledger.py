"""Reserves epsilon before it is spent, in a ledger that all replicas share, and spends from what was reserved.

Called by `promise.py` for each request, on the event loop's thread.

    take ─▶ enough in the block of this subject? spend from it, in memory                              about a microsecond
         └▶ else, one at a time for each shard: read ▶ agree on the time ▶ reserve ▶ write ▶ spend     some milliseconds
                                      ▲ conflict: read again after a jittered pause ┘        for `PATIENCE`, then 503
                                      ▲ between two periods: wait until every clock agrees that the next has begun
                                      └ the block has not enough: others spent from it, or the period ended, meanwhile

Spending from a block waits for nobody, so a block may shrink or grow while somebody writes: what is added to it afterwards is what that
write reserved, and never what the block was before.

Nothing is ever handed back to the ledger, and a write whose answer did not come counts as done: the ledger never counts too little. A
refusal is remembered until it can end, so that a caller without budget costs the API nothing. While the API is away, blocks go on being
spent from, and then calls are refused with 503, and `failure` says why until a call or a look every few seconds finds that it could be
asked: the report shows it, and with it PrivacyEnforced. It must not know what an answer is.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from modelward_runtime.access.identity import Unreachable
from modelward_runtime.epsilon import period
from modelward_runtime.epsilon.account import Granted, Held, Refused, Shard, Terms, Turned, reserve
from modelward_runtime.epsilon.clock import ClocksDisagree, Instant, agree, check_ahead, elapsed
from modelward_runtime.epsilon.shards import Conflict, Seen
from modelward_runtime.epsilon.subjects import EVERYBODY
from modelward_runtime.errors import EpsilonRefused, EpsilonUnavailable

PATIENCE: Final = 10.0  # seconds that one call waits for a reservation, however many others want the same shard
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.4
SILENCE: Final = 1.0  # seconds after a failure for which the API is not asked again
LOOK: Final = 5.0  # seconds after which a ledger that could not be used is looked at again, also when nobody calls
FULL_SECONDS: Final = 10.0  # for which a full shard is not asked again
MOST_BLOCKS: Final = 16_384  # twice the rows that a policy's shards can hold

log = logging.getLogger(__name__)


class Store(Protocol):
    """Where shards are kept; `shards.Shards`."""

    async def read(self, shard: str) -> Seen:
        """The newest version. Raises `Unreachable`."""

    async def write(self, shard: str, wanted: Shard, seen: Seen) -> None:
        """Replace the version that was seen. Raises `Conflict` and `Unreachable`."""


class Subjects(Protocol):
    """How subjects are named; `subjects.py`."""

    @property
    def check(self) -> str:
        """Says which key names them."""

    def name(self, subject: str) -> str:
        """The row of a subject."""

    def shard(self, row: str) -> str:
        """The shard of a row."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was taken, from whose row, of which period."""

    row: str
    cost: int
    reset: int


@dataclass(slots=True)
class _Block:
    """What this process may still spend for a subject, until its own clock says `until`; and what the ledger had left then."""

    held: Held
    until: float
    left: int


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A refusal that stays true for a call of this cost or more, until this process's clock says `until`."""

    cost: int
    refused: Refused
    until: float


@dataclass(frozen=True, slots=True)
class Clocks:
    """The node's time of day, and one that is never set; both in seconds."""

    wall: Callable[[], float] = time.time
    elapsed: Callable[[], float] = elapsed


class Ledger:
    """One policy's budget, as this process sees it. Amounts are millionths of epsilon."""

    def __init__(
        self,
        store: Store,
        subjects: Subjects,
        terms: Terms,
        clocks: Clocks | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store, self._subjects, self._terms = store, subjects, terms
        self._clocks, self._jitter = clocks or Clocks(), jitter
        self._blocks: dict[str, _Block] = {}
        self._refusals: dict[str, _Refusal] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._silent_until: dict[str, float] = {}
        self.spent, self._counted = 0, 0
        self.failure = ""
        self._looking: asyncio.Task[None] | None = None

    def take_held(self, subject: str, cost: int) -> Receipt | None:
        """Spend from the block, if it has enough: the usual case, without a wait. Raises `EpsilonRefused` where that is known already."""
        return self._spend(self._subjects.name(subject), cost)

    async def take(self, subject: str, cost: int) -> Receipt:
        """Spend `cost` for this subject. Raises `EpsilonRefused` and `EpsilonUnavailable`; then nothing is spent."""
        row = self._subjects.name(subject)
        if receipt := self._spend(row, cost):
            return receipt
        shard = self._subjects.shard(row)
        async with self._locks.setdefault(shard, asyncio.Lock()):
            return self._spend(row, cost) or await self._reserve(shard, row, cost)

    def put_back(self, receipt: Receipt) -> None:
        """Undo `take` for a call that the model has not seen: into the block, in memory, unless its period has ended."""
        block = self._blocks.get(receipt.row)
        if block and block.held.reset == receipt.reset:
            block.held = replace(block.held, left=block.held.left + receipt.cost)
            self.spent -= receipt.cost

    @property
    def counted(self) -> int:
        """What was spent, as a count that never falls: what was put back is not counted again when it is spent after all."""
        self._counted = max(self._counted, self.spent)
        return self._counted

    @property
    def remaining(self) -> int | None:
        """Under scope All, what the ledger had left when it was last asked, and what of it this process holds; else nobody's business."""
        if self._subjects.check != EVERYBODY:
            return None
        now = self._clocks.elapsed()
        block = self._blocks.get(EVERYBODY)
        return block.left + block.held.left if block and now < block.until else self._terms.budget

    @property
    def reserved(self) -> int:
        """What this process may still spend without asking."""
        now = self._clocks.elapsed()
        return sum(block.held.left for block in self._blocks.values() if now < block.until)

    def _spend(self, row: str, cost: int) -> Receipt | None:
        """From the block, if it has enough. Raises a refusal that is known to hold still."""
        now = self._clocks.elapsed()
        block = self._blocks.get(row)
        if block and now < block.until and block.held.left >= cost:
            block.held = replace(block.held, left=block.held.left - cost)
            self.spent += cost
            return Receipt(row, cost, block.held.reset)
        known = self._refusals.get(row)
        if known and now < known.until and cost >= known.cost:
            raise _refuse(known.refused, self._clocks.wall())
        return None

    async def _reserve(self, shard: str, row: str, cost: int) -> Receipt:
        """Reserve and spend, until it works, it is refused, or patience ends."""
        if self._clocks.elapsed() < self._silent_until.get(shard, 0.0):
            raise EpsilonUnavailable(self.failure)
        receipt, obstacle, pause = None, "the API server is slow", FIRST_PAUSE
        try:
            async with asyncio.timeout(PATIENCE):
                while receipt is None:
                    if problem := await self._try(shard, row, cost):
                        obstacle = problem
                        await asyncio.sleep(pause * (0.5 + self._jitter()))
                        pause = min(pause * 2, LONGEST_PAUSE)
                    receipt = self._spend(row, cost)
        except (TimeoutError, Unreachable, ClocksDisagree) as error:
            raise self._fail(shard, str(error) or obstacle) from None
        self.failure = ""
        return receipt

    async def _try(self, shard: str, row: str, cost: int) -> str:
        """Read, reserve, write, once; why it must be tried again, or nothing."""
        asked = self._clocks.elapsed()
        seen, instant = await self._read(shard)
        block = self._blocks.get(row)
        held = block.held if block and self._clocks.elapsed() < block.until else Held()
        result = reserve(seen.shard, row, cost, held, self._terms, instant.earliest)
        if isinstance(result, Refused):
            raise self._remember(row, cost, result, instant)
        latest = max(instant.latest, result.shard.observed)
        if isinstance(result, Granted) and latest >= result.reset:
            return "one period ends and the next has not begun by every clock"
        try:
            await self._store.write(shard, replace(result.shard, key_check=self._subjects.check), seen)
        except Conflict:
            return "too many others write to it at once"
        if isinstance(result, Turned):
            return "a period has ended, and no more than that was written yet"
        self._keep(row, result, asked - latest)
        return ""

    async def _read(self, shard: str) -> tuple[Seen, Instant]:
        """The newest version, and the time. Raises `Unreachable` and `ClocksDisagree`."""
        seen = await self._store.read(shard)
        instant = agree(seen.date, self._clocks.wall())
        check_ahead(seen.shard.observed, instant)
        self._check_key(seen.shard)
        return seen, instant

    def _keep(self, row: str, granted: Granted, epoch: float) -> None:
        """Add what was reserved to what the block has by now. Spend from it no longer than the later clock allows, nor than a shard
        whose time is ahead of both.

        `epoch` is what this process's clock says at the beginning of 1970, at the latest: the question was sent before its answer was
        dated, so the block ends early rather than late.
        """
        self._refusals.pop(row, None)
        block = self._blocks.get(row)
        held = Held((block.held.left if block and granted.joins else 0) + granted.amount, granted.reset)
        if len(self._blocks) >= MOST_BLOCKS:
            now = self._clocks.elapsed()
            self._blocks = {name: block for name, block in self._blocks.items() if now < block.until}
        left = self._terms.budget - granted.shard.rows[row].spent
        self._blocks[row] = _Block(held, epoch + granted.reset, left)

    def _remember(self, row: str, cost: int, refused: Refused, instant: Instant) -> EpsilonRefused:
        now = self._clocks.elapsed()
        seconds = float(max(refused.reset - instant.latest, 0))
        if refused.why == "Full":
            seconds = min(seconds, FULL_SECONDS)
        if len(self._refusals) >= MOST_BLOCKS:
            self._refusals = {name: one for name, one in self._refusals.items() if now < one.until}
        if len(self._refusals) < MOST_BLOCKS:
            self._refusals[row] = _Refusal(cost, refused, now + seconds)
        return _refuse(refused, self._clocks.wall())

    def _check_key(self, shard: Shard) -> None:
        if shard.key_check and shard.key_check != self._subjects.check:
            raise Unreachable("the ledger was begun with another key: every subject would get its budget anew")

    def _fail(self, shard: str, problem: str) -> EpsilonUnavailable:
        self._silent_until[shard] = self._clocks.elapsed() + SILENCE
        if problem != self.failure:
            log.error("the ledger of epsilon cannot be used, calls are refused", extra={"cause": problem})
        self.failure = problem
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look(shard))
        return EpsilonUnavailable(problem)

    async def _look(self, shard: str) -> None:
        """Until the ledger can be used again; reserves nothing."""
        while self.failure:
            await asyncio.sleep(LOOK * (0.5 + self._jitter()))
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._read(shard)
            except (TimeoutError, Unreachable, ClocksDisagree) as error:
                self.failure = str(error) or self.failure
            else:
                self.failure = ""

    def close(self) -> None:
        """Look no more. Calls that began may still spend."""
        if self._looking:
            self._looking.cancel()


def _refuse(refused: Refused, wall: float) -> EpsilonRefused:
    """What the caller is told: no amounts, which would be another's business under scope All."""
    if refused.why == "TooLarge":
        return EpsilonRefused("epsilon-call-too-large", "the call has more rows than a whole period's budget answers")
    until = period.show(refused.reset)
    seconds = max(round(refused.reset - wall), 1)
    if refused.why == "Full":
        return EpsilonRefused("epsilon-ledger-full", f"no room for another subject until {until}", seconds)
    return EpsilonRefused("epsilon-spent", f"the privacy budget is spent, it begins anew at {until}", seconds)
