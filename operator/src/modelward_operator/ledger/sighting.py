"""What one look at a pod says that costs money: which model's, on which node, from when until when, at what rate. Pure.

    created ──▶ bound to a node ──▶ … pending, running, terminating … ──▶ over (Succeeded, Failed), or gone
                └────────────────────── costs money ─────────────────────┘

A pod that waits on a GPU node for its image holds the GPU as one that serves does. Called by cluster/accountant.py and by the tests.
"""

from dataclasses import dataclass
from datetime import datetime

from modelward_operator.facts import Json
from modelward_operator.pricing.facts import Rate

OVER = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """A pod that is or was bound to a node. Times in seconds since the epoch."""

    uid: str
    model: str
    node: str
    start: int
    """When it was bound."""
    end: int | None = None
    """When its last container ended; None while it holds its place, and where that is not told."""
    rate: Rate | None = None
    """None: not known."""
    is_over: bool = False
    """True when it ended for good, whether or not it says when."""


def bound_at(pod: Json) -> int | None:
    """Return when the pod got its node; None for one that has none."""
    if not pod.get("spec", {}).get("nodeName"):
        return None
    status = pod.get("status", {})
    bound = [c for c in status.get("conditions", ()) if c["type"] == "PodScheduled" and c["status"] == "True"]
    times = (bound[0].get("lastTransitionTime") if bound else None, status.get("startTime"))
    return seconds(next((time for time in times if time), pod["metadata"]["creationTimestamp"]))


def ended_at(pod: Json) -> int | None:
    """Return when the last container of a pod that is over ended; None while it is not, and where nothing says so.

    A pod that its node evicted or refused says nothing of containers: it ended when the last of its conditions changed.
    """
    if not is_over(pod):
        return None
    told = [
        *pod["status"].get("containerStatuses", ()),
        *pod["status"].get("initContainerStatuses", ()),
    ]  # sidecars end last
    states = [c.get("state", {}).get("terminated", {}) for c in told]
    ends = [state["finishedAt"] for state in states if state.get("finishedAt")]
    if not ends or len(ends) < len(states):
        conditions = pod["status"].get("conditions", ())
        ends = [c["lastTransitionTime"] for c in conditions if c.get("lastTransitionTime")]
    return max(map(seconds, ends), default=None)


def is_over(pod: Json) -> bool:
    """True when the pod has ended for good and holds nothing of its node any more."""
    return pod.get("status", {}).get("phase") in OVER


def sighting(pod: Json, model: str, rate: Rate | None) -> Sighting | None:
    """Return what a live pod says; None for one that costs nothing, because no node holds it."""
    start = bound_at(pod)
    if start is None:
        return None
    return Sighting(pod["metadata"]["uid"], model, pod["spec"]["nodeName"], start, ended_at(pod), rate, is_over(pod))


def seconds(text: str) -> int:
    """Return an RFC 3339 time in whole seconds since the epoch."""
    return int(datetime.fromisoformat(text).timestamp())
