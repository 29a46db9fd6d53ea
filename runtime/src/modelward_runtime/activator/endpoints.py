"""Where a model's pods are, by the EndpointSlices of its Service: also those that are not ready yet, so that they can be probed.

Fed by `kube.py`, read by `table.py`. Only what the cluster's own controller wrote counts: a slice of ours leads to the activator, and a
request that was sent there would come back for ever. What is no pod of the slice's own namespace is left out.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

SERVICE: Final = "kubernetes.io/service-name"
WRITER: Final = "endpointslice.kubernetes.io/managed-by"
CONTROLLER: Final = "endpointslice-controller.k8s.io"

Key = tuple[str, str]


class Listed(msgspec.Struct, frozen=True):
    """A pod as the slices list it. `ready` is the kubelet's word, seconds late; a pod that `terminating` says is left alone."""

    uid: str
    address: str
    http_port: int
    grpc_port: int
    ready: bool
    terminating: bool


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str
    labels: dict[str, str] = {}


class _Conditions(msgspec.Struct, frozen=True):
    ready: bool | None = None
    terminating: bool | None = None


class _Target(msgspec.Struct, frozen=True):
    kind: str = ""
    namespace: str = ""
    uid: str = ""


class _Endpoint(msgspec.Struct, frozen=True):
    addresses: list[str]
    conditions: _Conditions = _Conditions()
    targetRef: _Target | None = None  # noqa: N815  the API's spelling


class _Port(msgspec.Struct, frozen=True):
    name: str | None = None
    port: int | None = None


class Slice(msgspec.Struct, frozen=True):
    """An EndpointSlice (discovery.k8s.io/v1), as much of it as is needed."""

    metadata: _Metadata
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None

    @property
    def id(self) -> Key:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    @property
    def service(self) -> Key:
        """Namespace and name of the Service, the name empty where it is not the cluster's controller that says so."""
        labels = self.metadata.labels
        ours = labels.get(WRITER) == CONTROLLER
        return self.metadata.namespace, labels.get(SERVICE, "") if ours else ""

    def pods(self) -> Iterable[Listed]:
        """Its pods that have an address and both ports."""
        ports = {port.name: port.port for port in self.ports or ()}
        http_port, grpc_port = ports.get("http"), ports.get("grpc")
        for endpoint in self.endpoints or ():
            target = endpoint.targetRef
            if not (http_port and grpc_port and endpoint.addresses and target):
                continue
            if target.kind != "Pod" or target.namespace != self.metadata.namespace or not target.uid:
                continue
            conditions = endpoint.conditions
            yield Listed(
                target.uid,
                endpoint.addresses[0],
                http_port,
                grpc_port,
                conditions.ready is True,
                conditions.terminating is True,
            )


class Endpoints:
    """All slices, by Service."""

    def __init__(self) -> None:
        self._slices: dict[Key, Slice] = {}
        self._by_service: dict[Key, dict[Key, Slice]] = {}

    def reset(self, slices: Iterable[Slice], namespace: str = "") -> set[Key]:
        """These, and no others of the namespace, or of all; the Services that this concerns."""
        touched: set[Key] = set()
        for known in [one for one in self._slices.values() if not namespace or one.metadata.namespace == namespace]:
            touched |= self.drop(known)
        for slice_ in slices:
            touched |= self.put(slice_)
        return touched

    def put(self, slice_: Slice) -> set[Key]:
        """A slice came or changed; the Services that this concerns."""
        touched = self.drop(slice_)
        if slice_.service[1]:
            self._slices[slice_.id] = slice_
            self._by_service.setdefault(slice_.service, {})[slice_.id] = slice_
            touched.add(slice_.service)
        return touched

    def drop(self, slice_: Slice) -> set[Key]:
        """A slice went; the Services that this concerns."""
        old = self._slices.pop(slice_.id, None)
        if old is None:
            return set()
        rest = self._by_service[old.service]
        del rest[old.id]
        if not rest:
            del self._by_service[old.service]
        return {old.service}

    def pods(self, service: Key) -> dict[str, Listed]:
        """Its pods, by UID. A pod of two address families is listed twice, and is taken once."""
        found: dict[str, Listed] = {}
        for _, slice_ in sorted(self._by_service.get(service, {}).items()):
            for pod in slice_.pods():
                found.setdefault(pod.uid, pod)
        return found
