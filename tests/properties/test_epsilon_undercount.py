"""What must hold of the ledger whatever happens: processes that die, answers that are lost, clocks that jump, periods that change.

The rules of the schema (`api/privacyledger.py`) are repeated here in Python and asked of every write; that the API server itself says
the same, tests/integration proves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.epsilon import ledger as module
from modelward_runtime.epsilon.account import MOST_ROWS, Granted, Held, Refused, Row, Shard, Terms, Turned, reserve
from modelward_runtime.epsilon.ledger import Clocks, Ledger
from modelward_runtime.epsilon.period import Period
from modelward_runtime.epsilon.shards import Seen
from modelward_runtime.epsilon.subjects import Everybody
from modelward_runtime.errors import ApiError
from tests.ledgers import NOON, Clock, Memory

PERIODS: st.SearchStrategy[Period] = st.sampled_from(["Hour", "Day", "Week", "Month"])
TIMES = st.integers(NOON - 40 * 86_400, NOON + 40 * 86_400)
ROWS = st.dictionaries(st.sampled_from("abcdef"), st.builds(Row, st.integers(0, 10_000), TIMES), max_size=6)
SHARDS = st.builds(Shard, TIMES, st.just("k"), ROWS)


def is_admitted(old: Shard, new: Shard) -> bool:
    """The rules of the schema."""
    return new.observed >= old.observed and all(
        row.reset <= old.observed
        or (name in new.rows and new.rows[name].spent >= row.spent and new.rows[name].reset >= row.reset)
        for name, row in old.rows.items()
    )


@given(SHARDS, st.sampled_from("abcxyz"), st.integers(1, 5_000), st.integers(1, 5_000), PERIODS, TIMES, st.data())
def test_a_reservation_forgets_nothing_and_grants_what_it_writes(
    shard: Shard, key: str, cost: int, budget: int, period: Period, now: int, data: st.DataObject
) -> None:
    row = shard.rows.get(key, Row(0, 0))
    held = data.draw(st.builds(Held, st.integers(0, max(row.spent, 1)), st.sampled_from([row.reset, now])))
    found = reserve(shard, key, cost, held, Terms(budget, period), now)
    if isinstance(found, Turned):
        assert is_admitted(shard, found.shard)
        assert found.shard == replace(shard, observed=now)
        assert not isinstance(reserve(found.shard, key, cost, held, Terms(budget, period), now), Turned)
        return
    if not isinstance(found, Granted):
        assert found.reset > max(now, shard.observed) or found.why == "Full"
        return
    after = found.shard.rows[key]
    live = row.reset > found.shard.observed
    assert is_admitted(shard, found.shard)
    assert found.shard.observed == max(now, shard.observed) < after.reset == found.reset
    assert after.spent <= budget
    assert found.amount == after.spent - (row.spent if live else 0) >= 0
    assert found.joins == (live and held.reset == row.reset == after.reset)
    assert (held.left if found.joins else 0) + found.amount >= cost
    assert {name: row for name, row in shard.rows.items() if name != key}.items() <= found.shard.rows.items()


@given(st.integers(0, MOST_ROWS), TIMES, PERIODS)
def test_only_what_has_expired_makes_room(expired: int, now: int, period: Period) -> None:
    rows = {str(number): Row(1, now if number < expired else now + 1) for number in range(MOST_ROWS)}
    shard = Shard(now, "k", rows)
    found = reserve(shard, "new", 1, Held(), Terms(10, period), now)
    assert isinstance(found, Granted) == (expired > 0)
    if isinstance(found, Granted):
        assert is_admitted(shard, found.shard)
        assert len(found.shard.rows) == MOST_ROWS - expired + 1


class Witness(Memory):
    """A memory that asks the schema's rules of each write, and remembers the most that each row said in each period."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda: clock.wall)
        self.most: dict[tuple[str, int], int] = defaultdict(int)

    async def write(self, shard: str, wanted: Shard, seen: Seen) -> None:
        before = self.shards.get(shard)
        try:
            await super().write(shard, wanted, seen)
        finally:
            after = self.shards.get(shard)
            if after is not None and after is not before:
                assert before is None or is_admitted(before, after)
                for name, row in after.rows.items():
                    self.most[name, row.reset] = max(self.most[name, row.reset], row.spent)


