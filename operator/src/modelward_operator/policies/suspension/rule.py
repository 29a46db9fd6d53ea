"""Suspension: `spec.suspend: true` denies serving. Asked by `rooms.py`."""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.policies.suspension.reasons import SUSPENDED
from modelward_operator.rulings import Ruling, Verdict


def suspension(_given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Deny while the owner wants no pods."""
    if not spec.suspend:
        return Ruling()
    return Ruling(
        verdicts=frozenset({Verdict("Ready", SUSPENDED, "spec.suspend is true: set it to false to serve again")})
    )
