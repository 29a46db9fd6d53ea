"""`kubectl modelward` as a user types it: a prediction, what serves, what served, the way back, and how the installation is."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.cases.case import PATIENCE, Case
from e2e.cases.kube import Refused, wait
from e2e.cases.manifests import NAME
from e2e.cases.test_access import account

REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
REASON = "the second is the better one"


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubectl finds `kubectl-modelward` where this Python's commands are."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def run(case: Case, command: str, *arguments: str, given: str | None = None) -> str:
    return case.kube.kubectl("modelward", command, NAME, "-n", case.namespace, *arguments, given=given, within=120)


def predict(case: Case, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(case, "predict", "-f", "-", *arguments, given=json.dumps(REQUEST)))
    return found


def secured(case: Case) -> dict[str, Any]:
    """Callers with a token over a certificate of the operator's."""
    friend = {"kind": "ServiceAccount", "name": "friend", "namespace": case.namespace}
    case.apply(*map(account, ("friend", "stranger")))
    return {"authentication": {"allowedSubjects": [friend]}, "tls": {"mode": "Managed"}}


@pytest.mark.core
def test_a_model_is_asked_updated_and_rolled_back_by_the_plugin(case: Case) -> None:
    case.serve(model={"version": "1"}, security=secured(case))
    assert predict(case)["model_version"] == "1", "as the first of allowedSubjects, over TLS"
    with pytest.raises(Refused, match=r"403: .*\nServiceAccount .*/stranger may not predict"):
        predict(case, "--service-account", "stranger")
    assert f"{NAME}  Ready=True Serving" in run(case, "status")

    case.kube.patch(
        "ModelDeployment", NAME, {"metadata": {"annotations": {"kubernetes.io/change-cause": REASON}}}, case.namespace
    )
    case.change({"model": {"uri": f"{case.prefix}/adder/2/", "version": "2"}})
    case.wait_ready()
    assert predict(case)["model_version"] == "2"
    case.change({"model": {"uri": f"{case.prefix}/adder/none/", "version": "3"}})
    case.wait_condition(NAME, "RolloutComplete", "False", "ModelNotFound")
    with pytest.raises(Refused):
        run(case, "status")
    told = json.loads(run(case, "history", "-o", "json"))
    assert [(one["version"], one["cause"]) for one in told["revisions"]] == [("1", ""), ("2", REASON)]
    assert (
        told["serving"],
        told["present"]["served"],
        told["present"]["ready"]["reason"],
    ) == (2, False, "ModelNotFound")

    assert "back to revision 2" in run(case, "rollback"), "what served last"
    case.wait_ready()
    assert predict(case)["model_version"] == "2"
    run(case, "rollback", "--to", "1")
    case.wait_ready()
    assert predict(case)["model_version"] == "1"
    history = run(case, "history")
    assert "rolled back to revision 1" in history
    entries = json.loads(case.kube.kubectl("get", "controllerrevisions", "-n", case.namespace, "-o", "json"))["items"]
    assert [f"{NAME}-rev-{number}" for number in (1, 2, 3, 4)] == sorted(one["metadata"]["name"] for one in entries)
    wait("the doctor finds nothing", lambda: found_wrong(case) == [], within=60, last=lambda: str(found_wrong(case)))


def found_wrong(case: Case) -> list[dict[str, Any]]:
    """What the doctor finds of the installation; not how others' models stand, nor that it was refused in namespaces that were deleted."""
    checks = json.loads(case.kube.kubectl("modelward", "doctor", "-o", "json"))["checks"]
    wrong = [one for one in checks if one["result"] != "ok" and one["check"] not in {"Models", "Versions", "Network"}]
    return [one for one in wrong if "was refused (403)" not in one["message"]]


def test_a_call_of_the_plugin_wakes_a_model_that_is_at_zero(case: Case) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 1, "idleSeconds": 2, "scaleDownSeconds": 1}
    case.serve(scaling=scaling, security=secured(case))
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero")
    case.wait_pods(0)
    found = wait("the call is held and answered", lambda: predict(case), within=PATIENCE)
    assert found["model_name"] == NAME
