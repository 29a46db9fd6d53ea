"""What is to be said of a model's accelerator: what exists where one is lacking, and whether the model is larger than the devices.

How much memory a model takes is known once a pod has reported its size, which is kept from then on; before the first, only
`accelerator.memory` says. A lower bound: what the model's own work takes comes on top. Called by `summarise.py`.
"""

from fractions import Fraction
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.quantity import amount
from modelward_operator.api.scheduling import Accelerator, SharingMode
from modelward_operator.facts import DevicePool, Devices, Given
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet

CONTEXT: Final = 512 * 2**20
"""Bytes that CUDA, cuDNN and ONNX Runtime take before any weight does: about; drivers and versions differ."""
GIB: Final = 2**30
POOLS_TOLD: Final = 8


def supply(given: Given, spec: ModelDeploymentSpec) -> str:
    """Return what was asked for and what exists, for the message of a pod that waits for a node; an empty string without an accelerator."""
    if spec.accelerator is None:
        return ""
    asked = f"each replica asks for {spec.accelerator.count} {spec.accelerator.resource}{_condition(spec)}"
    if not given.devices.is_known:
        return f"{asked}; what nodes have cannot be read with watchNamespaces"
    pools = given.devices.pools
    told = [_words(pool) for pool in pools[:POOLS_TOLD]]
    told += [f"{len(pools) - POOLS_TOLD} more pools"] if len(pools) > POOLS_TOLD else []
    return f"{asked}; nodes have, free or not: {'; '.join(told) or 'there is no node'}"


def size_of_model(given: Given, fleet: Fleet) -> int:
    """Return the bytes of the model as a pod reports it, the current revision's first, or as one last did; 0 before the first."""
    for pod in (*fleet.current, *fleet.old):
        size = (pod.loaded.get("model") or {}).get("sizeBytes")
        if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**63:
            return size
    kept = given.raw.get("status", {}).get("effective", {}).get("modelSizeBytes", 0)
    return kept if isinstance(kept, int) else 0


def fits(given: Given, spec: ModelDeploymentSpec, size: int) -> list[Finding]:
    """Return whether the devices that the model may get are large enough; nothing where that is not known."""
    if spec.accelerator is None or not given.devices.is_known:
        return []
    if spec.accelerator.memory is not None and not given.devices.memories:
        least = f"{spec.accelerator.resource}{_condition(spec)}"
        return [_finding("False", Reason.DEVICE_TOO_SMALL, f"no node that the pods may go to says that it has {least}")]
    if not size or not given.devices.memories:
        return []
    return [_compared(given.devices, spec, size)]


def _compared(devices: Devices, spec: ModelDeploymentSpec, size: int) -> Finding:
    need, bound = size + CONTEXT, _limit(spec)
    takes = f"the model takes at least {_gib(need)} of a device, {_gib(size)} of it for itself"
    if bound and bound < size:
        told = f"{takes}; runtime.cuda.memoryLimit is {_gib(bound)}: raise it"
        return _finding("False", Reason.DEVICE_TOO_SMALL, told)
    small = [memory for memory in devices.memories if memory < need]
    part = "a share" if spec.accelerator and spec.accelerator.mode is SharingMode.SHARED else "one"
    if len(small) == len(devices.memories):
        told = f"{takes}; the largest that it may get has {_gib(devices.most)} ({part} of {_resource(spec)})"
        return _finding("False", Reason.DEVICE_TOO_SMALL, told)
    if small:
        told = (
            f"{takes}; on {len(small)} of {len(devices.memories)} nodes {part} of {_resource(spec)} has less, {_gib(devices.least)} at "
            "worst: set accelerator.memory, or a nodeSelector"
        )
        return _finding("False", Reason.DEVICE_MAY_BE_TOO_SMALL, told)
    told = f"{takes}; the smallest that it may get has {_gib(devices.least)} ({part} of {_resource(spec)})"
    return _finding("True", Reason.DEVICE_LARGE_ENOUGH, told)


def _finding(status: str, reason: Reason, message: str) -> Finding:
    return Finding(Type.ACCELERATOR_FITS, status, reason, message, blocks=False)


def _limit(spec: ModelDeploymentSpec) -> int:
    cuda = spec.runtime.cuda
    return int(amount(cuda.memory_limit)) if cuda and cuda.memory_limit is not None else 0


def _resource(spec: ModelDeploymentSpec) -> str:
    return spec.accelerator.resource if spec.accelerator else ""


def _condition(spec: ModelDeploymentSpec) -> str:
    accelerator = spec.accelerator
    return f" with {_needed(accelerator)} of memory" if accelerator and accelerator.memory is not None else ""


def _needed(accelerator: Accelerator) -> str:
    return _gib(amount(accelerator.memory or "0"))


def _words(pool: DevicePool) -> str:
    nodes = f"{pool.nodes} node{'' if pool.nodes == 1 else 's'}"
    cordoned = f", {pool.cordoned} of them cordoned" if pool.cordoned else ""
    devices = ", ".join(f"{number} {name}" for name, number in pool.devices.items() if number) or "no device"
    products = f" ({', '.join(pool.products)})" if pool.products else ""
    return f"{pool.name or 'nodes of no pool'}: {devices}{products} on {nodes}{cordoned}"


def _gib(size: int | Fraction) -> str:
    return f"{float(size) / GIB:.1f} GiB"
