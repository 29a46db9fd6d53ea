"""Which pods of a model can be asked for their load, and how long they took to start. Pure; called by `autoscaler.py`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from modelward_operator.autoscaler.load import is_number
from modelward_operator.facts import Json, Pod

LONGEST_START: Final = 3600.0
"""Seconds of a start that are believed at most."""


def serving(pods: Sequence[Pod]) -> dict[str, Pod]:
    """Return the ready pods that are not on their way out, by a name that no later pod has."""
    return {
        f"{pod.raw['metadata']['uid']}@{address}": pod
        for pod in pods
        if is_serving(pod.raw) and (address := pod.raw.get("status", {}).get("podIP"))
    }


def is_serving(pod: Json) -> bool:
    """True for a pod that gets requests."""
    conditions = pod.get("status", {}).get("conditions", ())
    is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def startup_seconds(pod: Json, report: Json) -> float:
    """Return the seconds from a pod's creation until its model was loaded and warm; 0 where they cannot be told.

    From the runtime's report and not from the pod's condition Ready, which also changes later.
    """
    restarts = sum(container.get("restartCount", 0) for container in pod.get("status", {}).get("containerStatuses", ()))
    stages = report.get("stageSeconds")
    if (
        restarts
        or report.get("state") != "Ready"
        or not isinstance(stages, dict)
        or not all(map(is_number, stages.values()))
    ):
        return 0.0
    try:
        began = datetime.fromisoformat(report["startedAt"]) - datetime.fromisoformat(
            pod["metadata"]["creationTimestamp"]
        )
        seconds = began.total_seconds() + sum(stages.values())
    except (KeyError, TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_START)
