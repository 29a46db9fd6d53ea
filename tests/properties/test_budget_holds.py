"""A budget over simulated time, whatever models ask for: the limit holds, and what runs does not flap."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.policies.cost.budget import Evaluation, evaluate
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.periods import span_of
from modelward_operator.policies.cost.pots import GUARD, Rung
from modelward_operator.policies.cost.standing import Standing
from modelward_operator.pricing.money import HOUR, NANO
from tests.budgets import budget_spec

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
STEP = 30
"""Seconds between evaluations; a pod that must go takes as long again, which together is the decision interval."""


@dataclass
class World:
    """Models that get what is asked for, as far as the budget lets them, and pay for every pod that is there."""

    prices: dict[str, int]
    ceiling: int = 8
    now: datetime = START
    spent: dict[str, int] = field(default_factory=dict)
    in_use: dict[str, int] = field(default_factory=dict)
    leaving: dict[str, int] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    period: datetime | None = None

    def lines(self, asked: dict[str, int]) -> list[Line]:
        return [
            Line(
                name,
                spent=self.spent.get(name, 0),
                hourly=(self.in_use.get(name, 0) + self.leaving.get(name, 0)) * price,
                price=price,
                in_use=self.in_use.get(name, 0),
                asked=asked[name],
                ceiling=self.ceiling,
            )
            for name, price in self.prices.items()
        ]

    def step(self, asked: dict[str, int], **spec: object) -> Evaluation:
        """Evaluate, act, and pay for `STEP` seconds."""
        written = budget_spec(period="Hour", **spec)
        period = span_of(written.period, UTC, self.now).start
        if self.period != period:
            self.period, self.spent = period, {}
        found = evaluate("b", written, self.lines(asked), self.now, self.standing)
        self.standing = found.standing
        for name, price in self.prices.items():
            wanted = min(asked[name], found.allowances[name].maximum)
            self.leaving[name] = max(self.in_use.get(name, 0) - wanted, 0)
            self.in_use[name] = wanted
            pods = wanted + self.leaving[name]
            self.spent[name] = self.spent.get(name, 0) + pods * price * STEP // HOUR
        self.now += timedelta(seconds=STEP)
        return found

    @property
    def total(self) -> int:
        return sum(self.spent.values())


names = st.sampled_from(["a", "b", "c", "d"])
prices = st.dictionaries(names, st.integers(1, 200 * NANO), min_size=1)
wants = st.fixed_dictionaries({name: st.integers(0, 8) for name in "abcd"})
demands = st.lists(st.tuples(st.integers(1, 40), wants), min_size=1, max_size=8)
limits = st.decimals("0.1", "400", places=1).map(str)
zeros = st.sampled_from(
    [
        {"onExceeded": "ScaleToZero", "floor": 0},
        {"onExceeded": "Suspend", "floor": 0},
        {"onExceeded": "ScaleToZero", "floor": 1, "allowBelowFloor": True},
        {"onExceeded": "Suspend", "floor": 3, "allowBelowFloor": True},
    ]
)


@settings(max_examples=150, deadline=None)
@given(prices, demands, limits, zeros, st.integers(60, 4000), st.sampled_from(["Shared", "PerModel"]))
def test_the_limit_is_passed_by_no_more_than_one_decision_interval(
    costs: dict[str, int],
    asked: list[tuple[int, dict[str, int]]],
    limit: str,
    ladder: dict[str, object],
    window: int,
    allocation: str,
) -> None:
    world, interval = World(costs), sum(costs.values()) * GUARD // HOUR
    for steps, wanted in asked:
        for _ in range(steps):
            found = world.step(wanted, limit=limit, burnWindowSeconds=window, allocation=allocation, **ladder)
            interval = max(interval, sum(world.in_use[name] * price for name, price in costs.items()) * GUARD // HOUR)
            assert world.total <= found.limit + interval, (world.now, world.in_use)


@settings(max_examples=100, deadline=None)
@given(prices, demands, limits, zeros)
def test_spending_never_decreases_within_a_period_and_every_period_begins_anew(
    costs: dict[str, int], asked: list[tuple[int, dict[str, int]]], limit: str, ladder: dict[str, object]
) -> None:
    world = World(costs)
    before, period = 0, None
    for steps, wanted in asked:
        for _ in range(steps):
            found = world.step(wanted, limit=limit, **ladder)
            if period == found.span.start:
                assert found.spent >= before
            else:
                assert found.spent == 0
            before, period = found.spent, found.span.start


@settings(max_examples=100, deadline=None)
@given(prices, limits, zeros, wants)
def test_under_a_demand_that_stands_replicas_fall_and_rise_again_at_most_once_in_a_period(
    costs: dict[str, int], limit: str, ladder: dict[str, object], wanted: dict[str, int]
) -> None:
    world = World(costs)
    runs: list[dict[str, int]] = []
    for _ in range(HOUR // STEP):
        world.step(wanted, limit=limit, **ladder)
        runs.append(dict(world.in_use))
    for name in costs:
        turns = [b[name] - a[name] for a, b in pairwise(runs[2:]) if a[name] != b[name]]
        changes = sum((x > 0) != (y > 0) for x, y in pairwise(turns))
        assert changes <= 2, [run[name] for run in runs]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 100 * NANO), st.integers(1, 8), zeros)
def test_what_a_period_took_away_the_next_gives_back(price: int, wanted: int, ladder: dict[str, object]) -> None:
    """A limit that lasts for half of the period at most."""
    world = World({"a": price})
    limit = str(max(price * wanted // 2 // NANO, 1))
    for _ in range(HOUR // STEP):
        world.step({"a": wanted}, limit=limit, **ladder)
    found = world.step({"a": wanted}, limit=limit, **ladder)
    assert found.spent == 0
    assert found.rung < Rung.ZERO
    assert world.in_use["a"] > 0 or price > int(limit) * NANO * 10 // 11


def test_a_burst_early_in_a_month_is_allowed_and_the_floor_is_paid_for_to_the_end() -> None:
    """500 USD, 0.25 USD an hour: an even spread would allow two replicas; the formula lets ten burst and still keeps one for 30 days."""
    spec = budget_spec(limit="500", period="Month")
    now = datetime(2026, 11, 1, 0, 0, 30, tzinfo=UTC)
    line = Line("a", price=NANO // 4, in_use=1, asked=10, ceiling=10)
    assert evaluate("b", spec, [line], now).allowances["a"].maximum >= 10
    spent = 500 * NANO - 30 * 24 * NANO // 4 + NANO
    poor = evaluate("b", spec, [replace(line, spent=spent)], now)
    assert poor.allowances["a"].maximum == 1
    assert poor.allowances["a"].reason == "BudgetAtFloor"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(60, 3600))
def test_clamping_alone_takes_nothing_away_and_lets_nothing_grow(limit: int, wanted: int, window: int) -> None:
    world = World({"a": 40 * NANO})
    before = 0
    for _ in range(HOUR // STEP):
        world.step({"a": wanted}, limit=str(limit), burnWindowSeconds=window, onExceeded="ClampMaxReplicas", floor=0)
        assert world.in_use["a"] >= before
        before = world.in_use["a"]
