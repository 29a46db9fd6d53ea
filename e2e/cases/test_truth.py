"""The status follows what the pods and the API themselves report within five seconds, and children come back."""

from functools import partial
from typing import Any

import pytest

from e2e.cases.case import PATIENCE, Case, pod_ready
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME

pytestmark = pytest.mark.core
PROMPT = 5.0  # seconds between the report of the pod, or of the API, and ours


def _assert_prompt(seen: dict[str, float]) -> None:
    late = seen["told"] - seen["reported"]
    print(f"told {late:.2f} s after the report")
    assert late < PROMPT


def _ready_is(case: Case, status: str, reason: str = "") -> bool:
    found = case.condition("Ready")
    return bool(found.get("status") == status and reason in ("", found["reason"]))


def _containers(case: Case) -> list[Object]:
    return [one for pod in case.pods() for one in pod.get("status", {}).get("containerStatuses", [])]


def test_a_good_apply_is_told_promptly(case: Case) -> None:
    case.apply(case.model_service())
    seen = case.first_seen(
        reported=lambda: any(map(pod_ready, case.pods())),
        told=lambda: _ready_is(case, "True", "Serving"),
    )
    _assert_prompt(seen)


def test_a_wrong_digest_is_told_promptly(case: Case) -> None:
    def reported() -> bool:
        states = [one.get("lastState", {}) | one.get("state", {}) for one in _containers(case)]
        return any("DigestMismatch" in state.get("terminated", {}).get("message", "") for state in states)

    case.apply(case.model_service(model={"digest": "sha256:" + "0" * 64}))
    _assert_prompt(case.first_seen(reported=reported, told=lambda: _ready_is(case, "False", "DigestMismatch")))


def test_a_missing_secret_is_told_promptly(case: Case) -> None:
    def reported() -> bool:
        waits = [one["state"].get("waiting", {}).get("reason") for one in _containers(case)]
        return "CreateContainerConfigError" in waits

    case.kube.delete("Secret", "s3-read", case.namespace)
    case.apply(case.model_service())
    _assert_prompt(case.first_seen(reported=reported, told=lambda: _ready_is(case, "False", "SecretNotFound")))


def test_deleted_children_come_back_promptly(case: Case) -> None:
    case.serve()
    children = [("Service", NAME), ("ServiceAccount", NAME), ("NetworkPolicy", NAME), ("ConfigMap", f"{NAME}-policy")]
    before = {kind: _uid(case, kind, name) for kind, name in children}
    for kind, name in children:
        case.kube.delete(kind, name, case.namespace)
    for kind, name in children:
        wait(
            f"{kind} {name} is back",
            partial(_came_back, case, kind, name, before[kind]),
            within=PROMPT,
        )
    case.wait_ready()


def test_a_deleted_deployment_is_told_and_comes_back(case: Case) -> None:
    case.serve()
    before, pods = _uid(case, "Deployment", NAME), {pod["metadata"]["uid"] for pod in case.pods()}
    case.kube.delete("Deployment", NAME, case.namespace)
    wait("the Deployment is back", partial(_came_back, case, "Deployment", NAME, before), within=PROMPT)
    seen = case.first_seen(
        reported=lambda: not any(pod_ready(pod) for pod in case.pods() if pod["metadata"]["uid"] in pods),
        told=lambda: not _ready_is(case, "True") or _serves_anew(case, pods),
    )
    _assert_prompt(seen)
    wait("a pod of the new one is ready", lambda: _serves_anew(case, pods), within=PATIENCE)
    case.wait_ready(within=PROMPT)


def _serves_anew(case: Case, before: set[str]) -> bool:
    """Say whether a pod is ready that was not there before."""
    return any(pod_ready(pod) for pod in case.pods() if pod["metadata"]["uid"] not in before)


def test_a_killed_pod_is_told_and_replaced(case: Case) -> None:
    case.serve()
    (pod,), since = case.pods(), case.condition("Ready")["lastTransitionTime"]
    case.kube.delete("Pod", pod["metadata"]["name"], case.namespace, grace=0)
    seen = case.first_seen(
        reported=lambda: (
            not any(pod_ready(one) for one in case.pods() if one["metadata"]["uid"] == pod["metadata"]["uid"])
        ),
        told=lambda: _has_turned(case, since),
    )
    _assert_prompt(seen)
    case.wait_ready()
    assert pod["metadata"]["uid"] not in [one["metadata"]["uid"] for one in case.pods()]


def _has_turned(case: Case, since: str) -> bool:
    """Say whether Ready fell: the next pod may have it True again before anybody looks."""
    return not _ready_is(case, "True") or case.condition("Ready").get("lastTransitionTime") != since


def test_suspend_takes_the_pods_away_and_gives_them_back(case: Case) -> None:
    case.serve()
    case.change({"suspend": True})
    case.wait_condition(NAME, "Ready", "False", "Suspended", "spec.suspend", within=PROMPT)
    case.wait_pods(0)
    assert _ready_is(case, "False", "Suspended")
    assert case.kube.find("Deployment", NAME, case.namespace)["spec"]["replicas"] == 0
    case.change({"suspend": False})
    case.wait_ready()


def _came_back(case: Case, kind: str, name: str, before: str) -> bool:
    return _uid(case, kind, name) not in ("", before)


def _uid(case: Case, kind: str, name: str) -> str:
    found: dict[str, Any] = case.kube.find(kind, name, case.namespace).get("metadata", {})
    return "" if "deletionTimestamp" in found else str(found.get("uid", ""))
