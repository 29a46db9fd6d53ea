"""The condition Autoscaling where the number of replicas is, was, or is to be another's: HPA and KEDA, and the way from and to them.

Called by `summarise.py`. It says what changes seldom: what is measured, `kubectl get hpa` has anew every 15 s. False does not take Ready
away: pods serve whoever counts them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Applied, Given, Json, Plan
from modelward_operator.plan.handover import HPA, OF_OTHERS, SCALED_OBJECT, in_charge, is_missing, leaving
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import text
from modelward_operator.status.finding import Finding
from modelward_operator.status.refused import words

_AT_ZERO: Final = "ScalingDisabled"
"""What an HPA says of a Deployment with no replicas, until it looks again."""
_ENDS: Final = {
    HPA: (("minReplicas", 1), ("maxReplicas", 1)),
    SCALED_OBJECT: (("minReplicaCount", 0), ("maxReplicaCount", 100)),
}
"""Where each has its bounds, and what counts where somebody took one away."""
SOON: Final = 0.2
"""Seconds after a step that this operator took, until it looks whether the next is due: no event tells of what it wrote itself."""
LATER: Final = 5.0
"""Seconds until it looks again for what others have to do."""


def outside(given: Given, spec: ModelDeploymentSpec, plan: Plan, applied: Applied) -> list[Finding]:
    """Return the one finding; none where the operator or somebody unknown decides and nobody else has yet to leave."""
    is_another = spec.scaling.chosen in OF_OTHERS
    if left := leaving(given, spec):
        return [_handing_over(f"waits until {_names(left)} is gone{_held(left)}")]
    if not is_another:
        return []
    standing = plan.find("Deployment")["spec"].get("replicas", plan.handover_replicas)
    if is_missing(given, spec):
        message = f"KEDA is not installed in this cluster; {standing} replicas stand until it is"
        return [_finding("False", Reason.KEDA_NOT_INSTALLED, message)]
    for refusal in applied.refusals:
        if refusal.kind in OF_OTHERS.values():
            return [_finding("False", Reason.AUTOSCALER_INACTIVE, words(refusal))]
    return [_of_autoscaler(given, spec, plan)]


def look_again_after_step(given: Given, status: Json, applied: Applied) -> float | None:
    """Return the seconds after which the next step of a hand-over may be due, or the activator may have no more requests."""
    is_under_way = any(condition["reason"] == Reason.HANDING_OVER for condition in status["conditions"])
    if is_under_way:
        return SOON if applied.writes else LATER
    return LATER if given.activator.calls else None


def _of_autoscaler(given: Given, spec: ModelDeploymentSpec, plan: Plan) -> Finding:
    kind, name = OF_OTHERS[spec.scaling.chosen], given.key.name
    workload = plan.find("Deployment")
    if workload["spec"].get("replicas") == 0:
        return _finding("True", Reason.AUTOSCALER_PAUSED, f"{kind} {name} does nothing while no replica may run")
    live = given.child(kind, name) or plan.find(kind)  # that was made in this pass has not looked yet
    if not plan.find(kind) or "replicas" in workload["spec"] or _pauses(plan.find(kind)):
        return _handing_over(f"the number of replicas is being handed to {kind} {name}")
    bounds = _bounds(live)
    if kind == SCALED_OBJECT:
        return _of_keda(live, in_charge(given, spec), bounds)
    return _of_hpa(live, bounds, is_stopped=plan.handover_replicas == 0)


def _of_hpa(live: Json, bounds: str, *, is_stopped: bool) -> Finding:
    status = live.get("status", {})
    bad = _first_false(status, ("AbleToScale", "ScalingActive"))
    if not is_stopped and bad.startswith(f"{_AT_ZERO}:"):
        status = {}  # of before its number was given back
    elif bad:
        return _finding("False", Reason.AUTOSCALER_INACTIVE, f"{HPA} {live['metadata']['name']} does not scale: {bad}")
    if not status.get("conditions"):
        return _finding("Unknown", Reason.STARTING, f"{HPA} {live['metadata']['name']} has not looked yet")
    wants = f"{HPA} {live['metadata']['name']} wants {status.get('desiredReplicas', 0)} of {bounds} replicas"
    return _finding("True", Reason.AUTOSCALER_ACTIVE, wants)


def _of_keda(live: Json, all_live: Sequence[Json], bounds: str) -> Finding:
    status, name = live.get("status", {}), live["metadata"]["name"]
    if bad := _first_false(status, ("Ready", "HPAActive")):
        return _finding("False", Reason.AUTOSCALER_INACTIVE, f"{SCALED_OBJECT} {name} does not scale: {bad}")
    if "Ready" not in {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}:
        return _finding("Unknown", Reason.STARTING, f"KEDA has not taken up {SCALED_OBJECT} {name} yet: is it running?")
    active = any(c["type"] == "Active" and c["status"] == "True" for c in status["conditions"])
    wanted = [one["status"]["desiredReplicas"] for one in all_live if one["kind"] == HPA and _has_looked(one)]
    wants = f"wants {wanted[0]} of {bounds} replicas" if wanted else f"keeps between {bounds} replicas"
    triggers = "its triggers are active" if active else "none of its triggers is active"
    return _finding("True", Reason.AUTOSCALER_ACTIVE, f"{SCALED_OBJECT} {name} {wants}; {triggers}")


def _has_looked(hpa: Json) -> bool:
    return "desiredReplicas" in hpa.get("status", {})


def _bounds(live: Json) -> str:
    return " to ".join(str(live.get("spec", {}).get(end, default)) for end, default in _ENDS[live["kind"]])


def _first_false(status: Json, types: Iterable[str]) -> str:
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    false = (conditions[one] for one in types if conditions.get(one, {}).get("status") == "False")
    return next((f"{c.get('reason', '')}: {text(str(c.get('message', '')), 512)}" for c in false), "")


def _pauses(planned: Json) -> bool:
    return any(key.endswith("/paused-replicas") for key in planned["metadata"].get("annotations", {}))


def _names(left: Sequence[Json]) -> str:
    return " and ".join(f"{one['kind']} {one['metadata']['name']}" for one in left)


def _held(left: Sequence[Json]) -> str:
    """KEDA puts a finalizer on its objects, which only KEDA takes away."""
    held = [one["metadata"] for one in left if "deletionTimestamp" in one["metadata"]]
    finalizers = sorted({name for metadata in held for name in metadata.get("finalizers", ())})
    return f"; its deletion waits for {', '.join(finalizers)}" if finalizers else ""


def _handing_over(message: str) -> Finding:
    return _finding("Unknown", Reason.HANDING_OVER, message)


def _finding(status: str, reason: Reason, message: str) -> Finding:
    return Finding(Type.AUTOSCALING, status, reason, message, blocks=False)
