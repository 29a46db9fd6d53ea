"""What must hold of the ledger whatever else its process does while a write is on its way: blocks are spent from without waiting for it.

Each write of `Busy` lets things happen before it is done and again before it is answered: calls that a block pays for, calls that need a
reservation of their own, calls that are put back, a rival that makes it conflict, the end of the period. After each of them
what was answered in a period and what can still be spent of it are together at most what the ledger says, and that at most the budget.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.epsilon import ledger as module
from modelward_runtime.epsilon.account import Granted, Held, Shard, Terms, reserve
from modelward_runtime.epsilon.ledger import Clocks, Ledger, Receipt
from modelward_runtime.epsilon.period import end_of
from modelward_runtime.epsilon.shards import Seen
from modelward_runtime.epsilon.subjects import EVERYBODY, Everybody
from modelward_runtime.errors import ApiError
from tests.ledgers import NOON, Clock
from tests.properties.test_epsilon_undercount import Witness

TERMS = Terms(3200, "Day")
HALF_A_DAY = 43_200.0
Event = tuple[str, int]
Life = tuple[list[Event], list[list[Event]]]


class Busy(Witness):
    """An API server that takes its time: meanwhile `happen` is called."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.happen: Callable[[], Any]

    async def write(self, shard: str, wanted: Shard, seen: Seen) -> None:
        await self.happen()
        await super().write(shard, wanted, seen)
        await self.happen()


class World:
    """One process and a rival on one ledger; what happens in each gap is taken from `gaps`, as long as there is any."""

    def __init__(self, gaps: list[list[Event]]) -> None:
        self.clock = Clock()
        self.store = Busy(self.clock)
        self.store.happen = self.happen
        self.gaps = deque(gaps)
        clocks = Clocks(lambda: self.clock.wall, lambda: self.clock.passed)
        self.books, self.rival = (Ledger(self.store, Everybody(), TERMS, clocks, lambda: 0.0) for _ in range(2))
        self.paid: list[Receipt] = []
        self.others: list[Receipt] = []
        self.calls: set[asyncio.Task[None]] = set()

    async def happen(self) -> None:
        for kind, value in self.gaps.popleft() if self.gaps else ():
            await self.do(kind, value)
            self.check()

    async def do(self, kind: str, value: int) -> None:
        match kind:
            case "held":
                self._held(value)
            case "call" | "rival":
                self.calls.add(asyncio.create_task(self._call(self.books if kind == "call" else self.rival, value)))
                for _ in range(12):  # until it waits for another call, or is done
                    await asyncio.sleep(0)
            case "put back" if self.paid:
                self.books.put_back(self.paid.pop(value % len(self.paid)))
            case "sleep":
                self.clock.sleep(float(value))

    def _held(self, cost: int) -> None:
        try:
            receipt = self.books.take_held("", cost)
        except ApiError:
            return
        if receipt:
            self.paid.append(receipt)

    async def _call(self, books: Ledger, cost: int) -> None:
        try:
            receipt = await books.take("", cost)
        except ApiError:
            return
        # Only what this process has taken may be put back into its blocks.
        (self.paid if books is self.books else self.others).append(receipt)

    async def live(self, events: list[Event]) -> None:
        for kind, value in events:
            await self.do(kind, value)
            self.check()
        while running := {task for task in self.calls if not task.done()}:
            await asyncio.wait(running)
        for task in self.calls:
            task.result()
        self.check()

    def check(self) -> None:
        present = end_of(TERMS.period, int(self.clock.wall))
        total: dict[int, int] = defaultdict(int)
        total[present] = self.books.reserved + self.rival.reserved
        for receipt in (*self.paid, *self.others):
            total[receipt.reset] += receipt.cost
        for reset, amount in total.items():
            said = self.store.most[EVERYBODY, reset]
            assert amount <= said, "the ledger counts less than was answered, or can be"
            assert said <= TERMS.budget


COSTS = st.one_of(st.integers(1, 120), st.integers(1, 1500))  # a block is of 100 at most
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.sampled_from(["held", "call", "rival"]), COSTS),
    st.tuples(st.just("put back"), st.integers(0, 50)),
    st.tuples(st.just("sleep"), st.sampled_from([1, 600, int(HALF_A_DAY), 86_400])),
)


@pytest.fixture(autouse=True, scope="module")
def hurried() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PATIENCE", 0.2)
        patch.setattr(module, "FIRST_PAUSE", 0.0)
        yield


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12), st.lists(st.lists(EVENTS, max_size=4), min_size=4, max_size=12))
def test_what_happens_during_a_write_is_never_forgotten(events: list[Event], gaps: list[list[Event]]) -> None:
    asyncio.run(World(gaps).live(events))


async def test_a_call_whose_share_others_spent_during_the_write_reserves_again() -> None:
    world = World([[], [], [("held", 138)]])  # the whole block, on which the second call counts
    await world.live([("call", 40), ("put back", 0), ("call", 200)])
    assert [138, 200] == [receipt.cost for receipt in world.paid]
    assert world.store.writes == 3


async def test_a_call_during_whose_write_the_period_ends_is_paid_from_the_next() -> None:
    world = World([[("sleep", int(HALF_A_DAY))]])
    await world.live([("call", 12)])
    assert [end_of("Day", NOON) + 86_400] == [receipt.reset for receipt in world.paid]


def _stale(self: Ledger, row: str, granted: Granted, epoch: float) -> None:
    """The block becomes what it was before the write, and what was reserved."""
    if block := self._blocks.get(row):
        block.held = replace(block.held, left=before.get(row, 0))
    KEEP(self, row, granted, epoch)


def _remember_held(shard: Shard, key: str, cost: int, held: Held, terms: Terms, now: int) -> Any:
    before[key] = held.left
    return reserve(shard, key, cost, held, terms, now)


def _joining(*arguments: Any) -> Any:
    found = reserve(*arguments)
    return replace(found, joins=True) if isinstance(found, Granted) else found


def _put_back(self: Ledger, receipt: Receipt) -> None:
    if block := self._blocks.get(receipt.row):
        block.held = replace(block.held, left=block.held.left + receipt.cost)


KEEP = Ledger._keep
before: dict[str, int] = {}
SPENT_MEANWHILE: Life = ([("call", 1), ("call", 120)], [[], [], [("held", 99)]])
ENDED: Life = ([("call", 1), ("sleep", int(HALF_A_DAY)), ("call", 12)], [])
PUT_BACK_LATE: Life = ([("call", 12), ("sleep", int(HALF_A_DAY)), ("call", 1), ("put back", 0)], [])
MUTANTS: dict[str, tuple[dict[str, Any], dict[str, Any], Life]] = {
    # what is wrong, of the ledger, of the module, and a life that shows it
    "a block that forgets what was spent during the write": ({"_keep": _stale}, {"reserve": _remember_held}, SPENT_MEANWHILE),
    "a block of one period that is taken into the next": ({}, {"reserve": _joining}, ENDED),
    "a call of one period that is put back into the next": ({"put_back": _put_back}, {}, PUT_BACK_LATE),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_property_catches_a_ledger_that_does_not_keep_it(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, functions, (events, gaps) = MUTANTS[mutant]
    await World(gaps).live(events)
    for name, method in methods.items():
        monkeypatch.setattr(Ledger, name, method)
    for name, function in functions.items():
        monkeypatch.setattr(module, name, function)
    with pytest.raises(AssertionError, match="counts less"):
        await World(gaps).live(events)
