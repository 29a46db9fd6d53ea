"""The HorizontalPodAutoscaler of `scaling.autoscaler: HPA`. It aims at the Deployment, and stays while a denial holds that at zero."""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scalers import Hpa
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.handover import HPA
from modelward_operator.rulings import Ruling


def horizontal_pod_autoscaler(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> list[Json]:
    """Return the HorizontalPodAutoscaler within the rooms' maximum; none where the spec asks for none."""
    hpa = spec.scaling.hpa
    if hpa is None:
        return []
    minimum, maximum = bounds_of(spec, ruling)
    body = {
        "scaleTargetRef": target(given),
        "minReplicas": max(minimum, 1),
        "maxReplicas": maximum,
        "metrics": _metrics(hpa),
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": hpa.scale_down_seconds}},
    }
    return [names.child(given, "autoscaling/v2", HPA, given.key.name, spec=body)]


def bounds_of(spec: ModelDeploymentSpec, ruling: Ruling) -> tuple[int, int]:
    """Return fewest and most replicas that an autoscaler of others is told, which takes no maximum of zero."""
    maximum = max(min(spec.scaling.maximum, ruling.replicas.maximum), 1)
    return min(spec.scaling.minimum, maximum), maximum


def target(given: Given) -> Json:
    """Return what an autoscaler of others scales: the Deployment."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": given.key.name}


def _metrics(hpa: Hpa) -> list[Json]:
    aims = {"cpu": hpa.cpu_utilization_percent, "memory": hpa.memory_utilization_percent}
    return [
        {
            "type": "Resource",
            "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
        }
        for name, percent in aims.items()
        if percent is not None
    ]
