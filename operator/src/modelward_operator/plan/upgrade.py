"""Whether a model is to be rolled to the serving image of an upgraded operator: `spec.runtime.upgradePolicy: Rolling`.

    Wanted ──its turn has come (cluster/upgrades.py)──▶ Running ──the Deployment is complete, or the spec changes──▶ Settled

The Deployment remembers what it was upgraded from, so that a restart of the operator knows which upgrades are under way. A spec that
changes takes the new image in any case. Called by `deployment.py`, `policies/privacy` and `cluster/upgrades.py`. Pure.
"""

from enum import StrEnum

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.runtime import UpgradePolicy
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.image import image_of, kept_image, template_inputs


class Upgrade(StrEnum):
    """How far the upgrade of a model is."""

    WANTED = "Wanted"
    RUNNING = "Running"
    SETTLED = "Settled"


def upgrade_of(given: Given, spec: ModelDeploymentSpec) -> Upgrade:
    """Return how far it is; Settled as well where none is to be."""
    if spec.runtime.upgrade_policy is not UpgradePolicy.ROLLING:
        return Upgrade.SETTLED
    live = given.child("Deployment", given.key.name)
    if given.installation.runtime_image in {_told(given), image_of(live) if _mark(live) else ""}:
        return Upgrade.RUNNING if is_upgrading(live) else Upgrade.SETTLED
    return Upgrade.WANTED if kept_image(given, template_inputs(spec)) else Upgrade.SETTLED


def image_in_use(given: Given, inputs: str) -> str:
    """Return the image that the model keeps unless its turn has come; an empty string where its spec is another than `inputs` stands for.

    A process that ended between the upgrade and the status left the image before it there: no reason to go back.
    """
    kept, live = kept_image(given, inputs), given.child("Deployment", given.key.name)
    arrived = _mark(live) and image_of(live) == given.installation.runtime_image
    return image_of(live) if kept and arrived else kept


def image_for(given: Given, spec: ModelDeploymentSpec, kept: str) -> str:
    """Return the image that the plan gives the pods; `kept` is the one in use."""
    return spec.runtime.image or ("" if given.may_upgrade else kept) or given.installation.runtime_image


def marks(given: Given, spec: ModelDeploymentSpec, kept: str) -> dict[str, str]:
    """Return the annotation of the Deployment that says what it was upgraded from; it goes when the spec changes."""
    if not kept or spec.runtime.upgrade_policy is not UpgradePolicy.ROLLING:
        return {}
    if given.may_upgrade and kept != given.installation.runtime_image:
        return {names.UPGRADED_FROM: kept}
    before = _mark(given.child("Deployment", given.key.name))
    return {names.UPGRADED_FROM: before} if before else {}


def is_upgrading(live: Json) -> bool:
    """True while a Deployment that was upgraded has not been complete since."""
    if not _mark(live):
        return False
    status = live.get("status", {})
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 1)
    progress = {c["type"]: c.get("reason") for c in status.get("conditions", ())}.get("Progressing")
    # Its controller says so once, and a pod that is lost later does not take it back.
    done = progress == "NewReplicaSetAvailable" or live.get("spec", {}).get("replicas") == 0
    return not (seen and done)


def _mark(live: Json) -> str:
    return str(live.get("metadata", {}).get("annotations", {}).get(names.UPGRADED_FROM, ""))


def _told(given: Given) -> str:
    return str(given.raw.get("status", {}).get("effective", {}).get("image", ""))
