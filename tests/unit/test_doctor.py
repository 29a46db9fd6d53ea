"""Doctor: each check sees what is wrong with its part of the installation, and says what to do; what could not be read is not well."""

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.facts import Network
from modelward_operator.plugin.checks_cluster import ADMISSION
from modelward_operator.plugin.checks_operator import LISTED
from modelward_operator.plugin.doctor import CHECKS, examine
from modelward_operator.plugin.doctor_cli import _documents, _figures, _question, _words
from modelward_operator.plugin.examination import Clocks, Finding, Replica, Result, Seen
from tests.makers import make_model
from tests.plugin_models import (
    NOW,
    crds,
    deployment,
    installation,
    network_not_known,
    served,
    under_outdated_policy,
    well,
)

Json = dict[str, Any]


def check(name: str, **change: Any) -> Finding:
    return CHECKS[name](installation(**change))


def test_where_nothing_is_wrong_every_check_says_so() -> None:
    assert {Result.OK} == {finding.result for _, finding in examine(installation())}


def crd(edit: Any) -> list[Json]:
    """Our CRDs, the first of them with an edited schema."""
    live = copy.deepcopy(crds())
    edit(live[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])
    return live


def older(properties: Json) -> None:
    del properties["rollout"]["properties"]["revisionHistoryLimit"]


def newer(properties: Json) -> None:
    properties["rollout"]["properties"]["canary"] = {"type": "object"}


def other(properties: Json) -> None:
    properties["rollout"]["properties"]["revisionHistoryLimit"]["maximum"] = 7


def unestablished() -> list[Json]:
    return [{**one, "status": {}} for one in crds()]


def replica(**figures: float) -> list[Replica]:
    names = {
        "age": ("modelward_watch_age_seconds", "Pod"),
        "models": ("modelward_watch_age_seconds", "ModelDeployment"),
        "wait": ("modelward_queue_oldest_seconds", ""),
    }
    return [Replica("modelward-operator-a", {names[name]: value for name, value in figures.items()})]


def clocks(local: timedelta = timedelta(), took: timedelta = timedelta()) -> Clocks:
    """With this machine's clock off by `local`, and a kubectl that takes its time."""
    return Clocks(NOW, NOW + took, NOW + local, NOW + local + took)


def leases(**spec: object) -> Json:
    return {
        "spec": {
            "holderIdentity": "modelward-operator-a",
            "renewTime": "2026-11-23T12:09:59Z",
            "leaseDurationSeconds": 15,
            **spec,
        }
    }


def at_zero() -> list[Json]:
    return [make_model({"scaling": {"minReplicas": 0, "maxReplicas": 2}})]


def secured(reason: str) -> list[Json]:
    live = well()
    for condition in live["status"]["conditions"]:
        if condition["type"] == "EndpointSecured":
            condition["reason"] = reason
    return [live]


def imaged(image: str) -> list[Json]:
    live = well()
    live["status"]["effective"]["image"] = image
    return [live]


