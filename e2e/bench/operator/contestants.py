"""Who is measured, and what a model is to each: the same three children, of one size, and a change that reaches the Deployment."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Applied, Given, Installation, Json, Key
from modelward_operator.plan.draw import draw
from modelward_operator.plan.settled import settled
from modelward_operator.policies.rooms import rule
from modelward_operator.status.summarise import summarise

HERE: Final = Path(__file__).parent
MODELS: Final = "/apis/modelward.dev/v1alpha1/namespaces/{}/modeldeployments"
THREE: Final = {
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}
HOME: Final = "bench-system"
"""Where our operator has its Lease."""
IMAGE: Final = "registry.example/runtime:1"


@dataclass(frozen=True)
class Contestant:
    """One operator: how it is started, and what its users write."""

    key: str
    title: str
    command: tuple[str, ...]
    children: int
    """Objects that it makes for each model."""
    environment: Mapping[str, str] = field(default_factory=dict)
    models: str = MODELS
    """Path of the models; with a place for the namespace."""
    others: tuple[str, ...] = tuple(THREE.values())
    """Paths of all that it makes."""
    manifest: Callable[[str, str], dict[str, Any]] = field(default_factory=lambda: manifest)
    change: Callable[[int], dict[str, Any]] = field(default_factory=lambda: changed)

    @property
    def resource(self) -> str:
        """The plural of the models' kind, as the audit log has it."""
        return self.models.rsplit("/", 1)[1]


def manifest(namespace: str, name: str) -> dict[str, Any]:
    """A ModelDeployment that an HPA scales."""
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": "pvc://models/fraud/7/"},
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
            "scaling": {
                "autoscaler": "HPA",
                "minReplicas": 1,
                "maxReplicas": 3,
                "hpa": {"cpuUtilizationPercent": 70},
            },
        },
    }


def changed(number: int) -> dict[str, Any]:
    """A merge patch that changes the pod template; another one for each number."""
    return {"spec": {"resources": {"requests": {"cpu": f"{101 + number}m"}}}}


def contestants(metrics_ports: tuple[int, int]) -> dict[str, Contestant]:
    """All that run on any machine, in the order in which they are measured; the ports are our operator's."""
    ours = {
        "RUNTIME_IMAGE": IMAGE,
        "POD_NAMESPACE": HOME,
        "POD_NAME": "bench-1",
        "LOG_LEVEL": "WARNING",
        "HEALTH_PORT": str(metrics_ports[0]),
        "METRICS_PORT": str(metrics_ports[1]),
    }
    python = sys.executable
    listed = (
        Contestant("ours", "ModelWard, three children", (python, "-m", "e2e.bench.operator.three"), 3, ours),
        Contestant(
            "full",
            "ModelWard, all children",
            (python, "-m", "modelward_operator.cli", "run"),
            len(whole(HOME, "m-00000", "0")),
            ours,
            others=tuple(EVERY.values()),
        ),
        Contestant(
            "control",
            "plain kopf operator",
            (python, "-m", "kopf", "run", "--standalone", "--all-namespaces", "--quiet", str(HERE / "control.py")),
            3,
        ),
    )
    return {one.key: one for one in listed}


EVERY: Final = {
    **THREE,
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}

_NAMESPACE, _NAME, _UID = "bench-namespace", "m-99999", "bench-uid"


def planned(namespace: str, name: str, uid: str) -> list[dict[str, Any]]:
    """The three children of a model, as our operator writes them."""
    return [child for child in whole(namespace, name, uid) if child["kind"] in THREE]


def whole(namespace: str, name: str, uid: str) -> list[dict[str, Any]]:
    """All children of a model, as our operator writes them."""
    return json.loads(_for(_texts()[0], namespace, name, uid))  # type: ignore[no-any-return]


def status(namespace: str, name: str, uid: str) -> dict[str, Any]:
    """The status of a model that was just made, as our operator writes it."""
    return json.loads(_for(_texts()[1], namespace, name, uid))  # type: ignore[no-any-return]


def _for(text: str, namespace: str, name: str, uid: str) -> str:
    return text.replace(_NAMESPACE, namespace).replace(_NAME, name).replace(_UID, uid)


@functools.cache
def _texts() -> tuple[str, str]:
    raw = manifest(_NAMESPACE, _NAME)
    raw["metadata"] |= {"uid": _UID, "generation": 1}
    given = _offline(raw)
    spec = parse(raw)
    if isinstance(spec, Invalid):
        raise TypeError(str(spec))
    ruling = rule(given, spec)
    plan = draw(given, spec, ruling)
    told = summarise(given, spec, ruling, plan, Applied())
    return json.dumps(list(settled(given, spec, ruling).objects)), json.dumps(told)


def _offline(raw: Json) -> Given:
    return Given(
        key=Key(_NAMESPACE, _NAME),
        raw=raw,
        children=(),
        replica_sets=(),
        pods=(),
        installation=Installation(HOME, IMAGE),
        now=datetime.now(UTC),
    )