class World:
    """Four processes, each on a node whose clock may jump, on one ledger; and what was really answered."""

    def __init__(self) -> None:
        self.api = Clock()
        self.nodes = [Clock() for _ in range(4)]
        self.store = Witness(self.api)
        self.terms = Terms(200, "Day")
        self.paid: dict[tuple[str, int], int] = defaultdict(int)
        self.restart()

    def start(self, node: Clock) -> Ledger:
        clocks = Clocks(lambda: node.wall, lambda: node.passed)
        return Ledger(self.store, Everybody(), self.terms, clocks, lambda: 0.0)

    def restart(self) -> None:
        self.processes = [self.start(node) for node in self.nodes]

    def kill(self, which: int) -> None:
        self.processes[which] = self.start(self.nodes[which])

    def change(self, terms: Terms) -> None:
        self.terms = terms
        self.restart()

    def sleep(self, seconds: float) -> None:
        for clock in (self.api, *self.nodes):
            clock.sleep(seconds)

    def jump(self, seconds: float, nodes: list[int]) -> None:
        for which in nodes:
            self.nodes[which].wall += seconds
        if len(nodes) == len(self.nodes):
            self.api.wall += seconds

    async def call(self, calls: list[tuple[int, int]]) -> None:
        await asyncio.gather(*(self._call(self.processes[which], cost) for which, cost in calls))

    async def _call(self, books: Ledger, cost: int) -> None:
        try:
            receipt = await books.take("", cost)
        except ApiError:
            return
        self.paid[receipt.row, receipt.reset] += receipt.cost

    async def happen(self, kind: str, value: Any) -> None:
        match kind:
            case "call":
                await self.call(value)
            case "kill" | "change" | "sleep":
                getattr(self, kind)(value)
            case "jump":
                self.jump(*value)
            case "lose":
                self.store.lost_answers = value
            case "away":
                self.store.away = value

    def check(self) -> None:
        for period, amount in self.paid.items():
            assert amount <= self.store.most[period], "the ledger counts less than was answered"


SECONDS = st.sampled_from([-86_400.0, -200.0, -10.0, 10.0, 200.0, 86_400.0])
EVENTS = st.one_of(
    st.tuples(st.just("call"), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=6)),
    st.tuples(st.just("kill"), st.integers(0, 3)),
    st.tuples(st.just("lose"), st.integers(1, 3)),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("sleep"), st.sampled_from([1.0, 600.0, 3600.0, 43_200.0, 86_400.0, 3_000_000.0])),
    st.tuples(st.just("jump"), st.tuples(SECONDS, st.sampled_from([[0], [1, 2], [0, 1, 2, 3]]))),
    st.tuples(st.just("change"), st.builds(Terms, st.integers(50, 400), PERIODS)),
)


@pytest.fixture(autouse=True, scope="module")
def hurried() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PATIENCE", 0.05)
        patch.setattr(module, "FIRST_PAUSE", 0.0)
        yield


async def live(events: list[tuple[str, Any]]) -> None:
    world = World()
    for kind, value in events:
        await world.happen(kind, value)
        world.check()


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_the_ledger_never_counts_too_little(events: list[tuple[str, Any]]) -> None:
    asyncio.run(live(events))


MUTANTS: dict[str, Callable[..., Any]] = {
    "a block that is larger than what was written": lambda shard, *rest: _mutate(
        shard, rest, lambda _, found: replace(found, amount=found.amount + 40)
    ),
    "a row that begins anew before its time": lambda shard, *rest: _mutate(
        replace(shard, rows={}), rest, lambda _, found: found
    ),
    "time that runs backwards": lambda shard, *rest: _mutate(
        shard, rest, lambda _, found: replace(found, shard=replace(found.shard, observed=rest[-1]))
    ),
}


def _mutate(shard: Shard, rest: Any, change: Callable[[Shard, Granted], Granted]) -> Granted | Turned | Refused:
    found = reserve(shard, *rest)
    return change(shard, found) if isinstance(found, Granted) else found


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_property_catches_a_ledger_that_does_not_keep_it(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "reserve", MUTANTS[mutant])
    full = [("call", [(0, 20)])] * 12
    with pytest.raises(AssertionError):
        await live(
            [*full, ("sleep", 43_200.0), ("call", [(0, 20)]), ("jump", (-200.0, [0, 1, 2, 3])), ("kill", 0), *full]
        )
