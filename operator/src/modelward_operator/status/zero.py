"""Ready and Autoscaling of a model that has no pods, or should be able to have none. Called by `summarise.py`.

Zero on purpose is healthy only while a request would be taken: by the activator, which wakes the model; where a budget or the lack of an
activator forbids that, the condition says so.
"""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.plan.activation import standing_of
from modelward_operator.plan.route import refusal
from modelward_operator.rulings import Ruling
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.finding import Finding


def ready_at_zero(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Finding:
    """Return Ready of a model that shall have no pods, and is not denied."""
    if told := refusal(given, ruling):
        return Finding(Type.READY, "False", told["reason"], told["message"])
    if not spec.scaling.reaches_zero:
        return Finding(Type.READY, "True", Reason.SCALED_TO_ZERO, "zero replicas are wanted; scale up to serve")
    if not given.activator.pods and not standing_of(given).joined:
        message = (
            "there are no pods, and no ready pod of the activator knows the model: requests are refused until one does"
        )
        return Finding(Type.READY, "False", Reason.ACTIVATOR_UNAVAILABLE, message)
    message = "nobody calls; the activator takes the next request, and the model starts for it"
    return Finding(Type.READY, "True", Reason.SCALED_TO_ZERO, message)


def kept_from_zero(given: Given, spec: ModelDeploymentSpec) -> Finding | None:
    """Return why a model that may go to zero by its spec cannot; None where it can."""
    if not spec.scaling.reaches_zero:
        return None
    if not given.installation.has_activator:
        message = "minReplicas 0 needs the activator, and the chart was installed with activator.enabled false: one replica stays"
        return Finding(Type.AUTOSCALING, "False", Reason.ACTIVATOR_DISABLED, message, blocks=False)
    if given.activator.ports is None:
        message = "minReplicas 0 needs two ports of the activator, and models have all of them: one replica stays"
        return Finding(Type.AUTOSCALING, "False", Reason.ACTIVATOR_PORTS_EXHAUSTED, message, blocks=False)
    return None