BOUND = [
    {"kind": "ValidatingAdmissionPolicyBinding", "spec": {"policyName": name, "validationActions": ["Warn"]}}
    for name in ADMISSION
]
LEADERS = [Replica(name, {("modelward_leader", ""): 1.0}) for name in "ab"]
REFUSED = [Replica("a", {("refused", "create Secret"): 2.0})]
F, W, U = Result.FAILED, Result.WARNING, Result.UNKNOWN
CASES: list[tuple[str, Json, Result, str]] = [
    ("Kubernetes", {"server_version": ""}, F, "cannot be asked"),
    ("Kubernetes", {"server_version": "v1.29.3"}, F, "older than 1.31"),
    ("Kubernetes", {"server_version": "banana"}, U, "cannot be understood"),
    ("CRDs", {"crds": []}, F, "not installed: costbudgets.modelward.dev"),
    ("CRDs", {"crds": unestablished()}, F, "not established"),
    ("CRDs", {"crds": crd(older)}, F, "the API server drops modeldeployments.spec.rollout.revisionHistoryLimit"),
    ("CRDs", {"crds": crd(newer)}, W, "newer than this plugin: modeldeployments.spec.rollout.canary"),
    ("CRDs", {"crds": crd(other)}, W, "other limits or words"),
    ("CRDs", {"unread": {"crds": "forbidden"}}, U, "forbidden"),
    ("Operator", {"operators": []}, F, "no operator in modelward-system"),
    ("Operator", {"operators": [deployment("modelward-operator", where) for where in "ab"]}, F, "in a, b"),
    ("Operator", {"operators": [deployment("modelward-operator", ready=0)]}, F, "none of 2 pods is ready"),
    ("Operator", {"operators": [deployment("modelward-operator", ready=1)]}, W, "nobody stands by"),
    ("Operator", {"operators": [deployment("modelward-operator", replicas=1, ready=1)]}, W, "nobody stands by"),
    ("Leader", {"lease": {}}, F, "nobody leads"),
    ("Leader", {"lease": leases(renewTime="2026-11-23T12:08:00Z")}, F, "has not renewed it for 120 s"),
    ("Leader", {"lease": leases(holderIdentity="somebody")}, W, "which is no pod of this installation"),
    ("Leader", {"clocks": None}, U, "time is not known"),
    ("Leader", {"unread": {"lease": "forbidden"}}, U, "forbidden"),
    ("Clocks", {"lease": leases(renewTime="2026-11-23T12:11:00Z")}, W, "59 s ahead of the API server's"),
    ("Clocks", {"clocks": clocks(local=timedelta(minutes=-3))}, W, "180 s behind the API server's"),
    ("Clocks", {"clocks": clocks(local=timedelta(minutes=3))}, W, "179 s ahead of the API server's"),
    ("Clocks", {"clocks": None}, U, "is not known"),
    ("Rights", {"refused": ["create secrets"]}, F, "may not create secrets"),
    ("Rights", {"replicas": REFUSED}, W, "was refused (403): create Secret"),
    ("Rights", {"asked": 0}, U, "no operator"),
    ("Rights", {"unread": {"rights": "forbidden"}}, U, "forbidden"),
    ("Watches", {"replicas": replica(age=200, wait=0)}, F, "has not heard of Pods for 200 s"),
    ("Watches", {"replicas": replica(models=500)}, F, "has not heard of ModelDeployments for 500 s"),
    ("Watches", {"replicas": replica(age=3, wait=90)}, W, "has waited 90 s"),
    ("Watches", {"replicas": LEADERS}, F, "2 pods think that they lead"),
    ("Watches", {"replicas": [Replica("a", silence="forbidden")]}, U, "forbidden"),
    ("Watches", {"replicas": []}, U, "no pod of it runs"),
    ("Activator", {"activators": [], "models": at_zero()}, W, "each keeps one replica"),
    (
        "Activator",
        {"activators": [deployment("modelward-activator", ready=0)], "models": at_zero()},
        F,
        "no pod of it is ready",
    ),
    ("Activator", {"activators": [deployment("modelward-activator", ready=0)]}, W, "no pod of it is ready"),
    ("Admission", {"admission": []}, W, "none of the chart's"),
    ("Admission", {"admission": installation().admission[1:]}, W, "without modelward-model-policies"),
    ("Admission", {"admission": [*installation().admission[:8], *BOUND]}, W, "none of the chart's"),
    ("Versions", {"models": imaged("old:1")}, W, "1 models serve with another image"),
    ("Network", {"models": secured("NetworkOpen")}, W, "models that are open to the cluster: 1"),
    ("Network", {"models": secured("NetworkPolicyNotEnforced")}, W, "models that are open to the cluster: 1"),
    ("Network", {"models": []}, U, "it was not tried"),
    (
        "Network",
        {"models": [served(Network())]},
        U,
        "not tried yet, or only where the policy lets the operator in; models: 1",
    ),
    ("Network", {"models": [well(), served(Network())]}, Result.OK, "enforced where it was tried; secured models: 1"),
    (
        "Network",
        {"models": [network_not_known()]},
        U,
        "whether what security.networkPolicy declares is enforced is not known of risk/fraud",
    ),
    (
        "Network",
        {"models": [network_not_known(), well()]},
        U,
        "enforced where it was tried; secured models: 1; whether what",
    ),
    (
        "Network",
        {"models": [network_not_known(), *secured("NetworkOpen")]},
        W,
        "models that are open to the cluster: 1",
    ),
    ("Models", {"models": [well(), under_outdated_policy()]}, W, "hold as they are stored: of risk/fraud"),
    ("Models", {"models": [make_model()]}, W, "has not looked at the present spec of risk/fraud"),
    (
        "Models",
        {"models": [well(), {**well(), "status": {**well()["status"], "conditions": []}}]},
        W,
        "1 of 2 are not ready",
    ),
    ("Models", {"unread": {"models": "forbidden"}}, U, "forbidden"),
]


