"""What budgets and maximum prices do to one model: its bounds, its denial, and what its status says."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.facts import Allowance, Applied, Cost, Given, Json, Policy, Surroundings
from modelward_operator.plan.draw import draw
from modelward_operator.policies.cost.rule import cost
from modelward_operator.policies.rooms import rule
from modelward_operator.pricing.money import NANO
from modelward_operator.rulings import NO_LIMIT, Bounds
from modelward_operator.status.summarise import summarise
from tests.makers import make_given, parsed

ASKS_FIVE = {"scaling": {"replicas": 5}}


def under(*allowances: Allowance, spec: Json = ASKS_FIVE, **known: Any) -> Given:
    return replace(make_given(spec), cost=Cost(allowances=allowances, **known))


def held(name: str, maximum: int, reason: str = "BudgetClamped", is_suspended: bool = False) -> Allowance:
    return Allowance(name, maximum, is_suspended, reason, f"CostBudget {name}: said")


def status(given: Given) -> dict[str, Json]:
    spec = parsed(given)
    ruling = rule(given, spec)
    found = summarise(given, spec, ruling, draw(given, spec, ruling), Applied())
    return {c["type"]: c for c in found["conditions"]}


def replicas(given: Given) -> int:
    spec = parsed(given)
    return int(draw(given, spec, rule(given, spec)).find("Deployment")["spec"]["replicas"])


def test_without_a_budget_nothing_is_bounded_and_nothing_is_said() -> None:
    assert Bounds() == cost(under(), parsed(make_given())).replicas
    assert "WithinBudget" not in status(under())


def test_of_two_budgets_the_tighter_holds_and_both_say_so() -> None:
    given = under(held("wide", 4), held("tight", 2))
    assert replicas(given) == 2
    said = status(given)["WithinBudget"]
    assert ("False", "BudgetClamped") == (said["status"], said["reason"])
    assert said["message"] == "CostBudget tight: said; CostBudget wide: said"


def test_a_budget_that_is_in_the_way_does_not_take_readiness_away_while_something_runs() -> None:
    said = status(under(held("tight", 2)))
    assert said["Ready"]["status"] != "False"


@pytest.mark.parametrize("spec", [ASKS_FIVE, {"scaling": {"replicas": 0}}], ids=["serving", "at zero"])
def test_a_model_that_may_not_run_at_all_is_not_ready_for_the_budgets_reason(spec: Json) -> None:
    given = under(held("spent", 0, "BudgetExceeded"), spec=spec)
    assert replicas(given) == 0
    said = status(given)
    for type_ in ("Ready", "WithinBudget"):
        assert ("False", "BudgetExceeded") == (said[type_]["status"], said[type_]["reason"])
        assert said[type_]["message"] == "CostBudget spent: said"


def test_suspend_denies() -> None:
    given = under(held("spent", 0, "BudgetExceeded", is_suspended=True))
    assert rule(given, parsed(given)).denied
    said = status(given)["Ready"]
    assert ("False", "BudgetExceeded", "CostBudget spent: said") == (said["status"], said["reason"], said["message"])


def test_a_budget_that_leaves_enough_is_said_as_well() -> None:
    said = status(under(replace(held("wide", NO_LIMIT, ""), message="CostBudget wide: 1 of 2")))["WithinBudget"]
    assert ("True", "WithinBudget", "CostBudget wide: 1 of 2") == (said["status"], said["reason"], said["message"])


def priced(amount: str, price: int | None, currency: str = "USD", unpriced: str = "") -> Given:
    given = under(price=price, currency=currency, unpriced=unpriced)
    demand = {"namespaceSelector": {}, "maximumPricePerHour": {"amount": amount, "currency": "USD"}}
    return replace(given, around=Surroundings({}, (Policy("floor", ModelPolicySpec.model_validate(demand)),)))


def test_a_maximum_price_bounds_the_replicas() -> None:
    given = priced("7", 2 * NANO)
    assert replicas(given) == 3
    said = status(given)["WithinBudget"]
    assert ("False", "PriceAboveMaximum") == (said["status"], said["reason"])
    assert said["message"] == (
        "ModelPolicy floor: a model may cost 7.00 USD per hour and a replica costs 2.00 USD: at most 3 may run"
    )


def test_a_maximum_price_that_pays_for_all_is_met() -> None:
    assert status(priced("10", 2 * NANO))["WithinBudget"]["status"] == "True"


DENIED = [
    # why this row, price of a replica, its currency, why it is not known, what is said
    (
        "one replica is too dear",
        8 * NANO,
        "USD",
        "",
        "one replica costs 8.00 USD per hour, and a model may cost 7.00 USD",
    ),
    ("no price", None, "", "PriceUnknown: node a has no price", "is not known: PriceUnknown: node a has no price"),
    ("nobody says what anything costs", None, "", "", "what the model costs per hour is not known: no PriceBook says"),
    ("another currency", NANO, "EUR", "", "maximumPricePerHour is in USD, and the model's nodes have a price in EUR"),
]


@pytest.mark.parametrize(("reason", "price", "currency", "unpriced", "words"), DENIED, ids=[row[0] for row in DENIED])
def test_what_a_maximum_price_cannot_bear_does_not_serve(
    reason: str, price: int | None, currency: str, unpriced: str, words: str
) -> None:
    given = priced("7", price, currency, unpriced)
    (verdict,) = rule(given, parsed(given)).verdicts
    assert verdict.reason == "ModelPolicyViolated", reason
    assert words in verdict.message
