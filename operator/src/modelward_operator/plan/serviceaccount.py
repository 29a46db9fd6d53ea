"""The ServiceAccount of the serving pods: an identity of their own."""

from modelward_operator.facts import Given, Json
from modelward_operator.plan.names import child


def service_account(given: Given) -> Json:
    """Return the ServiceAccount; no token is mounted by itself: a room that needs one adds a volume with it."""
    return child(given, "v1", "ServiceAccount", given.key.name, automountServiceAccountToken=False)
