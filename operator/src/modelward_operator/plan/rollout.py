"""How a new revision replaces the old one: `spec.rollout.strategy`, and what Auto makes of it. Called by `deployment.py`.

    Surge ──an accelerator for the extra pod cannot be had for 30 s──▶ InPlace ──the rollout is complete──▶ Surge

Changing the strategy of a Deployment rolls nothing.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.rollout import RolloutStrategy
from modelward_operator.facts import Given, Json

PATIENCE: Final = timedelta(seconds=30)
_SURGE: Final[Json] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
_IN_PLACE: Final[Json] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


class Strategy(StrEnum):
    """The strategy in use, as `status.effective.strategy` shows it."""

    SURGE = "Surge"
    IN_PLACE = "InPlace"
    RECREATE = "Recreate"


def strategy_in_use(given: Given, spec: ModelDeploymentSpec) -> Strategy:
    """Return the strategy for this pass."""
    if spec.rollout.strategy is RolloutStrategy.RECREATE:
        return Strategy.RECREATE
    if spec.rollout.strategy is RolloutStrategy.ROLLING_UPDATE or spec.accelerator is None:
        return Strategy.SURGE
    live = given.child("Deployment", given.key.name)
    started = live.get("spec", {}).get("strategy") == _IN_PLACE and not rollout_complete(live)
    return Strategy.IN_PLACE if started or _accelerator_lacking(given, spec.accelerator.resource) else Strategy.SURGE


def deployment_strategy(strategy: Strategy) -> Json:
    """Return the Deployment's `spec.strategy`."""
    return {Strategy.SURGE: _SURGE, Strategy.IN_PLACE: _IN_PLACE, Strategy.RECREATE: {"type": "Recreate"}}[strategy]


def rollout_complete(deployment: Json) -> bool:
    """True when the Deployment's controller has seen the spec and no pod of an older revision is left."""
    status = deployment.get("status", {})
    replicas = deployment.get("spec", {}).get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment.get("metadata", {}).get("generation", 1)
        and status.get("replicas", 0) == status.get("updatedReplicas", 0) == replicas
        and status.get("availableReplicas", 0) >= replicas
    )


def _accelerator_lacking(given: Given, resource_name: str) -> bool:
    """True when old pods hold devices while a pod has waited for one longer than patience allows."""
    pods = [pod for pod in given.pods if not pod.over]
    waiting = [pod for pod in pods if _waits_for(pod.raw, resource_name, given.now)]
    return bool(waiting) and len(waiting) < len(pods)


def _waits_for(pod: Json, resource_name: str, now: datetime) -> bool:
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            since = condition.get("lastTransitionTime")  # none while the pod is behind a scheduling gate
            lacking = f"Insufficient {resource_name}" in condition.get("message", "")
            return bool(lacking and since and now - datetime.fromisoformat(since) >= PATIENCE)
    return False
