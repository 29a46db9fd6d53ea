"""RESULTS.md is what the reports say, and the reports are of this suite's rules."""

import copy
from typing import Any

import pytest

from e2e.conformance.results import ORDER, PAGE, load, page
from e2e.conformance.rule import RULES


@pytest.fixture(name="reports")
def _reports() -> dict[str, Any]:
    return load()


def test_the_page_is_made_from_the_reports(reports: dict[str, Any]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(reports), "python -m e2e.conformance.peers table"


@pytest.mark.parametrize("name", ORDER)
def test_a_report_is_of_these_rules(reports: dict[str, Any], name: str) -> None:
    asked = {result["id"]: (result["level"], result["title"]) for result in reports[name]["rules"]}
    assert asked == {rule.id: (rule.level, rule.title) for rule in RULES.values()}, (
        "python -m e2e.conformance.peers run"
    )


def test_our_report_keeps_every_rule(reports: dict[str, Any]) -> None:
    assert {result["verdict"] for result in reports["modelward"]["rules"]} == {"pass"}


def test_a_failure_changes_the_table_and_is_listed(reports: dict[str, Any]) -> None:
    changed = copy.deepcopy(reports)
    changed["modelward"]["rules"][0] |= {"verdict": "fail", "message": "a | b `c`\nd"}
    written = page(changed)
    assert "It keeps every rule." in page(reports)
    assert "It keeps every rule." not in written
    assert "`a \\| b 'c' d`" in written
    assert f"{len(RULES) - 1} of {len(RULES)}" in written
