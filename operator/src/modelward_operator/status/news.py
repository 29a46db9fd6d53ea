"""What is worth an Event: Ready turned, or its reason did. Called by `reconcile.py` after the status is known."""

from dataclasses import dataclass

from modelward_operator.facts import Given, Json
from modelward_operator.status.conditions import Reason, Type


@dataclass(frozen=True, slots=True)
class News:
    """One Event about the ModelDeployment."""

    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str


def news(given: Given, status: Json) -> list[News]:
    """Return the Events that this pass is worth: few, and none that repeats."""
    before, after = _ready(given.raw.get("status", {})), _ready(status)
    if (before.get("status"), before.get("reason")) == (after.get("status"), after.get("reason")):
        return []
    if after["status"] == "True" or after["reason"] == Reason.SUSPENDED:
        return [News("Normal", after["reason"], after["message"])]
    return [News("Warning", after["reason"], after["message"])] if after["status"] == "False" else []


def _ready(status: Json) -> Json:
    return next((c for c in status.get("conditions", ()) if c["type"] == Type.READY), {})
