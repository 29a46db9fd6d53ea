"""The rule that lets a CostBudget tighten without a right knows every field: what it forgot could be loosened by anybody."""

import re
from typing import Any

from modelward_operator.api.costbudget import OnExceeded, OnForecast
from modelward_operator.api.crd import costbudget_crd
from tests.admission_rules import rules_of, spec_of

SPEC = spec_of(costbudget_crd())
RULES = rules_of("modelward-relax-budgets")
COMPARED = " ".join(rule for name, rule in RULES.items() if name.endswith(("Tightens", "Stays")))


def fields(node: dict[str, Any]) -> set[str]:
    """Return the fields of a struct that are no structs themselves, and of those within it."""
    properties = node.get("properties", {})
    return {n for n, f in properties.items() if "properties" not in f}.union(*(fields(f) for f in properties.values()))


def test_every_field_is_compared_but_the_reason_of_an_override() -> None:
    compared = set(re.findall(r"\w+", COMPARED))
    assert {"reason"} == fields(SPEC) - compared


def test_each_comparison_names_the_field_before_and_after() -> None:
    for name in fields(SPEC) - {"reason", "matchLabels", "extraLimit", "expires"}:
        assert f"variables.before.{name}" in COMPARED, name
        assert f"variables.after.{name}" in COMPARED, name


def test_the_ladder_has_the_rungs_in_their_order() -> None:
    assert RULES["ladder"] == str([rung.value for rung in OnExceeded])
    assert [choice.value for choice in OnForecast] == ["Alert", "ClampMaxReplicas"]
