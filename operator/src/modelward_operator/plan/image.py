"""Which serving image a model has, and for which spec it was chosen: upgrading the operator restarts no model. Used by `deployment.py`."""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scheduling import GPU
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.policies.access.rule import authentication_of, tls_of
from modelward_operator.policies.governance.pods import repository_of


def image_of(deployment: Json) -> str:
    """Return the serving image of a Deployment, or an empty string."""
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
    return next((str(c["image"]) for c in containers if c["name"] == names.CONTAINER), "")


def template_inputs(spec: ModelDeploymentSpec) -> str:
    """Return the hash of what a serving image is chosen for."""
    parts = {"model", "runtime", "resources", "accelerator", "scheduling", "pod_metadata", "service_account"}
    inputs = spec.model_dump(mode="json", include=parts, exclude_defaults=True)
    if spec.accelerator and spec.accelerator.resource_name == GPU:  # once the default, which stored objects carry
        del inputs["accelerator"]["resource_name"]
    # To begin to follow upgrades is to wait for one's turn, not to roll at once: so is it for ten thousand models whose owner changes it.
    inputs.get("runtime", {}).pop("upgrade_policy", None)
    inputs = {part: chosen for part, chosen in inputs.items() if chosen or part != "runtime"}
    # A runtime that was chosen before a model was sealed may not know how to open one.
    inputs |= spec.security.model_dump(mode="json", include={"encryption", "verification"}, exclude_defaults=True)
    # Nor how to enforce a privacy policy.
    inputs |= spec.model_dump(mode="json", include={"privacy"}, exclude_defaults=True)
    # Nor to ask who calls: an absent authentication means one that older images do not know.
    inputs |= {"authentication": authentication_of(spec).mode.value, "tls": tls_of(spec).mode.value}
    return names.fingerprint(inputs)[:16]


def kept_image(given: Given, inputs: str) -> str:
    """Return the image in use while the spec is the one it was chosen for; an empty string where one is to be chosen.

    The status knows which one was chosen. The live Deployment may have been edited by hand, or made by somebody who knew which model would
    come; it is asked only when there is no status, as after a restore or of a model that takes over what an earlier one left behind, and
    believed only when it says an image of the operator's own, of whichever release.
    """
    live = given.child("Deployment", given.key.name)
    if live.get("metadata", {}).get("annotations", {}).get(names.TEMPLATE_INPUTS) != inputs:
        return ""
    told, found = str(given.raw.get("status", {}).get("effective", {}).get("image", "")), image_of(live)
    is_ours = repository_of(found) == repository_of(given.installation.runtime_image)
    return told or (found if is_ours else "")
