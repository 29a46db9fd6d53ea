"""`parse_budget` is of one mind with the API server: the same budgets pass, the same fail, with the same words.

`parse_budget` alone knows which time zones exist.
"""

import pytest

from modelward_operator.api.costbudget import CostBudgetSpec, budget_may_select
from modelward_operator.api.parse import Invalid, parse_budget
from tests.budgets import ACCEPTED_BUDGETS, LEAST, REFUSED_BUDGETS, cost_budget
from tests.specs import Bad, Good


@pytest.mark.parametrize("case", ACCEPTED_BUDGETS, ids=lambda case: case.reason)
def test_accepted(case: Good) -> None:
    found = parse_budget(cost_budget(case.spec))
    assert isinstance(found, CostBudgetSpec), found


@pytest.mark.parametrize("case", REFUSED_BUDGETS, ids=lambda case: case.reason)
def test_refused_with_the_rules_own_words(case: Bad) -> None:
    verdict = parse_budget(cost_budget(case.spec))
    assert isinstance(verdict, Invalid)
    assert case.path in str(verdict)
    assert case.bound or case.message in str(verdict)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "localtime", "posix/UTC", "europe/berlin", "Berlin", "posixrules"])
def test_a_time_zone_that_does_not_exist_is_named(zone: str) -> None:
    verdict = parse_budget(cost_budget(f"{{{LEAST}, timeZone: {zone}}}"))
    expected = f"spec.timeZone: there is no time zone {zone} in the IANA database: write a name of it, for example Europe/Berlin, or UTC"
    assert expected == str(verdict)


@pytest.mark.parametrize("expires", ["2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "9999-12-31T23:59:59-00:01"])
def test_a_time_that_does_not_exist_is_refused(expires: str) -> None:
    verdict = parse_budget(cost_budget(f"{{{LEAST}, override: {{extraLimit: '1', reason: a, expires: '{expires}'}}}}"))
    assert "spec.override.expires: there is no such date or time" in str(verdict)


def test_a_budget_that_cannot_be_read_may_select_any_model_that_its_selector_does_not_exclude() -> None:
    wrong = cost_budget("{limit: nonsense}")
    assert budget_may_select(wrong, {})
    wrong["spec"]["selector"] = {"matchLabels": {"team": "fraud"}}
    assert budget_may_select(wrong, {"team": "fraud", "tier": "gold"})
    assert not budget_may_select(wrong, {"team": "risk"})
    wrong["spec"]["selector"] = "fraud"
    assert budget_may_select(wrong, {})
