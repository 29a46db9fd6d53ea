"""The Deployment of the serving pods: the template, the rollout, and who owns the number of replicas."""

from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.pod import pod_template
from modelward_operator.plan.replicas import Replicas
from modelward_operator.plan.rollout import deployment_strategy, strategy_in_use
from modelward_operator.policies.access.rule import authentication_of, tls_of
from modelward_operator.rulings import Ruling


def deployment(
    given: Given, spec: ModelDeploymentSpec, ruling: Ruling, replicas: Replicas, boot_config_name: str
) -> Json:
    """Return the Deployment; `spec.replicas` is left out while somebody else owns it."""
    inputs = _template_inputs(spec)
    image = spec.runtime.image or _kept_image(given, inputs) or given.installation.runtime_image
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
    workload["metadata"]["annotations"] = {names.TEMPLATE_INPUTS: inputs, **replicas.annotations}
    return workload


def image_of(deployment: Json) -> str:
    """Return the serving image of a Deployment, or an empty string."""
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
    return next((str(c["image"]) for c in containers if c["name"] == names.CONTAINER), "")


def _template_inputs(spec: ModelDeploymentSpec) -> str:
    parts = {"model", "runtime", "resources", "accelerator", "scheduling"}
    inputs = spec.model_dump(mode="json", include=parts, exclude_defaults=True)
    # A runtime that was chosen before a model was sealed may not know how to open one.
    inputs |= spec.security.model_dump(mode="json", include={"encryption", "verification"}, exclude_defaults=True)
    # Nor how to enforce a privacy policy.
    inputs |= spec.model_dump(mode="json", include={"privacy"}, exclude_defaults=True)
    # Nor to ask who calls: an absent authentication means one that older images do not know.
    inputs |= {"authentication": authentication_of(spec).mode.value, "tls": tls_of(spec).mode.value}
    return names.fingerprint(inputs)[:16]


def _kept_image(given: Given, inputs: str) -> str:
    """Return the image in use while the spec is the one it was chosen for: upgrading the operator restarts no model.

    The status knows which one was chosen. The live Deployment may have been edited by hand; it is asked only when the status
    is lost, as after a restore.
    """
    live = given.child("Deployment", given.key.name)
    if live.get("metadata", {}).get("annotations", {}).get(names.TEMPLATE_INPUTS) != inputs:
        return ""
    return str(given.raw.get("status", {}).get("effective", {}).get("image", "")) or image_of(live)
