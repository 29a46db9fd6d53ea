"""The plan under a spec that cannot be read, when a policy forbids what runs: the live Deployment without pods, and all else as it is.

Called by `reconcile.py`. The Deployment is applied as it is found, so that the template, which nobody can draw without the spec, stays;
so is a ScaledObject, which is paused: KEDA would bring a model back from zero.
"""

from typing import Any

from modelward_operator.facts import Given, Json, Plan
from modelward_operator.plan import names
from modelward_operator.plan.draw import marked
from modelward_operator.plan.handover import SCALED_OBJECT
from modelward_operator.policies.autoscaling.standing import held_replicas


def stand_down(given: Given) -> Plan:
    """Return the plan: no pods. Empty when there is no Deployment."""
    live = given.child("Deployment", given.key.name)
    if not live:
        return Plan((), partial=True)
    scaled = given.child(SCALED_OBJECT, given.key.name)
    paused = [marked(_paused(scaled, given))] if scaled else []
    return Plan((*paused, marked(_without_pods(live, given))), partial=True)


def _paused(live: Json, given: Given) -> Json:
    paused = names.child(given, live["apiVersion"], SCALED_OBJECT, given.key.name, spec=live.get("spec", {}))
    paused["metadata"]["annotations"] = {names.PAUSED_REPLICAS: "0"}
    return paused


def _without_pods(live: Json, given: Given) -> Json:
    annotations: dict[str, str] = live["metadata"].get("annotations", {})
    kept = {key: annotations[key] for key in (names.TEMPLATE_INPUTS, names.REPLICAS_OWNER) if key in annotations}
    if annotations.get(names.REPLICAS_OWNER) == "external" or names.HELD_REPLICAS in annotations:
        kept |= {names.REPLICAS_OWNER: "operator", names.HELD_REPLICAS: str(held_replicas(live))}
    spec: dict[str, Any] = {**live.get("spec", {}), "replicas": 0}
    workload = names.child(given, live["apiVersion"], "Deployment", given.key.name, spec=spec)
    return {**workload, "metadata": {**workload["metadata"], "annotations": kept}}
