"""What the built-in autoscaler asks for, as a condition and as `status.scaling`. Called by `summarise.py`.

Both change when the number changes, not when the load does.
"""

from datetime import UTC

from modelward_operator.facts import Given, Json
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.finding import Finding


def autoscaling(given: Given, running: int) -> list[Finding]:
    """Return the finding, where the load decides; `running` is the number that this pass asked for."""
    demand = given.demand
    if demand is None:
        return []
    wanted = f"{demand.wanted} {'replica is' if demand.wanted == 1 else 'replicas are'} wanted: {demand.why}"
    if demand.lost:
        silent = f"{demand.lost} of the pods that serve {'has' if demand.lost == 1 else 'have'} not said the load for two minutes"
        return [Finding(Type.AUTOSCALING, "False", Reason.LOAD_UNKNOWN, f"{silent}; {wanted}", blocks=False)]
    if running < demand.wanted:
        return [
            Finding(Type.AUTOSCALING, "False", Reason.REPLICAS_BOUNDED, f"{running} may run; {wanted}", blocks=False)
        ]
    return [Finding(Type.AUTOSCALING, "True", Reason.SCALED_BY_LOAD, wanted)]


def scaling_status(given: Given) -> Json:
    """Return `status.scaling`; empty where the load decides nothing."""
    if given.demand is None:
        return {}
    since = given.demand.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"wanted": given.demand.wanted, "why": given.demand.why, "since": since}
