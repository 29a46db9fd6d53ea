"""NetworkPolicy v1 as the API's text defines it, as a pure function: API objects in, isolated pods and their lists out.

A stand-in for tests: the embedded cluster's CNI enforces nothing, so `netpol.py` turns these lists into nftables; on a
user's cluster the CNI enforces. No I/O, no clock. Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
and the field texts of networking.k8s.io/v1.

What it leaves out: IPv6, and pods on the host's network, whose treatment the API leaves undefined.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Object = Mapping[str, Any]
Direction = Literal["Ingress", "Egress"]
Span = tuple[int, int]
EVERY_PORT: Span = (0, 65535)


@dataclass(frozen=True)
class Pod:
    """What a policy can see of a running pod: `ports` are (name, protocol, number) of its containers."""

    namespace: str
    name: str
    address: str
    labels: Mapping[str, str]
    ports: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Allow:
    """One permission: `peers` None is anyone; `protocol` None is any traffic, else one of its `spans` must match."""

    peers: tuple[str, ...] | None
    excepted: tuple[str, ...] = ()
    protocol: str | None = None
    spans: tuple[Span, ...] = (EVERY_PORT,)


@dataclass(frozen=True)
class Isolation:
    """One pod isolated in one direction, and all that may pass all the same."""

    pod: Pod
    direction: Direction
    allows: tuple[Allow, ...]


@dataclass(frozen=True)
class _World:
    """The pods and the labels of their namespaces, for resolving selectors."""

    pods: tuple[Pod, ...]
    namespaces: Mapping[str, Mapping[str, str]]


def compile_policies(
    pods: Iterable[Object], namespaces: Iterable[Object], policies: Iterable[Object]
) -> tuple[Isolation, ...]:
    """Draw the lists of all isolated pods, in a fixed order, from raw API objects."""
    world = _World(
        tuple(sorted(_parse_pods(pods), key=lambda pod: (pod.namespace, pod.name))),
        {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces},
    )
    ordered = sorted(policies, key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
    directions: tuple[Direction, ...] = ("Ingress", "Egress")
    isolations = []
    for pod in world.pods:
        mine = [policy for policy in ordered if _selects(policy, pod)]
        for direction in directions:
            applying = [policy for policy in mine if direction in _policy_types(policy["spec"])]
            if applying:
                allows = (allow for policy in applying for allow in _allows(policy, pod, direction, world))
                isolations.append(Isolation(pod, direction, tuple(dict.fromkeys(allows))))
    return tuple(isolations)


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Say whether a LabelSelector selects these labels; an empty one selects everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_requirement_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _requirement_holds(requirement: Object, labels: Mapping[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case unknown:
            raise ValueError(f"unknown label selector operator {unknown!r}")


def _parse_pods(objects: Iterable[Object]) -> Iterable[Pod]:
    """Take the pods that hold an address; where a leaving pod still names a reused one, the younger pod counts."""
    holders: dict[str, Object] = {}
    for one in sorted(objects, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
        status = one.get("status") or {}
        gone = status.get("phase") in ("Succeeded", "Failed")
        if status.get("podIP") and not gone and not one["spec"].get("hostNetwork"):
            holders[status["podIP"]] = one
    for address, one in holders.items():
        metadata = one["metadata"]
        yield Pod(metadata["namespace"], metadata["name"], address, metadata.get("labels") or {}, _ports(one))


def _ports(pod: Object) -> tuple[tuple[str, str, int], ...]:
    spec = pod["spec"]
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    return tuple(
        (port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"])
        for container in [*spec["containers"], *sidecars]
        for port in container.get("ports") or ()
    )


def _selects(policy: Object, pod: Pod) -> bool:
    same_namespace = policy["metadata"]["namespace"] == pod.namespace
    return same_namespace and matches(policy["spec"].get("podSelector") or {}, pod.labels)


def _policy_types(spec: Object) -> tuple[str, ...]:
    """Apply the API's default: Ingress always, Egress when there is an egress rule."""
    declared = spec.get("policyTypes")
    if declared:
        return tuple(declared)
    return ("Ingress", "Egress") if spec.get("egress") else ("Ingress",)


