"""Whatever lies under `spec`, `parse` returns a spec or says what is wrong, and what it accepts has a plan."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.api.parse import (
    Invalid,
    may_select,
    parse,
    parse_book,
    parse_budget,
    parse_costs,
    parse_policy,
    parse_privacy,
)
from modelward_operator.facts import Applied
from modelward_operator.plan.settled import settled
from modelward_operator.policies.rooms import rule, rule_unread
from modelward_operator.status.summarise import summarise, summarise_invalid
from tests.crd_specs import specs, without
from tests.makers import make_given

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
PARSERS: dict[str, Any] = {
    "modeldeployments": parse,
    "modelpolicies": parse_policy,
    "privacypolicies": parse_privacy,
    "costbudgets": parse_budget,
    "pricebooks": parse_book,
    "costledgers": parse_costs,
}


@pytest.mark.parametrize("plural", PARSERS)
@given(data=st.data())
def test_a_parser_reads_or_says_what_is_wrong(plural: str, data: st.DataObject) -> None:
    spec = data.draw(anything | specs(plural))
    for raw in ({"spec": spec}, {}, {"spec": None}):
        verdict = PARSERS[plural](raw)
        if isinstance(verdict, Invalid):
            assert verdict.errors
            assert all(error.path.startswith("spec") and error.message for error in verdict.errors)
    assert may_select({"spec": spec}, {"a": "b"}) in {True, False}


@settings(max_examples=100)
@given(spec=specs("modeldeployments"))
def test_what_is_accepted_has_a_plan_and_what_is_not_a_reason(spec: dict[str, Any]) -> None:
    for _ in range(20):
        facts = make_given(spec)
        read = parse(facts.raw)
        if not isinstance(read, Invalid):
            break
        told = summarise_invalid(facts, read, rule_unread(facts), Applied())["conditions"]
        assert {("Ready", "False"), ("Stalled", "True")} == {(one["type"], one["status"]) for one in told}
        assert {"InvalidSpec"} == {one["reason"] for one in told}
        spec = without("modeldeployments", facts.raw["spec"], (error.path for error in read.errors))
    else:
        pytest.fail(f"nothing is left to take away: {read}")
    ruling = rule(facts, read)
    plan = settled(facts, read, ruling)
    status = summarise(facts, read, ruling, plan, Applied())
    assert plan.find("Deployment")
    assert "Ready" in {condition["type"] for condition in status["conditions"]}
    assert json.loads(json.dumps(status)) == status
