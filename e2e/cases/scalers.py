"""How the cases choose an autoscaler of others, and what they look at. Used by test_autoscalers.py and test_cost_autoscalers.py."""

from typing import Any, Final

from e2e.cases.case import Case
from e2e.cases.crowd import Crowd
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME

MOST: Final = 3
SLOW: Final = 150
"""Seconds for what an HPA decides: metrics every 15 s, a look every 15 s, and pods that start."""
PAUSED: Final = "autoscaling.keda.sh/paused-replicas"
NOTHING: Object = dict.fromkeys(
    ("replicas", "minReplicas", "maxReplicas", "hpa", "keda", "scaleDownSeconds", "targetConcurrency")
)
HPA: Object = {"autoscaler": "HPA", "minReplicas": 1, "maxReplicas": MOST, "hpa": {"cpuUtilizationPercent": 80}}


def by_keda(crowd: Crowd) -> Object:
    """Draw a `scaling` by KEDA that follows the number of callers."""
    keda = {"triggers": [crowd.trigger], "pollingSeconds": 5, "cooldownSeconds": 30}
    return {"autoscaler": "KEDA", "minReplicas": 1, "maxReplicas": MOST, "keda": keda}


def scaling(case: Case, scaling_: Object) -> None:
    """Change to this `scaling`, and to nothing of the one before."""
    case.change({"scaling": NOTHING | scaling_})


def replicas(case: Case, name: str = NAME) -> int:
    """Return what the Deployment asks for."""
    return int(case.kube.find("Deployment", name, case.namespace)["spec"]["replicas"])


def wait_replicas(case: Case, number: int, within: float = SLOW) -> None:
    """Wait until so many are asked for and ready, and the status says so."""
    wait(
        f"{number} replicas, ready, and told so",
        lambda: replicas(case) == number and _told(case) == {"replicas": number, "readyReplicas": number},
        within=within,
        last=lambda: f"{replicas(case)} asked for, {_told(case)} told; {case.told()}",
    )


def _told(case: Case) -> dict[str, Any]:
    status = case.model().get("status", {})
    return {key: status.get(key) for key in ("replicas", "readyReplicas")}


def annotations(case: Case) -> dict[str, str]:
    """Return those of the ScaledObject."""
    found = case.kube.find("ScaledObject", NAME, case.namespace)
    return dict(found.get("metadata", {}).get("annotations", {}))


def is_paused(case: Case) -> bool:
    """Say whether KEDA itself says that it has let the Deployment go."""
    conditions = case.kube.find("ScaledObject", NAME, case.namespace).get("status", {}).get("conditions", [])
    has_hpa = bool(case.kube.find("HorizontalPodAutoscaler", f"keda-hpa-{NAME}", case.namespace))
    return not has_hpa and any(one["type"] == "Paused" and one["status"] == "True" for one in conditions)
