"""What a pod holds of its node: what the scheduler reserves for it, as KEP-753 and KEP-2837 say. Pure.

    init containers, in their order      ─▶ the most that any moment of the start needs: one at a time, beside the sidecars before it
    sidecars (`restartPolicy: Always`)   ─▶ run for the pod's life, so they count beside the containers too
    the larger of the two ─▶ what the pod as a whole asks for in its place ─▶ and the overhead of its RuntimeClass

Meshes and clouds put sidecars into pods that the spec of a model does not name, so live pods are counted, not what was planned. Called by
cluster/prices.py, estimate.py and simulation/case.py.
"""

from typing import Final

from modelward_operator.facts import Json
from modelward_operator.pricing.facts import Requests, amounts

SIDECAR: Final = "Always"
"""The restartPolicy of an init container that runs for as long as its pod."""


def requests_of(pod_spec: Json) -> Requests:
    """Return what a pod of this spec takes of its node; where only a limit stands, that, as the API server does."""
    running, sidecars, starting = Requests(), Requests(), Requests()
    for container in pod_spec.get("containers") or ():
        running = _plus(running, _asked(container))
    for container in pod_spec.get("initContainers") or ():
        if container.get("restartPolicy") == SIDECAR:
            sidecars = _plus(sidecars, _asked(container))
            starting = _most(starting, sidecars)
        else:
            starting = _most(starting, _plus(sidecars, _asked(container)))
    whole = _in_place(_most(_plus(running, sidecars), starting), pod_spec)
    return _plus(whole, amounts(pod_spec.get("overhead") or {}))


def _asked(container: Json) -> Requests:
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _in_place(summed: Requests, pod_spec: Json) -> Requests:
    """What the pod as a whole requests stands in place of its containers' CPU and memory."""
    listed = (pod_spec.get("resources") or {}).get("requests") or {}
    said = amounts(listed)
    cpu = said.cpu if "cpu" in listed else summed.cpu
    return Requests(cpu, said.memory if "memory" in listed else summed.memory, summed.devices)


def _plus(a: Requests, b: Requests) -> Requests:
    devices = {name: a.devices.get(name, 0) + b.devices.get(name, 0) for name in {*a.devices, *b.devices}}
    return Requests(a.cpu + b.cpu, a.memory + b.memory, devices)


def _most(a: Requests, b: Requests) -> Requests:
    devices = {name: max(a.devices.get(name, 0), b.devices.get(name, 0)) for name in {*a.devices, *b.devices}}
    return Requests(max(a.cpu, b.cpu), max(a.memory, b.memory), devices)
