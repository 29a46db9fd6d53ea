"""Money that several models share is divided the same in any order, and never twice."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.policies.cost.allocation import Want, divide
from modelward_operator.policies.cost.budget import evaluate, fair_share
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.money import over
from modelward_operator.policies.cost.pots import GUARD
from modelward_operator.pricing.money import NANO
from tests.budgets import budget_spec
from tests.makers import NOW

names = st.integers(0, 9).map("m{}".format)
wants = st.lists(
    st.builds(Want, names, st.integers(-2, 9), st.integers(0, 50)), max_size=8, unique_by=lambda w: w.model
)
lines = st.lists(
    st.builds(
        Line,
        names,
        spent=st.integers(0, 200 * NANO),
        hourly=st.integers(0, 20 * NANO),
        price=st.integers(1, 5 * NANO) | st.none(),
        in_use=st.integers(0, 9),
        asked=st.integers(0, 9),
        ceiling=st.integers(0, 9),
        exists=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda line: line.model,
)
ladders = st.sampled_from(["Alert", "ClampMaxReplicas", "ScaleToFloor", "ScaleToZero", "Suspend"])
allocations = st.sampled_from(["Shared", "PerModel"])


@given(st.integers(-10, 500), wants)
def test_nobody_gets_more_than_it_wants_and_all_together_no_more_than_there_is(rate: int, some: list[Want]) -> None:
    granted = divide(rate, some)
    prices = {want.model: want.price for want in some}
    assert sum(count * prices[name] for name, count in granted.items()) <= max(rate, 0)
    for want in some:
        assert 0 <= granted.get(want.model, 0) <= max(want.replicas, 0)


@given(st.integers(0, 500), wants)
def test_nothing_is_left_that_somebody_could_have_used(rate: int, some: list[Want]) -> None:
    granted = divide(rate, some)
    rest = rate - sum(granted.get(want.model, 0) * want.price for want in some)
    hungry = [w for w in some if w.replicas > granted.get(w.model, 0)]
    assert all(want.price > rest for want in hungry) or len(hungry) > 1


@given(st.integers(0, 500), wants, st.randoms())
def test_it_is_divided_the_same_in_any_order(rate: int, some: list[Want], random: Random) -> None:
    shuffled = random.sample(some, len(some))
    assert divide(rate, some) == divide(rate, shuffled)


@given(lines, ladders, allocations, st.integers(1, 900), st.randoms())
def test_a_budget_is_evaluated_the_same_in_any_order(
    some: list[Line], ladder: str, allocation: str, limit: int, random: Random
) -> None:
    spec = budget_spec(limit=str(limit), onExceeded=ladder, allocation=allocation, floor=0)
    assert evaluate("b", spec, some, NOW) == evaluate("b", spec, random.sample(some, len(some)), NOW)


@given(lines, st.integers(1, 900), st.integers(0, 3))
def test_what_shared_models_may_have_together_is_affordable_for_the_window(
    some: list[Line], limit: int, floor: int
) -> None:
    found = evaluate("b", budget_spec(limit=str(limit), floor=floor), some, NOW)
    counted = [line for line in some if line.exists and line.is_counted]
    most = {line.model: min(found.allowances[line.model].maximum, line.ceiling) for line in counted}
    idle = {line.model for line in counted if not (floor or line.in_use or line.asked)}  # each may wake, one at a time
    above = sum(
        (most[line.model] - min(floor, line.ceiling) - (line.model in idle and most[line.model] == 1))
        * (line.price or 0)
        for line in counted
    )
    window = max(min(3600, found.span.left(NOW)), GUARD)
    assert above == 0 or over(above, window) <= found.left - found.set_aside + 1


@given(lines, st.integers(1, 900), ladders)
def test_no_rung_but_zero_goes_below_the_floor(some: list[Line], limit: int, ladder: str) -> None:
    floor = 0 if ladder in {"ScaleToZero", "Suspend"} else 2
    found = evaluate("b", budget_spec(limit=str(limit), floor=floor, onExceeded=ladder), some, NOW)
    for line in some:
        if line.exists:
            assert found.allowances[line.model].maximum >= min(floor, line.ceiling)


@given(st.integers(0, 1000), st.lists(st.integers(0, 400), max_size=6), st.integers(0, 300), st.randoms())
def test_shares_come_to_the_limit_whoever_spent_what(limit: int, spent: list[int], gone: int, random: Random) -> None:
    share = fair_share(limit, spent, gone)
    assert share == fair_share(limit, random.sample(spent, len(spent)), gone)
    overspent = sum(amount for amount in spent if amount > share)
    under = sum(share for amount in spent if amount <= share)
    assert share == 0 or gone + overspent + under <= limit
