"""WithinBudget: whether the model may have the replicas that it asks for, and what each budget says. Called by `summarise.py`.

It tells what the room `policies/cost` has ruled, in the words of the evaluation. Of two budgets the tighter holds, and both are named.
"""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Allowance, Given
from modelward_operator.policies.autoscaling.rule import proposed
from modelward_operator.policies.cost.rule import allowances_of
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.finding import Finding


def within_budget(given: Given, spec: ModelDeploymentSpec) -> list[Finding]:
    """Return the condition where a budget or a maximum price holds for the model."""
    allowances, asked = allowances_of(given), proposed(given, spec)
    if not allowances:
        return []
    obstacles = [allowance for allowance in allowances if _is_obstacle(allowance, asked)]
    rest = [allowance for allowance in allowances if allowance not in obstacles]
    message = "; ".join(allowance.message for allowance in (*obstacles, *rest))
    if not obstacles:
        return [Finding(Type.WITHIN_BUDGET, "True", Reason.WITHIN_BUDGET, message)]
    tightest = obstacles[0]
    ends_all = tightest.is_suspended or tightest.maximum == 0
    return [Finding(Type.WITHIN_BUDGET, "False", tightest.reason, message, blocks=ends_all)]


def _is_obstacle(allowance: Allowance, asked: int | None) -> bool:
    """At zero a model asks for nothing, and could not wake: that is an obstacle too."""
    return bool(allowance.reason) and (asked is None or allowance.maximum < max(asked, 1))
