"""health.lua by the interpreter that Argo CD runs it by, on what the operator says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.facts import Applied
from modelward_operator.policies.rooms import rule
from modelward_operator.rulings import Ruling, Verdict
from modelward_operator.status.conditions import REASONS
from modelward_operator.status.summarise import summarise
from tests.lua import ScriptFailed, health
from tests.makers import drawn, make_given, parsed

ARGOCD = Path(__file__).parents[2] / "operator" / "gitops" / "argocd" / "modelward.dev"


def cases() -> list[tuple[str, Any]]:
    return [
        (kind.name, test)
        for kind in sorted(ARGOCD.iterdir())
        for test in yaml.safe_load((kind / "health_test.yaml").read_text())["tests"]
    ]


@pytest.mark.parametrize(("kind", "case"), cases(), ids=lambda one: one if isinstance(one, str) else one["inputPath"])
def test_argo_cd_shows(kind: str, case: Any, tmp_path: Path) -> None:
    live = yaml.safe_load((ARGOCD / kind / case["inputPath"]).read_text())
    expected = case["healthStatus"]
    assert (expected["status"], expected["message"]) == health(ARGOCD / kind / "health.lua", live, tmp_path)


def test_no_reason_of_ready_false_leaves_an_application_waiting(tmp_path: Path) -> None:
    """Whatever denies a model, Argo CD says so at once; only what its owner suspended is no failure."""
    given = make_given()
    spec = parsed(given)
    for reason in REASONS:
        ruling = rule(given, spec) & Ruling(verdicts=frozenset({Verdict("Ready", str(reason), "because")}))
        status = summarise(given, spec, ruling, drawn(given), Applied())
        shown = health(ARGOCD / "ModelDeployment" / "health.lua", {**given.raw, "status": status}, tmp_path)
        assert ("Suspended" if reason == "Suspended" else "Degraded", f"{reason}: because") == shown


def test_conditions_in_another_order_and_words_of_any_kind_change_nothing(tmp_path: Path) -> None:
    script = ARGOCD / "ModelDeployment" / "health.lua"
    live = yaml.safe_load((ARGOCD / "ModelDeployment" / "testdata" / "wrong-digest.yaml").read_text())
    live["status"]["conditions"].reverse()
    for condition in live["status"]["conditions"]:
        condition["message"] = 'quotes " and \\ and \n and \u00e4 ]] %s {{'
    assert ("Degraded", 'DigestMismatch: quotes " and \\ and \n and \u00e4 ]] %s {{') == health(script, live, tmp_path)


@pytest.mark.parametrize(
    ("reason", "script"),
    [
        ("Argo CD has no string library", 'return {status = ("healthy"):upper()}'),
        ("nor this way", 'return {status = string.upper("healthy")}'),
        ("no status of Argo CD's", 'return {status = "Fine"}'),
        ("no table", 'return "Healthy"'),
        ("no Lua", "return {"),
    ],
)
def test_what_argo_cd_would_refuse_is_refused_here(reason: str, script: str, tmp_path: Path) -> None:
    """The control of all of the above."""
    bad = tmp_path / "bad" / "health.lua"
    bad.parent.mkdir()
    bad.write_text(script)
    with pytest.raises(ScriptFailed):
        health(bad, {}, tmp_path)
    bad.write_text('return {status = "Healthy"}')
    assert ("Healthy", "") == health(bad, {}, tmp_path), reason
