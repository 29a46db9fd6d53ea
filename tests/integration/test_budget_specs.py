"""What the API server accepts and refuses of CostBudgets, from the table in tests/budgets.py. Which time zones exist it does not know."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.budgets import ACCEPTED_BUDGETS, LEAST, REFUSED_BUDGETS, cost_budget
from tests.specs import Bad, Good

DryRun = Callable[[dict[str, Any]], str]


@pytest.mark.parametrize("case", ACCEPTED_BUDGETS, ids=lambda case: case.reason)
def test_accepted(case: Good, dry_run: DryRun) -> None:
    assert dry_run(cost_budget(case.spec)) == ""


@pytest.mark.parametrize("case", REFUSED_BUDGETS, ids=lambda case: case.reason)
def test_refused(case: Bad, dry_run: DryRun) -> None:
    refusal = dry_run(cost_budget(case.spec))
    assert case.path in refusal
    assert case.message in refusal


def test_a_date_that_does_not_exist_is_refused(dry_run: DryRun) -> None:
    override = "override: {extraLimit: '1', reason: a, expires: '2026-02-30T00:00:00Z'}"
    assert "spec.override" in dry_run(cost_budget(f"{{{LEAST}, {override}}}"))


def test_a_time_zone_that_does_not_exist_is_taken_and_told_by_a_condition(dry_run: DryRun) -> None:
    assert dry_run(cost_budget(f"{{{LEAST}, timeZone: Mars/Olympus}}")) == ""
