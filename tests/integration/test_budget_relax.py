"""To loosen a CostBudget takes the verb `relax`, on a real API server: each edge, both ways."""

import itertools
from typing import Any

import pytest
import yaml

from tests.budgets import LEAST, cost_budget
from tests.integration.apiserver import ApiServer
from tests.integration.guard import allow, guard, refusal, until_refused
from tests.integration.relaxing import NAMESPACE_CONTROLLER, NOT_THERE, WRITE, Place
from tests.integration.rest import Json

WORDS = (
    "may be deleted, given an owner or an override, or changed otherwise than by tightening it, only by who may `relax`"
)
EDITOR = {"Impersonate-User": "budget-editor"}
OFFICER = {"Impersonate-User": "budget-officer"}
OPERATOR = {"Impersonate-User": "budget-operator"}
BUDGET = "costbudgets/team"
MIDDLE = f"""{{{LEAST}, period: Day, timeZone: Europe/Berlin, selector: {{matchLabels: {{team: fraud}}}}, floor: 2, allowBelowFloor: true,
warnPercent: 50, onForecast: ClampMaxReplicas, onExceeded: ScaleToZero, burnWindowSeconds: 600,
override: {{extraLimit: '25', reason: INC-1, expires: '2026-11-30T18:00:00Z'}}}}"""
_numbers = itertools.count(1)

CHANGES: list[tuple[str, str, bool]] = [
    # why this row, a merge patch of MIDDLE, whether it tightens and nothing else
    ("less money", "limit: '99.5'", True),
    ("more money", "limit: '500.000000001'", False),
    ("more money, smaller as text", "limit: '1000'", False),
    ("another currency", "currency: JPY", False),
    ("a shorter period", "period: Hour", False),
    ("a longer period", "period: Month", False),
    ("another zone, whose day begins anew", "timeZone: Asia/Tokyo", False),
    ("other models", "selector: {matchLabels: {team: risk}}", False),
    ("fewer models", "selector: {matchLabels: {tier: gold}}", False),
    ("every model", "selector: null", True),
    ("every model, said otherwise", "selector: {matchLabels: null}", True),
    ("another allocation", "allocation: PerModel", False),
    ("a lower floor", "floor: 1", True),
    ("a higher floor", "floor: 3", False),
    ("a floor that holds", "{allowBelowFloor: false, floor: 0}", False),
    ("an earlier warning", "warnPercent: 40", True),
    ("a later warning", "warnPercent: 60", False),
    ("a forecast that only says so", "onForecast: Alert", False),
    ("a longer ladder", "onExceeded: Suspend", True),
    ("a shorter ladder", "onExceeded: ScaleToFloor", False),
    ("no ladder", "{onExceeded: Alert, onForecast: Alert}", False),
    ("slower burning", "burnWindowSeconds: 601", True),
    ("faster burning", "burnWindowSeconds: 599", False),
    ("what cannot be counted may run", "onUnknownCost: Allow", False),
    ("an override that ends", "override: null", True),
    ("a smaller override", "override: {extraLimit: '9'}", True),
    ("a larger override, smaller as text", "override: {extraLimit: '100'}", False),
    ("a shorter override", "override: {expires: '2026-11-30T17:59:59Z'}", True),
    ("a shorter override, later as text", "override: {expires: '2026-11-30T18:30:00+01:00'}", True),
    ("a longer override, earlier as text", "override: {expires: '2026-11-30T17:30:00-01:00'}", False),
    ("one tightened and one loosened", "{limit: '1', floor: 3}", False),
]
"""Every row that is not let through for the editor is let through for the officer."""


@pytest.fixture(scope="module")
def place(server: ApiServer) -> Place:
    """A namespace with the budget MIDDLE, which no test changes; the chart's own policy and roles are in force."""
    guard(server)
    write: Json = {"apiGroups": ["modelward.dev"], "resources": ["costbudgets"], "verbs": WRITE}
    status: Json = {"apiGroups": ["modelward.dev"], "resources": ["costbudgets/status"], "verbs": ["patch"]}
    for who in (EDITOR, OFFICER):
        allow(server, who["Impersonate-User"], write)
    allow(server, OPERATOR["Impersonate-User"], status)
    made = Place(server, f"budget-relax-{next(_numbers)}", OFFICER)
    made.make(cost_budget(MIDDLE, "team"))
    until_refused(lambda: made.delete(BUDGET, EDITOR, "?dryRun=All"), WORDS)
    return made


@pytest.mark.parametrize(("reason", "patch", "tightens"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_budget_is_changed_without_the_right_only_where_it_tightens(
    reason: str, patch: str, tightens: bool, place: Place
) -> None:
    change: Any = yaml.safe_load(patch)
    said = refusal(lambda: place.change(BUDGET, change, EDITOR))
    assert tightens == (said == ""), f"{reason}: {said}"
    assert tightens or WORDS in said
    assert refusal(lambda: place.change(BUDGET, change, OFFICER)) == "", reason


def test_a_budget_is_made_without_the_right_but_with_no_override(place: Place) -> None:
    override = "override: {extraLimit: '1', reason: INC-2, expires: '2026-11-30T18:00:00Z'}"
    assert refusal(lambda: place.make(cost_budget(f"{{{LEAST}}}", "one"), EDITOR)) == ""
    assert WORDS in refusal(lambda: place.make(cost_budget(f"{{{LEAST}, {override}}}", "two"), EDITOR))
    assert refusal(lambda: place.make(cost_budget(f"{{{LEAST}, {override}}}", "two"), OFFICER)) == ""


@pytest.mark.parametrize(
    ("who", "allowed"),
    [(EDITOR, False), (OFFICER, True), (NAMESPACE_CONTROLLER, True)],
    ids=["an editor", "who may relax it", "the namespace controller, or no namespace would end"],
)
@pytest.mark.parametrize("what", [BUDGET, "costbudgets"], ids=["by name", "all at once"])
def test_a_budget_is_deleted_by(who: Json, allowed: bool, what: str, place: Place) -> None:
    said = refusal(lambda: place.delete(what, who, "?dryRun=All"))
    assert allowed == (said == ""), said
    assert allowed or WORDS in said


def test_a_budget_is_given_an_owner_only_with_the_right(place: Place) -> None:
    given = {"metadata": {"ownerReferences": [NOT_THERE]}}
    assert WORDS in refusal(lambda: place.patch(BUDGET, given, EDITOR, "?dryRun=All"))
    assert refusal(lambda: place.patch(BUDGET, given, OFFICER, "?dryRun=All")) == ""


def test_what_leaves_the_spec_alone_goes_through(place: Place) -> None:
    assert refusal(lambda: place.patch(BUDGET, {"metadata": {"labels": {"team": "risk"}}}, EDITOR, "?dryRun=All")) == ""
    told = place.patch(f"{BUDGET}/status", {"status": {"spent": "1"}}, OPERATOR)
    assert told["status"] == {"observedGeneration": -1, "spent": "1"}


def test_the_right_in_one_namespace_is_none_in_another(server: ApiServer, place: Place) -> None:
    other = Place(server, f"budget-relax-{next(_numbers)}")
    other.make(cost_budget(MIDDLE, "team"))
    until_refused(lambda: other.delete(BUDGET, OFFICER, "?dryRun=All"), WORDS)
