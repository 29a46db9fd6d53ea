"""The Deployment of the serving pods: the template, the rollout, and who owns the number of replicas."""

from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.image import template_inputs
from modelward_operator.plan.pod import pod_template
from modelward_operator.plan.replicas import Replicas
from modelward_operator.plan.rollout import deployment_strategy, strategy_in_use
from modelward_operator.plan.upgrade import image_for, image_in_use, marks
from modelward_operator.rulings import Ruling


def deployment(
    given: Given, spec: ModelDeploymentSpec, ruling: Ruling, replicas: Replicas, boot_config_name: str
) -> Json:
    """Return the Deployment; `spec.replicas` is left out while somebody else owns it."""
    inputs = template_inputs(spec)
    kept = image_in_use(given, inputs)
    image = image_for(given, spec, kept)
    body: dict[str, Any] = {
        "selector": {"matchLabels": names.selector(given.key.name)},
        "strategy": deployment_strategy(strategy_in_use(given, spec)),
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": spec.runtime.startup_timeout_seconds + 120,
        "template": pod_template(given, spec, ruling, image, boot_config_name),
    }
    if replicas.owned is not None:
        body["replicas"] = replicas.owned
    workload = names.child(given, "apps/v1", "Deployment", given.key.name, spec=body)
    workload["metadata"]["annotations"] = {
        names.TEMPLATE_INPUTS: inputs,
        **replicas.annotations,
        **marks(given, spec, kept),
    }
    return workload
