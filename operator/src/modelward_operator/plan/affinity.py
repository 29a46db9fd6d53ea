"""On which nodes a replica's device is what the spec says: required node affinity, from the labels of NVIDIA's GPU feature discovery.

    sharing.mode Exclusive ─▶ nodes that neither share their devices nor advertise slices as devices (MIG strategy `single`)
    sharing.mode Shared ────▶ where the resource does not say so by its name, nodes that share their devices
    memory ─────────────────▶ nodes whose device, or slice, has as much

Labels: k8s-device-plugin, docs/gpu-feature-discovery/README.md. A shared device is labelled `.replicas` with more than 1; a label that is
absent says the same as 1. Of several terms one must match, of the expressions in a term all. Called by `pod.py`. Pure.
"""

from math import ceil
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.quantity import amount
from modelward_operator.api.scheduling import SHARED_SUFFIX, Accelerator, SharingMode, is_part
from modelward_operator.facts import Json

MIB: Final = 2**20
SLICES: Final = "nvidia.com/gpu.slices.gi"
"""Only nodes whose slices are advertised as devices have it."""


def node_affinity(spec: ModelDeploymentSpec) -> Json:
    """Return the pod's `affinity`; empty where any node with the resource will do."""
    if spec.accelerator is None:
        return {}
    terms = _terms(spec.accelerator)
    if not any(terms):
        return {}
    selector = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def memory_label(resource: str) -> str:
    """Return the label that says how much memory, in MiB, one of the resource has; a shared one has its device's."""
    return f"{resource.removesuffix(SHARED_SUFFIX)}.memory"


def replicas_label(resource: str) -> str:
    """Return the label that says how many share one device of the resource."""
    return f"{resource.removesuffix(SHARED_SUFFIX)}.replicas"


def _terms(accelerator: Accelerator) -> list[list[Json]]:
    everywhere = _large_enough(accelerator)
    replicas = replicas_label(accelerator.resource)
    if accelerator.mode is SharingMode.EXCLUSIVE:
        whole = [{"key": SLICES, "operator": "DoesNotExist"}, *everywhere]
        return [
            [{"key": replicas, "operator": "DoesNotExist"}, *whole],
            [{"key": replicas, "operator": "Lt", "values": ["2"]}, *whole],
        ]
    if accelerator.mode is SharingMode.SHARED and not is_part(accelerator.resource):
        return [[{"key": replicas, "operator": "Gt", "values": ["1"]}, *everywhere]]
    return [everywhere]


def _large_enough(accelerator: Accelerator) -> list[Json]:
    """`Gt` is all that node affinity has."""
    if accelerator.memory is None:
        return []
    below = ceil(amount(accelerator.memory) / MIB) - 1
    return [{"key": memory_label(accelerator.resource), "operator": "Gt", "values": [str(below)]}]
