"""Which part of a device a pod's resource is: the whole of it, a MIG slice by its memory, a turn of a time-sliced one. Pure.

    nvidia.com/gpu               1 device;                with time-slicing 1 / replicas
    nvidia.com/gpu.shared        1 / replicas of a device
    nvidia.com/mig-1g.10gb       slice's memory / device's memory      (perhaps .shared, by its own replicas)

Labels are those of NVIDIA's GPU feature discovery (k8s-device-plugin, docs/gpu-feature-discovery); a PriceBook's `accelerator` overrules
them. With the MIG strategy `single` a slice is advertised as nvidia.com/gpu and labelled like a device: it is priced as one.
"""

import re
from fractions import Fraction
from typing import Final

from modelward_operator.api.pricebook import AcceleratorFacts
from modelward_operator.pricing.facts import Node

GPU: Final = "nvidia.com/gpu"
SHARED: Final = ".shared"
MIB_PER_GIB: Final = 1024
_SLICE: Final = re.compile(r"nvidia\.com/mig-[0-9]+g\.([0-9]+)gb[.a-z0-9]*")


def is_slice(resource: str) -> bool:
    """True for a MIG slice."""
    return _SLICE.fullmatch(resource) is not None


def device_of(resource: str) -> str:
    """Return the whole device that the resource is a part of."""
    return GPU if is_slice(resource) else resource.removesuffix(SHARED)


def part_of_device(resource: str, node: Node, facts: AcceleratorFacts) -> Fraction | None:
    """Return how much of one device one piece of the resource is; None where a slice's device does not say how large it is."""
    turns = facts.replicas or _number(node, f"{resource.removesuffix(SHARED)}.replicas") or 1
    if not is_slice(resource):
        return Fraction(1, turns)
    slice_turns = turns if resource.endswith(SHARED) else 1
    whole = facts.memory_gib or Fraction(_number(node, f"{GPU}.memory"), MIB_PER_GIB)
    return min(Fraction(1), _slice_memory(resource, node) / whole) / slice_turns if whole else None


def devices_of_node(node: Node, facts: AcceleratorFacts) -> int:
    """Return how many whole devices the node has; 0 where nothing says so."""
    return facts.count or _number(node, f"{GPU}.count")


def _slice_memory(resource: str, node: Node) -> Fraction:
    """Return a slice's memory in GiB, as the node labels it, else as it is called."""
    labelled = _number(node, f"{resource.removesuffix(SHARED)}.memory")
    called = _SLICE.fullmatch(resource)
    return Fraction(labelled, MIB_PER_GIB) if labelled else Fraction(called[1] if called else 0)


def _number(node: Node, label: str) -> int:
    text = node.labels.get(label, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
