"""Autoscaling: a fixed number of replicas, or somebody else's. Asked by `rooms.py`."""

from modelward_operator.api.modeldeployment import Autoscaler, ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.rulings import Bounds, Ruling


def autoscaling(_given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Bind the replicas to `spec.scaling.replicas`; leave them free for an external autoscaler of the Deployment."""
    replicas = spec.scaling.replicas
    if replicas is None:
        if spec.scaling.autoscaler is Autoscaler.EXTERNAL:
            return Ruling()
        replicas = 1
    return Ruling(replicas=Bounds(replicas, replicas))