@pytest.mark.parametrize(("name", "change", "result", "words"), CASES, ids=[f"{case[0]}: {case[3]}" for case in CASES])
def test_what_is_not_well_says_what_to_do(name: str, change: Json, result: Result, words: str) -> None:
    found = check(name, **change)
    assert result == found.result, found
    assert words in found.message
    assert found.next or result is not Result.FAILED


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_a_case(name: str) -> None:
    assert any(case[0] == name for case in CASES)
    assert CHECKS[name].__doc__


def test_a_slow_kubectl_is_no_difference_of_clocks_and_no_dead_leader() -> None:
    slow = clocks(took=timedelta(minutes=1))
    lease = leases(renewTime=(NOW + timedelta(seconds=50)).isoformat())
    for name in ("Leader", "Clocks"):
        assert Result.OK == check(name, clocks=slow, lease=lease).result
        assert Result.OK == check(name, clocks=slow).result


def test_models_that_nobody_changes_are_heard_of_when_they_are_listed() -> None:
    from modelward_operator.parts import RELIST  # noqa: PLC0415  as the process lists them

    assert RELIST == LISTED["ModelDeployment"]
    assert Result.OK == check("Watches", replicas=replica(age=60, models=RELIST + 60)).result


def test_without_an_answer_nothing_else_is_judged() -> None:
    assert ["Kubernetes"] == [name for name, _ in examine(Seen("modelward-system"))]


def test_the_admission_policies_are_the_charts() -> None:
    manifests = yaml.safe_load_all((Path(__file__).parents[2] / "helm/manifests/modelward.yaml").read_text())
    made = {one["metadata"]["name"] for one in manifests if one and one["kind"] == "ValidatingAdmissionPolicy"}
    assert made == ADMISSION.keys()


def test_rights_are_asked_about_one_by_one_and_named() -> None:
    one, two = _question("system:serviceaccount:home:op", "apps", "deployments/scale", ("get", "patch"), "risk")
    assert "patch" == two["spec"]["resourceAttributes"]["verb"]
    assert "get deployments/scale.apps in risk" == _words(one["spec"]["resourceAttributes"])


def test_kubectls_answers_are_read_one_after_the_other_or_as_a_list() -> None:
    assert [{"a": 1}, {"b": 2}] == _documents('{"a": 1}\n{"b": 2}\n')
    assert [{"a": 1}] == _documents('{"kind": "List", "items": [{"a": 1}]}')
    assert [] == _documents("\n")


def test_the_operators_own_metrics_are_understood() -> None:
    from modelward_operator.metrics import Metrics  # noqa: PLC0415  as the process exports them

    metrics = Metrics()
    metrics.count_request("create", "Secret", 403)
    metrics.count_request("create", "Secret", 201)
    metrics.leading.set(1)
    metrics.watch_queue(lambda: 2, lambda: 7.0)
    metrics.watch_streams(lambda: {"Pod": 0.0})
    found = dict(_figures(metrics.text().decode()))
    assert 1.0 == found["refused", "create Secret"] == found["modelward_leader", ""]
    assert 7.0 == found["modelward_queue_oldest_seconds", ""]
    assert found["modelward_watch_age_seconds", "Pod"] > 0
