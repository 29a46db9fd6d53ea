"""The list of rooms and the one question that all of them are asked. Called by `reconcile.py`.

A room is a pure function of the facts and the spec. To add one: a folder here with `rule.py`, `reasons.py` and `README.md`, a
line in `ROOMS`, and goldens.
"""

from collections.abc import Callable
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.policies.access.rule import access
from modelward_operator.policies.autoscaling.rule import autoscaling
from modelward_operator.policies.cost.rule import cost
from modelward_operator.policies.encryption.rule import encryption
from modelward_operator.policies.governance.rule import governance, governance_unread
from modelward_operator.policies.privacy.rule import privacy
from modelward_operator.policies.suspension.rule import suspension
from modelward_operator.rulings import Ruling, settle

Room = Callable[[Given, ModelDeploymentSpec], Ruling]

ROOMS: Final[tuple[Room, ...]] = (
    suspension,  # spec.suspend: no pods while it is true
    governance,  # ModelPolicies: what administrators demand of the models of this namespace
    encryption,  # spec.security.encryption and .verification: whose key opens the model, whose signature counts
    privacy,  # spec.privacy: what may be received, returned, logged and kept
    access,  # spec.security.networkPolicy: which namespaces may connect
    autoscaling,  # spec.scaling: a fixed number, a measured one, or somebody else's
    cost,  # CostBudgets, and what a ModelPolicy lets a model cost: how many replicas are affordable
)


def rule(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Ask every room and settle what they say together."""
    return settle(room(given, spec) for room in ROOMS)


def rule_unread(given: Given) -> Ruling:
    """Ask the one room that can rule without a spec: what a policy forbids, a spec that nobody can read does not allow."""
    return governance_unread(given)
