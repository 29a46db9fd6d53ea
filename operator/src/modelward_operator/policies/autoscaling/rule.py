"""Autoscaling: who decides the number of replicas, and what is proposed. Asked by `rooms.py` (bounds) and `plan/replicas.py`.

It proposes, other rooms bound: a model never runs more than any room allows, and a proposal is no bound.
"""

from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scaling import Autoscaler
from modelward_operator.facts import Given, Json
from modelward_operator.policies.autoscaling.standing import held_replicas
from modelward_operator.rulings import Bounds, Ruling

_HPA: Final = "HorizontalPodAutoscaler"
_LIMITED: Final = ("ScalingLimited", "True", "TooManyReplicas")


def autoscaling(_given: Given, _spec: ModelDeploymentSpec) -> Ruling:
    """Bound nothing: a fixed number, a measured one and somebody else's are proposals."""
    return Ruling()


def proposed(given: Given, spec: ModelDeploymentSpec) -> int | None:
    """Return the number of replicas that the model asks for; None where somebody outside decides."""
    scaling = spec.scaling
    match scaling.chosen:
        case Autoscaler.NONE:
            return 1 if scaling.replicas is None else scaling.replicas
        case Autoscaler.EXTERNAL:
            return scaling.replicas
        case Autoscaler.CONCURRENCY:
            return Bounds(scaling.minimum, scaling.maximum).clamp(_measured(given))
        case Autoscaler.HPA | Autoscaler.KEDA:
            return None


def asked(given: Given, spec: ModelDeploymentSpec) -> int | None:
    """Return how many replicas the model asks for, as far as that shows: what is proposed, of an HPA that is held at its maximum one more.

    None where somebody outside decides and does not say that it wants more than it has.
    """
    if spec.suspend:
        return 0
    if spec.scaling.chosen not in {Autoscaler.HPA, Autoscaler.KEDA}:
        return proposed(given, spec)
    held = (
        one["spec"]["maxReplicas"] for one in given.children if one["kind"] == _HPA and _is_held(one, given.key.name)
    )
    return next((min(most + 1, spec.scaling.maximum) for most in held), None)


def _is_held(hpa: Json, name: str) -> bool:
    """Whether an HPA, ours or KEDA's, says that it would have more if it might (autoscaling/v2, ScalingLimited)."""
    conditions = hpa.get("status", {}).get("conditions", ())
    is_held = any((c["type"], c["status"], c.get("reason")) == _LIMITED for c in conditions)
    return is_held and bool(hpa["spec"]["scaleTargetRef"]["name"] == name)


def _measured(given: Given) -> int:
    """What the load asks for; while nobody knows, the number that stands, which for a new model is one: missing data ends no pod."""
    if given.demand is not None:
        return given.demand.wanted
    return held_replicas(given.child("Deployment", given.key.name))
