"""The ScaledObject of `scaling.autoscaler: KEDA`, from which KEDA makes an HPA of its own.

Paused whenever the number is not KEDA's. While the activator has requests of the model, KEDA is told that it is needed: `replicas.py` has
woken it, and KEDA's triggers need not know why.
"""

from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scalers import KedaTrigger
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.handover import SCALED_OBJECT, is_let_go
from modelward_operator.plan.horizontalpodautoscaler import bounds_of, target
from modelward_operator.plan.replicas import Replicas
from modelward_operator.rulings import Ruling


def scaled_object(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, replicas: Replicas) -> list[Json]:
    """Return the ScaledObject within the rooms' maximum; none where the spec asks for none."""
    keda = spec.scaling.keda
    if keda is None:
        return []
    minimum, maximum = bounds_of(spec, ruling)
    body = {
        "scaleTargetRef": target(given),
        "minReplicaCount": minimum,
        "maxReplicaCount": maximum,
        "pollingInterval": keda.polling_seconds,
        "cooldownPeriod": keda.cooldown_seconds,
        "initialCooldownPeriod": keda.cooldown_seconds,  # otherwise a new one goes to zero at once
        "triggers": [_trigger(trigger) for trigger in keda.triggers],
    }
    made = names.child(given, "keda.sh/v1alpha1", SCALED_OBJECT, given.key.name, spec=body)
    is_new = not given.child("Deployment", given.key.name)
    if replicas.owned is not None or not (is_new or is_let_go(given)):
        made["metadata"]["annotations"] = {names.PAUSED_REPLICAS: str(replicas.expected)}
    elif given.activator.calls and minimum == 0:
        made["metadata"]["annotations"] = {names.FORCE_ACTIVATION: "true"}  # or it would take the woken pod away again
    return [made]


def _trigger(trigger: KedaTrigger) -> Json:
    made: dict[str, Any] = {"type": trigger.type, "metadata": dict(trigger.metadata)}
    if trigger.authentication_ref is not None:
        made["authenticationRef"] = {"name": trigger.authentication_ref.name}
    return made