def _allows(policy: Object, pod: Pod, direction: Direction, world: _World) -> Iterable[Allow]:
    peer_field = "from" if direction == "Ingress" else "to"
    for rule in policy["spec"].get(direction.lower()) or ():
        for peers, excepted in _peers(rule.get(peer_field), policy["metadata"]["namespace"], world):
            targets = (pod,) if direction == "Ingress" else _pods_among(peers, excepted, world)
            yield from _with_ports(rule.get("ports"), peers, excepted, targets, direction)


def _peers(
    peers: list[Object] | None, namespace: str, world: _World
) -> Iterable[tuple[tuple[str, ...] | None, tuple[str, ...]]]:
    """Resolve a rule's peers to (addresses, excepted addresses); absent or empty means anyone."""
    if not peers:
        yield None, ()
        return
    selected = {pod.address for peer in peers if "ipBlock" not in peer for pod in _pods(peer, namespace, world)}
    if selected:
        yield tuple(sorted(selected, key=ipaddress.IPv4Address)), ()
    for peer in peers:
        block = peer.get("ipBlock")
        if block and ":" not in block["cidr"]:  # an IPv6 block permits nothing to IPv4 pods
            yield (block["cidr"],), tuple(block.get("except") or ())


def _pods(peer: Object, namespace: str, world: _World) -> Iterable[Pod]:
    """Select pods: an absent namespaceSelector is the policy's own namespace, an absent podSelector every pod there."""
    in_namespaces = peer.get("namespaceSelector")
    for pod in world.pods:
        if in_namespaces is None:
            reachable = pod.namespace == namespace
        else:
            reachable = pod.namespace in world.namespaces and matches(in_namespaces, world.namespaces[pod.namespace])
        if reachable and matches(peer.get("podSelector") or {}, pod.labels):
            yield pod


def _pods_among(peers: tuple[str, ...] | None, excepted: tuple[str, ...], world: _World) -> tuple[Pod, ...]:
    return tuple(
        pod for pod in world.pods if (peers is None or within(pod.address, peers)) and not within(pod.address, excepted)
    )


def within(address: str, blocks: Iterable[str]) -> bool:
    """Say whether the address lies in one of the addresses or CIDRs."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False) for block in blocks)


def _with_ports(
    ports: list[Object] | None,
    peers: tuple[str, ...] | None,
    excepted: tuple[str, ...],
    targets: tuple[Pod, ...],
    direction: Direction,
) -> Iterable[Allow]:
    """Cross peers with ports; a named port means, at each receiving pod, the number which that pod gives the name."""
    if not ports:
        yield Allow(peers, excepted)
        return
    numbered = [port for port in ports if not isinstance(port.get("port"), str)]
    for protocol in sorted({port.get("protocol", "TCP") for port in numbered}):
        spans = (_span(port) for port in numbered if port.get("protocol", "TCP") == protocol)
        yield Allow(peers, excepted, protocol, merge(spans))
    for port in ports:
        if isinstance(port.get("port"), str):
            protocol = port.get("protocol", "TCP")
            for number, pods in _receivers(port["port"], protocol, targets).items():
                span = ((number, number),)
                if direction == "Ingress":
                    yield Allow(peers, excepted, protocol, span)
                else:
                    yield Allow(tuple(pod.address for pod in pods), (), protocol, span)


def _span(port: Object) -> Span:
    first = port.get("port")
    return EVERY_PORT if first is None else (first, port.get("endPort") or first)


def _receivers(name: str, protocol: str, targets: tuple[Pod, ...]) -> dict[int, list[Pod]]:
    found: dict[int, list[Pod]] = {}
    for pod in targets:
        for number in sorted({n for port, kind, n in pod.ports if (port, kind) == (name, protocol)}):
            found.setdefault(number, []).append(pod)
    return found


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join overlapping and touching port spans, sorted."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)
