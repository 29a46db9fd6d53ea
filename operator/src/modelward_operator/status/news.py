"""What is worth an Event: Ready turned, or its reason did; or a warning came that Ready does not heed.

Called by `reconcile.py` after the status is known.
"""

from dataclasses import dataclass
from typing import Final

from modelward_operator.facts import Given, Json
from modelward_operator.status.conditions import Reason, Type

_WARNINGS: Final = frozenset({Reason.DEVICE_TOO_SMALL, Reason.DEVICE_MAY_BE_TOO_SMALL, Reason.PRIVACY_POLICY_OUTDATED})
"""Reasons of conditions for which Ready does not fall."""


@dataclass(frozen=True, slots=True)
class News:
    """One Event about the ModelDeployment."""

    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str


def news(given: Given, status: Json) -> list[News]:
    """Return the Events that this pass is worth: few, and none that repeats."""
    return [*_of_ready(given, status), *_warnings(given, status)]


def _of_ready(given: Given, status: Json) -> list[News]:
    before, after = _condition(given.raw.get("status", {}), Type.READY), _condition(status, Type.READY)
    if (before.get("status"), before.get("reason")) == (after.get("status"), after.get("reason")):
        return []
    if after["status"] == "True" or after["reason"] == Reason.SUSPENDED:
        return [News("Normal", after["reason"], after["message"])]
    return [News("Warning", after["reason"], after["message"])] if after["status"] == "False" else []


def _warnings(given: Given, status: Json) -> list[News]:
    """A device that is too small is told before a pod is put on it, a policy that newer rules refuse; once for each reason."""
    found = []
    for kind in (Type.ACCELERATOR_FITS, Type.PRIVACY_ENFORCED):
        before, after = (_condition(one, kind) for one in (given.raw.get("status", {}), status))
        if after.get("reason") in _WARNINGS and before.get("reason") != after["reason"]:
            found.append(News("Warning", after["reason"], after["message"]))
    return found


def _condition(status: Json, kind: Type) -> Json:
    return next((c for c in status.get("conditions", ()) if c["type"] == kind), {})
