"""Values for tests: a ModelDeployment with nothing special about it, its pods in the states that a kubelet reports."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Given, Installation, Json, Key, Plan, Pod
from modelward_operator.plan import names
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
INSTALLATION = Installation("modelward-system", "registry.example/modelward-runtime:1")
URI = "s3://models/fraud/7/"


def make_model(spec: Json | None = None, **metadata: Any) -> dict[str, Any]:
    """Return a raw ModelDeployment; `spec` is merged over the smallest one."""
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "fraud", "namespace": "risk", "uid": "u-1", "generation": 3, **metadata},
        "spec": {"model": {"uri": URI}, **(spec or {})},
    }


def make_given(
    spec: Json | None = None,
    *,
    children: tuple[Json, ...] = (),
    pods: tuple[Pod, ...] = (),
    status: Json | None = None,
    now: datetime = NOW,
) -> Given:
    """Return the facts about one ModelDeployment."""
    raw = make_model(spec)
    if status is not None:
        raw["status"] = status
    return Given(Key("risk", "fraud"), raw, children, (), pods, INSTALLATION, now)


def parsed(given: Given) -> ModelDeploymentSpec:
    """Return the spec, which must be valid."""
    spec = parse(given.raw)
    assert not isinstance(spec, Invalid), spec
    return spec


def drawn(given: Given) -> Plan:
    """Return the plan of these facts."""
    spec = parsed(given)
    return draw(given, spec, rule(given, spec))


def live_deployment(given: Given, *, annotations: Json | None = None, status: Json | None = None, **spec: Any) -> Json:
    """Return the Deployment that the plan makes, as the API server would hold it, with `spec` laid over it."""
    planned = drawn(given).find("Deployment")
    metadata = planned["metadata"]
    metadata = {**metadata, "annotations": {**metadata["annotations"], **(annotations or {})}, "generation": 1}
    return {**planned, "metadata": metadata, "spec": {"replicas": 1, **planned["spec"], **spec}, "status": status or {}}


def make_pod(
    name: str = "fraud-a",
    *,
    revision: str = "",
    is_ready: bool = False,
    state: Json | None = None,
    last_state: Json | None = None,
    report: Json | None = None,
    warning: str = "",
    conditions: tuple[Json, ...] = (),
    age: timedelta = timedelta(seconds=20),
    is_ending: bool = False,
    **status: Any,
) -> Pod:
    """Return a pod; running and not ready unless told otherwise."""
    container = {"name": "runtime", "state": state or {"running": {}}, "lastState": last_state or {}, "image": "img:1"}
    ready = {"type": "Ready", "status": "True" if is_ready else "False"}
    raw = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": "risk",
            "annotations": {names.REVISION: revision},
            "creationTimestamp": (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **({"deletionTimestamp": NOW.strftime("%Y-%m-%dT%H:%M:%SZ")} if is_ending else {}),
        },
        "status": {"phase": "Running", "conditions": [ready, *conditions], "containerStatuses": [container], **status},
    }
    return Pod(raw, report or {}, warning)


def no_longer_ready(pod: Pod) -> Pod:
    """Return the running pod as one that was ready until a minute ago."""
    status = pod.raw["status"]
    (container,) = status["containerStatuses"]
    running = {"startedAt": (NOW - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    since = (NOW - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{**c, "lastTransitionTime": since} for c in status["conditions"]]
    containers = [{**container, "state": {"running": running}}]
    return replace(
        pod, raw={**pod.raw, "status": {**status, "conditions": conditions, "containerStatuses": containers}}
    )


def current_revision(given: Given) -> str:
    """Return the revision that the plan gives to the pods."""
    return str(drawn(given).find("Deployment")["spec"]["template"]["metadata"]["annotations"][names.REVISION])


READY_REPORT: Json = {
    "apiVersion": "runtime/v1",
    "kind": "Report",
    "state": "Ready",
    "model": {"name": "fraud", "version": "7", "uri": URI, "digest": "sha256:" + "ab" * 32, "sizeBytes": 1048576},
    "executionProvider": "CPUExecutionProvider",
    "access": {"authentication": "TokenReview", "tls": None},
    "failure": None,
}


def failing(reason: str, message: str, *, permanent: bool = True) -> Json:
    """Return a load failure as the runtime reports it."""
    return {
        "stage": "fetch",
        "reason": reason,
        "message": message,
        "permanent": permanent,
        "time": "2026-11-23T11:59:59Z",
    }
