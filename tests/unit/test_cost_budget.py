"""One budget at one moment: its rungs, its shares, and what it says of itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelward_operator.api.parse import Invalid, parse_budget
from modelward_operator.facts import Json
from modelward_operator.policies.cost.budget import ACTIONS, Evaluation, evaluate
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.pots import Rung
from modelward_operator.policies.cost.report import standing_in, status_of, status_of_invalid, step, weight
from modelward_operator.policies.cost.standing import Standing
from modelward_operator.pricing.money import NANO
from modelward_operator.rulings import NO_LIMIT
from tests.budgets import LEAST, budget_spec, cost_budget

NOW = datetime(2026, 11, 16, 0, 0, tzinfo=UTC)
"""Half of a month of 30 days: 360 hours are left."""
ONE = Line("fraud", price=NANO // 4, in_use=2, asked=2, ceiling=8)
"""A floor of one costs 90 USD until the end."""
AT_FIRST = Standing()


def seen(*lines: Line, before: Standing = AT_FIRST, now: datetime = NOW, **spec: Any) -> Evaluation:
    return evaluate("team", budget_spec(**spec), lines or (ONE,), now, before)


def spent(units: float, **changed: Any) -> Line:
    return replace(ONE, spent=int(units * NANO), **changed)


RUNGS = [
    # why this row, what was spent and asked, the budget, the rung, the maximum
    ("nothing is in the way", spent(10), {}, Rung.NONE, NO_LIMIT),
    ("the warning", spent(400), {}, Rung.ALERT, NO_LIMIT),
    ("an earlier warning", spent(100), {"warnPercent": 20}, Rung.ALERT, NO_LIMIT),
    ("the forecast", spent(10, hourly=2 * NANO), {}, Rung.ALERT, NO_LIMIT),
    ("the clamp", spent(409, asked=8), {}, Rung.CLAMP, 4),
    ("the clamp, where more runs", spent(409, in_use=7, asked=8), {"onExceeded": "ClampMaxReplicas"}, Rung.CLAMP, 7),
    ("the floor", spent(410), {}, Rung.FLOOR, 1),
    ("the floor, beyond the limit", spent(600), {}, Rung.FLOOR, 1),
    ("beyond the limit, where it only alerts", spent(600), {"onExceeded": "Alert"}, Rung.ALERT, NO_LIMIT),
    ("zero", spent(500), {"onExceeded": "ScaleToZero", "allowBelowFloor": True}, Rung.ZERO, 0),
    ("zero, within a minute of it", spent(499.995), {"onExceeded": "ScaleToZero", "floor": 0}, Rung.ZERO, 0),
    ("suspended", spent(500), {"onExceeded": "Suspend", "floor": 0}, Rung.SUSPEND, 0),
    (
        "an override that holds",
        spent(500),
        {"override": {"extraLimit": "95", "reason": "a", "expires": "2026-11-17T00:00:00Z"}},
        Rung.ALERT,
        NO_LIMIT,
    ),
    (
        "an override that is over",
        spent(500),
        {"override": {"extraLimit": "900", "reason": "a", "expires": "2026-11-16T00:00:00Z"}},
        Rung.FLOOR,
        1,
    ),
    ("a slower burn", spent(409, asked=8), {"burnWindowSeconds": 7200}, Rung.CLAMP, 2),
]


@pytest.mark.parametrize(("reason", "line", "spec", "rung", "maximum"), RUNGS, ids=[row[0] for row in RUNGS])
def test_the_ladder(reason: str, line: Line, spec: Json, rung: Rung, maximum: int) -> None:
    found = seen(line, **spec)
    assert (rung, maximum) == (found.rung, found.allowances["fraud"].maximum), reason


def test_a_forecast_that_bounds_lets_grow_only_as_far_as_the_forecast_stays_within_the_limit() -> None:
    line = spent(10, hourly=NANO // 2, asked=8)
    forecast = 10 + 360 / 2
    more = int((500 - forecast) / 360 / 0.25 / 1.1)
    assert seen(line, onForecast="ClampMaxReplicas").allowances["fraud"].maximum == 2 + more
    assert seen(line).allowances["fraud"].maximum == NO_LIMIT


def test_near_the_end_the_window_is_not_shorter_than_a_minute() -> None:
    now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    found = seen(spent(499.9, ceiling=1000, asked=1000), now=now)
    assert found.allowances["fraud"].maximum < 30, "a second's worth of replicas would be hundreds"


def test_what_was_at_zero_stays_there_until_more_than_the_rest_is_left() -> None:
    zero: Json = {"onExceeded": "ScaleToZero", "floor": 1, "allowBelowFloor": True}
    gone = spent(499, in_use=0)
    fallen = Standing(Rung.ZERO, datetime(2026, 11, 1, tzinfo=UTC), 500 * NANO)
    assert seen(gone, before=fallen, **zero).rung is Rung.ZERO
    assert seen(gone, **zero).rung is Rung.FLOOR, "it was not at zero before"
    later = replace(fallen, period=datetime(2026, 10, 1, tzinfo=UTC))
    assert seen(gone, before=later, **zero).rung is Rung.FLOOR, "that was another period"
    assert seen(gone, before=fallen, **{**zero, "limit": "501"}).rung is Rung.FLOOR, "the limit was raised"


def test_models_that_share_are_cut_in_proportion() -> None:
    a = replace(spent(205, in_use=6, asked=6), model="a")
    b = replace(a, model="b", in_use=3, asked=3, spent=0)
    found = seen(a, b, limit="387")
    assert found.left - found.set_aside == 2 * NANO
    assert {"a": 6, "b": 3} == {name: one.maximum for name, one in found.allowances.items()}
    found = seen(a, b, limit="386")
    assert found.left - found.set_aside == NANO
    assert {"a": 4, "b": 2} == {name: one.maximum for name, one in found.allowances.items()}


def test_a_model_at_zero_may_wake_while_one_replica_is_affordable_however_many_sleep() -> None:
    sleepers = [Line(f"m{n}", price=NANO, ceiling=4) for n in range(9)]
    spender = Line("gone", spent=498 * NANO, exists=False)
    found = seen(*sleepers, spender, floor=0)
    assert {1} == {one.maximum for one in found.allowances.values()}
    assert {""} == {one.reason for one in found.allowances.values()}
    found = seen(*sleepers, replace(spender, spent=499 * NANO), floor=0)
    assert {(0, "BudgetAtFloor")} == {(one.maximum, one.reason) for one in found.allowances.values()}
    assert "none may be started" in found.allowances["m0"].message


def test_of_those_that_wake_at_once_only_as_many_go_on_as_are_affordable() -> None:
    awake = [Line(f"m{n}", price=NANO, in_use=1, asked=1, ceiling=4) for n in range(9)]
    found = seen(*awake, Line("gone", spent=498 * NANO, exists=False), floor=0)
    assert 2 == sum(one.maximum for one in found.allowances.values())


def test_with_shares_of_their_own_one_model_cannot_burn_anothers() -> None:
    a = replace(spent(249, asked=8), model="a")
    b = replace(a, model="b", spent=0)
    found = seen(a, b, allocation="PerModel")
    assert found.allowances["a"].maximum == 1
    assert found.allowances["b"].maximum == NO_LIMIT


def test_what_a_deleted_model_spent_counts_and_it_gets_nothing() -> None:
    gone = Line("gone", spent=409 * NANO, exists=False)
    found = seen(replace(ONE, asked=8), gone)
    assert found.spent == 409 * NANO
    assert {"fraud"} == found.allowances.keys()
    assert found.allowances["fraud"].maximum < 8


UNKNOWN = [
    ("denied", {}, 1),
    ("denied, and the floor may go", {"onExceeded": "ScaleToZero", "allowBelowFloor": True}, 0),
    ("allowed", {"onUnknownCost": "Allow"}, NO_LIMIT),
]


@pytest.mark.parametrize(("reason", "spec", "maximum"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_a_model_without_a_price(reason: str, spec: Json, maximum: int) -> None:
    line = replace(ONE, price=None, unpriced="PriceMissing: no PriceBook has a price for node a")
    found = seen(line, **spec)
    assert maximum == found.allowances["fraud"].maximum, reason
    evaluated = condition(found, "Evaluated")
    assert ("False", "CostUnknown") == (evaluated["status"], evaluated["reason"])
    assert "fraud: PriceMissing: no PriceBook has a price for node a" in evaluated["message"]


def condition(found: Evaluation, type_: str, before: Json | None = None) -> Json:
    conditions: list[Json] = status_of(found, before or {}, 3, {})["conditions"]
    (said,) = (c for c in conditions if c["type"] == type_)
    return said


SAID = [
    # why this row, what was spent, the budget, status and reason of WithinBudget, words of its message
    (
        "all is well",
        spent(10),
        {},
        "True",
        "WithinBudget",
        "10.00 USD spent of 500.00 USD in the month that ends 2026-12-01 00:00 UTC",
    ),
    ("near", spent(402), {}, "True", "LimitNear", "more than 80 % of the limit is spent"),
    (
        "forecast",
        spent(10, hourly=2 * NANO),
        {},
        "True",
        "ForecastExceedsLimit",
        "at this rate 730.00 USD will have been spent",
    ),
    (
        "clamped",
        spent(409, asked=8),
        {},
        "True",
        "BudgetClamped",
        "more replicas are asked for than are affordable: fraud",
    ),
    ("at the floor", spent(410), {}, "True", "BudgetAtFloor", "only the floor is affordable: fraud"),
    (
        "a floor that costs too much",
        spent(10),
        {"limit": "60"},
        "False",
        "FloorExceedsLimit",
        "the floor of 1 costs 90.00 USD until then",
    ),
    ("beyond", spent(501), {}, "False", "LimitExceeded", "501.00 USD spent of 500.00 USD"),
    (
        "nothing runs",
        spent(501),
        {"onExceeded": "Suspend", "floor": 0},
        "False",
        "BudgetExceeded",
        "raise spec.limit or set spec.override",
    ),
]


@pytest.mark.parametrize(("reason", "line", "spec", "status", "word", "message"), SAID, ids=[row[0] for row in SAID])
def test_the_status_says_what_happened_and_what_to_do(
    reason: str, line: Line, spec: Json, status: str, word: str, message: str
) -> None:
    said = condition(seen(line, **spec), "WithinBudget")
    assert (status, word) == (said["status"], said["reason"]), reason
    assert message in said["message"]


def test_the_figures_are_decimal_strings_and_the_last_action_stands_until_the_next() -> None:
    first = status_of(seen(spent(410.5)), {}, 3, {})
    assert ("500", "410.5", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z") == tuple(
        first[name] for name in ("limit", "spent", "periodStart", "periodEnd")
    )
    assert first["lastAction"]["action"] == "ScaleToFloor"
    later = status_of(seen(spent(411), now=NOW + timedelta(hours=1)), first, 3, {})
    assert first["lastAction"] == later["lastAction"]
    assert weight(first) == weight(later), "figures alone are not written at once"
    risen = status_of(seen(spent(10), now=NOW + timedelta(hours=1)), first, 3, {})
    assert risen["lastAction"]["action"] == "None"
    assert weight(first) != weight(risen)


def test_an_operator_that_starts_anew_reads_where_the_budget_stands_from_its_status() -> None:
    for rung, action in ACTIONS.items():
        status = {"lastAction": {"action": action}, "periodStart": "2026-11-01T00:00:00Z", "limit": "500"}
        assert Standing(rung, datetime(2026, 11, 1, tzinfo=UTC), 500 * NANO, rung) == standing_in(status)
    assert Standing() == standing_in({})


@pytest.mark.parametrize("wrong", [{"limit": "much"}, {"limit": ""}, {"periodStart": "2026-02-30T00:00:00Z"}])
def test_a_status_that_somebody_else_wrote_is_not_remembered(wrong: Json) -> None:
    assert Standing() == standing_in({"limit": "1", "lastAction": {"action": "ScaleToZero"}, **wrong})


def test_each_step_is_an_event_and_standing_still_is_none() -> None:
    clamped, floor = seen(spent(409, asked=8)), seen(spent(410))
    up = step(floor, clamped.standing)
    assert up is not None
    assert ("Warning", "ScaleToFloor") == up[:2]
    assert step(floor, floor.standing) is None
    down = step(seen(spent(10)), floor.standing)
    assert down is not None
    assert ("Normal", "WithinBudget") == down[:2]
    anew = step(seen(spent(0)), replace(floor.standing, period=datetime(2026, 10, 1, tzinfo=UTC)))
    assert anew is not None
    assert ("Normal", "PeriodBegan") == anew[:2]
    assert step(seen(spent(0)), Standing()) is None


def test_a_forecast_that_swings_around_the_limit_warns_once_and_says_when_it_is_over() -> None:
    above, below = spent(10, hourly=2 * NANO), spent(10, hourly=NANO)
    standing, told = AT_FIRST, []
    for minute in range(0, 600, 5):
        found = seen(below if minute % 10 else above, before=standing, now=NOW + timedelta(minutes=minute))
        told += [step(found, standing)]
        assert found.rung is Rung.ALERT
        standing = found.standing
    assert ["Alert"] == [event[1] for event in told if event]
    calm = seen(below, before=standing, now=NOW + timedelta(hours=12))
    assert calm.rung is Rung.ALERT
    (_, within) = status_of(calm, {}, 1, {})["conditions"]
    assert ("True", "ForecastExceedsLimit") == (within["status"], within["reason"])
    assert "this alert ends at 2026-11-17 09:50 UTC if it stays so" in within["message"]
    later = seen(below, before=calm.standing, now=NOW + timedelta(hours=34))
    assert later.rung is Rung.NONE
    assert ("Normal", "WithinBudget") == (step(later, calm.standing) or ())[:2]


def test_a_clamp_that_comes_and_goes_warns_once_and_bounds_each_time() -> None:
    standing, told = AT_FIRST, []
    for minute in range(0, 60, 5):
        line = spent(409, asked=2 if minute % 10 else 8)
        found = seen(line, before=standing, now=NOW + timedelta(minutes=minute))
        assert found.rung is (Rung.ALERT if minute % 10 else Rung.CLAMP)
        assert found.allowances["fraud"].maximum < 8
        told += [step(found, standing)]
        standing = found.standing
    assert ["ClampMaxReplicas"] == [event[1] for event in told if event]


def test_a_raised_limit_is_seen_at_once() -> None:
    alarmed = seen(spent(10, hourly=2 * NANO)).standing
    assert seen(spent(10, hourly=2 * NANO), before=alarmed, limit="900").rung is Rung.NONE


def test_a_budget_that_cannot_be_read_keeps_what_was_known_and_names_the_field() -> None:
    invalid = parse_budget(cost_budget(f"{{{LEAST}, timeZone: Mars/Olympus}}"))
    assert isinstance(invalid, Invalid)
    status = status_of_invalid(invalid, {"spent": "7", "conditions": []}, 4, NOW)
    assert ("7", 4) == (status["spent"], status["observedGeneration"])
    said, stalled = status["conditions"]
    assert ("Evaluated", "False", "BudgetInvalid") == (said["type"], said["status"], said["reason"])
    assert ("Stalled", "True", "BudgetInvalid") == (stalled["type"], stalled["status"], stalled["reason"])
    assert {"Stalled"} & {c["type"] for c in status_of(seen(), status, 5, {})["conditions"]} == set()
    assert "spec.timeZone: there is no time zone Mars/Olympus" in said["message"]
