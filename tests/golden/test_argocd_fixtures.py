"""What health.lua is tested with is what the operator says: the fixtures of operator/gitops/argocd, made by its own functions.

`make golden` rewrites them; what Argo CD is to show of each is in health_test.yaml beside them, and tests/integration runs the script.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from modelward_operator.api.parse import Invalid, parse, parse_budget
from modelward_operator.facts import Applied, Given, Json
from modelward_operator.policies.cost.budget import evaluate
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.report import status_of, status_of_invalid, status_of_unread
from modelward_operator.policies.cost.standing import Standing
from modelward_operator.policies.rooms import rule
from modelward_operator.pricing.money import NANO
from modelward_operator.rulings import Ruling
from modelward_operator.status.summarise import summarise, summarise_invalid
from tests.budgets import LEAST, budget_spec, cost_budget
from tests.makers import READY_REPORT, current_revision, drawn, make_given, make_pod, parsed

ARGOCD = Path(__file__).parents[2] / "operator" / "gitops" / "argocd" / "modelward.dev"
NOON = datetime(2026, 11, 16, 12, 0, tzinfo=UTC)
UNSEEN: Json = {"observedGeneration": -1}
LINE = Line("fraud", price=NANO // 4, in_use=2, asked=2, ceiling=8)
WRONG = {
    "terminated": {
        "exitCode": 78,
        "message": '{"reason":"DigestMismatch","message":"another one is stored","permanent":true}',
    }
}


def model(given: Given, status: Json) -> Json:
    return {**given.raw, "status": status}


def told(spec: Json | None = None, **pod: object) -> Json:
    """A ModelDeployment with one pod, or none, as the operator tells it."""
    bare = make_given(spec)
    pods = (make_pod("fraud-0", revision=current_revision(bare), **pod),) if pod else ()  # type: ignore[arg-type]
    given = replace(bare, pods=pods)
    return model(given, summarise(given, parsed(given), rule(given, parsed(given)), drawn(given), Applied()))


def unreadable() -> Json:
    given = make_given({"scaling": {"replicas": -1}})
    invalid = parse(given.raw)
    assert isinstance(invalid, Invalid)
    return model(given, summarise_invalid(given, invalid, Ruling(), Applied()))


def changed_since() -> Json:
    serving = told(is_ready=True, report=READY_REPORT)
    return {**serving, "metadata": {**serving["metadata"], "generation": 4}}


def budget(status: Json, spec: str = f"{{{LEAST}}}") -> Json:
    made = cost_budget(spec)
    return {**made, "metadata": {**made["metadata"], "namespace": "risk", "generation": 1}, "status": status}


def evaluated(spent: int) -> Json:
    seen = evaluate("team", budget_spec(), [replace(LINE, spent=spent * NANO)], NOON, Standing())
    return budget(status_of(seen, {}, 1, {}))


def budget_unreadable() -> Json:
    spec = f"{{{LEAST}, timeZone: Mars/Olympus}}"
    invalid = parse_budget(cost_budget(spec))
    assert isinstance(invalid, Invalid)
    return budget(status_of_invalid(invalid, {}, 1, NOON), spec)


SITUATIONS: Mapping[str, Mapping[str, Callable[[], Json]]] = {
    "ModelDeployment": {
        "unseen": lambda: model(make_given(), UNSEEN),
        "starting": told,
        "serving": lambda: told(is_ready=True, report=READY_REPORT),
        "changed-since": changed_since,
        "wrong-digest": lambda: told(last_state=WRONG),
        "suspended": lambda: told({"suspend": True}),
        "at-zero": lambda: told({"scaling": {"replicas": 0}}),
        "unreadable": unreadable,
    },
    "CostBudget": {
        "unseen": lambda: budget(UNSEEN),
        "within": lambda: evaluated(10),
        "at-its-floor": lambda: evaluated(600),
        "unreadable": budget_unreadable,
        "ledger-unread": lambda: budget(status_of_unread("the ledger cannot be read: 503", {}, 1, NOON)),
    },
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in SITUATIONS.items() for name in names])
def test_a_fixture_is_what_the_operator_says(kind: str, name: str, rewrite: bool) -> None:
    file = ARGOCD / kind / "testdata" / f"{name}.yaml"
    text = yaml.safe_dump(SITUATIONS[kind][name](), sort_keys=False, width=120)
    if rewrite:
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("kind", SITUATIONS)
def test_every_fixture_has_an_expectation_and_none_is_left_over(kind: str) -> None:
    tests = yaml.safe_load((ARGOCD / kind / "health_test.yaml").read_text())["tests"]
    files = {f"testdata/{name}.yaml" for name in SITUATIONS[kind]}
    assert files == {test["inputPath"] for test in tests}
    assert files == {f"testdata/{file.name}" for file in (ARGOCD / kind / "testdata").iterdir()}
