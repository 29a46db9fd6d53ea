"""The plan in which a fresh apply ends: passes over what the last one planned, until one plans the same. Called by `offline.py`.

In the cluster each of these passes sees what is live: `handover.py` has the steps.
"""

from dataclasses import replace

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Plan
from modelward_operator.plan.draw import draw
from modelward_operator.plan.handover import OF_OTHERS
from modelward_operator.rulings import Ruling

STEPS = 5
"""More than any hand-over has."""


def settled(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Plan:
    """Return the plan once nothing changes hands any more."""
    plan = draw(given, spec, ruling)
    for _ in range(STEPS):
        seen = tuple(_as_live(planned, plan) for planned in plan.objects if planned["kind"] in _SCALED)
        if seen == given.children:
            break
        given = replace(given, children=seen)
        plan = draw(given, spec, ruling)
    return plan


_SCALED = {"Deployment", *OF_OTHERS.values()}


def _as_live(planned: Json, plan: Plan) -> Json:
    if planned["kind"] != "Deployment":
        return planned
    return {**planned, "spec": {"replicas": plan.handover_replicas, **planned["spec"]}}
