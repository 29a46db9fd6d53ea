"""From watch events to the stages between `kubectl apply` and the first prediction. Pure: `apply.py` feeds it.

applied   created   planned   pod      scheduled   pulled   started            loaded   answering
   │ kubectl │ reconcile │ controller │ scheduler │ kubelet │ container │ start, fetch,… │ readiness │
               ^^^^^^^^^                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^  ours
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

from e2e.demo.kube import Json, Seen, condition

# A stage of the table, and whether it is ours: the operator's or the runtime's work rather than Kubernetes'.
OURS = ("reconcile", "start process", "fetch", "verify", "load", "warm up", "readiness")
MARKS = {
    "kubectl apply": "created",
    "reconcile": "planned",
    "deployment controllers": "pod",
    "schedule": "scheduled",
    "sandbox, volumes, pull": "pulled",
    "start container": "started",
}


def observe(marks: dict[str, float], seen: Seen, name: str) -> None:
    """Note the first time of each mark that this event shows about the model `name`."""
    for mark in _shown(seen.object, name):
        marks.setdefault(mark, seen.at)


def _shown(item: Json, name: str) -> list[str]:
    own, kind = item["metadata"]["name"], item["kind"]
    if kind == "ModelDeployment" and own == name:
        return ["created", *(["told"] if condition(item, "Ready")["status"] == "True" else [])]
    if kind == "Deployment" and own == name:
        return ["planned"]
    if kind == "Pod" and item["metadata"].get("labels", {}).get("modelward.dev/model") == name:
        placed = ["scheduled"] if item["spec"].get("nodeName") else []
        return ["pod", *placed, *(["ready"] if _is_ready(item) else [])]
    if kind == "Event" and item.get("reason") == "Pulled" and item["involvedObject"]["name"].startswith(f"{name}-"):
        return ["pulled"]
    return []


def _is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def split(marks: dict[str, float], report: Json, wall_minus_monotonic: float) -> dict[str, float]:
    """Seconds by stage, in order; they add up to the time from `applied` to `answering`.

    `report` is the pod's GET /report: when its process was up, and how long fetch, verify, load and warm-up took.
    """
    marks = marks | {"pulled": min(marks["pulled"], marks["started"])}  # the kubelet's events come a little late
    ends = ["applied", *MARKS.values()]
    stages = dict(zip(MARKS, (marks[end] - marks[begin] for begin, end in pairwise(ends)), strict=True))
    up = datetime.fromisoformat(report["startedAt"]).timestamp() - wall_minus_monotonic
    spent: dict[str, Any] = report["stageSeconds"]
    stages["start process"] = up - marks["started"]
    for stage, key in (("fetch", "fetch"), ("verify", "verify"), ("load", "load"), ("warm up", "warmUp")):
        stages[stage] = float(spent.get(key, 0.0))
    stages["readiness"] = marks["answering"] - up - sum(map(float, spent.values()))
    return stages
