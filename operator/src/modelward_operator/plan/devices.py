"""Which devices the cluster's nodes have for a model: by pool for whoever waits for one, and how much memory the replica's part has.

    nodes ─▶ pools ────────────────────────────▶ what exists, in words (`status/devices.py`)
          └▶ those that may take a replica ────▶ the least and the most memory that it may find

Labels are those of NVIDIA's GPU feature discovery; a pool is what the cloud, or Karpenter, calls one. A device that several share counts in
equal parts: MPS bounds each to its part, time slices leave it to them. Called by `cluster/devices.py` and `offline.py`. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.quantity import amount
from modelward_operator.api.scheduling import GPU, Accelerator, SharingMode, is_part, is_slice
from modelward_operator.facts import DevicePool, Devices
from modelward_operator.plan.affinity import MIB, SLICES, memory_label, replicas_label
from modelward_operator.pricing.facts import Node

POOLS: Final = (
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "node.kubernetes.io/instance-type",
)
"""Labels that name a pool, the first of them that a node has."""
PRODUCT: Final = f"{GPU}.product"


def devices_for(spec: ModelDeploymentSpec, nodes: Iterable[Node]) -> Devices:
    """Return what the nodes have for a model; empty without an accelerator."""
    if spec.accelerator is None:
        return Devices()
    by_pool: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        by_pool[_pool_of(node)].append(node)
    accelerator, selector = spec.accelerator, spec.scheduling.node_selector
    fitting = [node for pool in by_pool.values() for node in pool if _may_take(node, accelerator, selector)]
    pools = sorted(
        (_pool(name, pool) for name, pool in by_pool.items()), key=lambda pool: (not pool.devices, pool.name)
    )
    return Devices(
        is_known=True,
        pools=tuple(pools),
        memories=tuple(sorted(filter(None, (_memory(node, accelerator.resource) for node in fitting)))),
    )


def _pool_of(node: Node) -> str:
    return next((f"{label.partition('/')[2]} {node.labels[label]}" for label in POOLS if node.labels.get(label)), "")


def _pool(name: str, nodes: list[Node]) -> DevicePool:
    total: Counter[str] = Counter()
    for node in nodes:
        total.update(node.devices)
    products = sorted({node.labels[PRODUCT] for node in nodes if node.labels.get(PRODUCT)})
    return DevicePool(
        name, len(nodes), sum(node.is_cordoned for node in nodes), dict(sorted(total.items())), tuple(products)
    )


def _may_take(node: Node, accelerator: Accelerator, selector: Mapping[str, str]) -> bool:
    """True when the node, were it empty, could take a replica, as far as its devices and the nodeSelector go; taints are not looked at."""
    has = node.devices.get(accelerator.resource, 0) >= accelerator.count
    return has and selector.items() <= node.labels.items() and all(_as_asked(node, accelerator))


def _as_asked(node: Node, accelerator: Accelerator) -> Iterator[bool]:
    """Whether the device is what `sharing` and `memory` say: `affinity.py` tells the scheduler the same."""
    replicas = _number(node, replicas_label(accelerator.resource))
    if accelerator.mode is SharingMode.EXCLUSIVE:
        yield replicas < 2 and SLICES not in node.labels
    if accelerator.mode is SharingMode.SHARED and not is_part(accelerator.resource):
        yield replicas > 1
    if accelerator.memory is not None:
        yield _number(node, memory_label(accelerator.resource)) * MIB >= amount(accelerator.memory)


def _memory(node: Node, resource: str) -> int:
    """Return the bytes of a replica's part of a device; 0 where the node does not say."""
    whole = _number(node, memory_label(resource)) * MIB
    return whole if is_slice(resource) else whole // max(1, _number(node, replicas_label(resource)))


def _number(node: Node, label: str) -> int:
    text = node.labels.get(label, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
