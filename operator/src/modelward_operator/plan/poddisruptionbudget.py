"""The PodDisruptionBudget: a node drain takes one replica at a time. Only from two replicas on, or it would block every drain."""

from modelward_operator.facts import Given, Json
from modelward_operator.plan import names


def pod_disruption_budget(given: Given) -> Json:
    """Return the PodDisruptionBudget."""
    return names.child(
        given,
        "policy/v1",
        "PodDisruptionBudget",
        given.key.name,
        spec={"maxUnavailable": 1, "selector": {"matchLabels": names.selector(given.key.name)}},
    )
