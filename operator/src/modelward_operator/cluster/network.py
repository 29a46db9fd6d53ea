"""Read what a NetworkPolicy needs to know of the world: addresses of names, pods behind Services, where the API server is.

    the rooms' Slot.EGRESS ──▶ host names ──┬─ kubernetes.default.svc ──▶ its Service and EndpointSlice         (kept 60 s)
                                            ├─ a Service of the cluster ─▶ its selector and ports                (kept 60 s)
                                            └─ any other ────────────────▶ the operator's own DNS                 (kept 60 s)
    enforcement.py ──▶ whether the network plug-in enforces the policy

Called by gather.py, once a pass. What cannot be read is an absent fact, or the one before: never the end of a pass.
No event tells that an answer changed: following.py asks again, once for all models, and rings for those whose answer is another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.network import EgressMode
from modelward_operator.cluster.client import Client, Forbidden, NotFound
from modelward_operator.cluster.enforcement import EnforcementProbe, Shown
from modelward_operator.cluster.following import Following
from modelward_operator.cluster.kinds import ENDPOINT_SLICE, SERVICE
from modelward_operator.cluster.recent import REMEMBERED, Recent
from modelward_operator.cluster.resolver import Resolver
from modelward_operator.facts import Given, Json, Key, Network, Service
from modelward_operator.plan import names
from modelward_operator.plan.egress import host_and_port, is_address, is_written_in_full, service_of
from modelward_operator.policies.rooms import rule
from modelward_operator.rulings import Slot

AGE: Final = 60.0
SELDOM: Final = 600.0
"""Seconds after which, at the latest, a name that keeps failing is looked up again."""
ADDRESSES: Final = 32
"""Of one name that are kept at most."""
SEEN: Final = 3600.0
"""Seconds for which an address of a name stays open after it was last given: names answer with ever another few of theirs."""

T = TypeVar("T")
Lookup = Callable[[str, str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name that a model of the namespace asks for; raises OSError."""


class Question(NamedTuple):
    """Something whose answer may change without an event."""

    about: str
    """`host`, `service`, or `api server`."""
    name: str = ""
    namespace: str = ""


class NetworkReader:
    """Reads through one client, one resolver and one probe. `lookup` and `clock` are injected for tests.

    `ring` is told of models whose facts have changed; without it, nobody follows them.
    """

    def __init__(
        self,
        client: Client,
        probe: EnforcementProbe,
        *,
        clock: Callable[[], float],
        lookup: Lookup | None = None,
        ring: Callable[[Key], None] = lambda _key: None,
    ) -> None:
        self.following: Following[Question] = Following(self._ask, ring, clock=clock)
        self._client, self._probe, self._clock = client, probe, clock
        self._lookup = lookup or Resolver()
        self._hosts = Recent[Sequence[str]](AGE, (), clock, longest=SELDOM)
        self._services = Recent[Service | None](AGE, None, clock)
        self._api_server = Recent[Sequence[tuple[str, int]]](AGE, (), clock)
        self._seen: dict[str, dict[str, float]] = {}

    async def read(self, given: Given, spec: ModelDeploymentSpec) -> Network:
        """Return what is known of the ways to and from the pods."""
        ruling = rule(given, spec)
        shown = await self._probe.read(given, ruling.names(Slot.INGRESS))
        policy = spec.security.network_policy
        if policy and policy.egress and policy.egress.mode is EgressMode.OPEN:
            self.following.forget(given.key)
            return _with(Network(), shown)
        return _with(await self._ways(given, ruling.names(Slot.EGRESS)), shown)

    def forget(self, key: Key) -> None:
        """A model is gone."""
        self.following.forget(key)
        self._probe.forget(key)

    async def _ways(self, given: Given, urls: Collection[str]) -> Network:
        named = (host for host, _ in map(host_and_port, set(urls) - {names.API_SERVER}))
        hosts = {host for host in named if host and not is_address(host)}
        services = await _gather({host: self._service(host, given) for host in hosts})
        others = {name for host in hosts if (name := _looked_up(host, services[host], given))}
        found = await _gather({host: self._addresses(host, given.key.namespace) for host in others})
        asks = names.API_SERVER in urls
        api_server = await self._api_server.ask("", self._read_api_server) if asks else ()
        of_cluster = {host: ref for host in hosts if (ref := service_of(host, given))}
        self.following.note(
            given.key,
            {
                **{Question("service", *ref): services[host] for host, ref in of_cluster.items()},
                **{Question("host", host, given.key.namespace): addresses for host, addresses in found.items()},
                **({Question("api server"): api_server} if asks else {}),
            },
        )
        return Network(
            api_server=api_server,
            services={host: service for host, service in services.items() if service is not None},
            hosts={host: addresses for host, addresses in found.items() if addresses},
        )

    async def _ask(self, question: Question) -> object:
        if question.about == "host":
            return await self._addresses(question.name, question.namespace)
        if question.about == "service":
            return await self._service_named(question.name, question.namespace)
        return await self._api_server.ask("", self._read_api_server)

    async def _service(self, host: str, given: Given) -> Service | None:
        named = service_of(host, given)
        return await self._service_named(*named) if named else None

    async def _service_named(self, name: str, namespace: str) -> Service | None:
        return await self._services.ask(f"{namespace}/{name}", lambda: self._read_service(name, namespace))

    async def _read_service(self, name: str, namespace: str) -> Service | None:
        try:
            return _service(await self._client.get(SERVICE, namespace, name))
        except NotFound:
            return None
        except Forbidden:
            return Service(is_hidden=True)

    async def _read_api_server(self) -> Sequence[tuple[str, int]]:
        service = await self._client.get(SERVICE, "default", "kubernetes")
        slice_ = await self._client.get(ENDPOINT_SLICE, "default", "kubernetes")
        ports = [int(port["port"]) for port in service["spec"]["ports"]]
        found = {(str(address), port) for address in service["spec"].get("clusterIPs", ()) for port in ports}
        behind = [int(port["port"]) for port in slice_.get("ports") or ()]
        addresses = [str(address) for endpoint in slice_.get("endpoints") or () for address in endpoint["addresses"]]
        return sorted(found | {(address, port) for address in addresses for port in behind})

    async def _addresses(self, host: str, namespace: str) -> Sequence[str]:
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        now, seen = self._clock(), self._seen.setdefault(host, {})
        # By namespace: names of another one that hang must not leave this one's unasked.
        for address in await self._hosts.ask(f"{namespace}/{host}", lambda: self._lookup(host, namespace)):
            seen[address] = now
        fresh = {address: at for address, at in seen.items() if now - at < SEEN}
        kept = sorted(fresh, key=lambda address: (-fresh[address], address))[:ADDRESSES]
        self._seen[host] = {address: fresh[address] for address in kept}
        return sorted(kept)


def _with(network: Network, shown: Shown) -> Network:
    return replace(
        network,
        enforced=shown.enforced,
        by_others=shown.by_others,
        lets_operator_in=shown.lets_operator_in,
        disagree=shown.disagree,
        stale_after=shown.again,
    )


def _looked_up(host: str, service: Service | None, given: Given) -> str:
    """Return the name to look up for a host; none for a Service of the cluster, nor for what only one can be called."""
    name = host if service is None else service.external_name
    return "" if is_written_in_full(name, given) or "." not in name else name


def _service(raw: Json) -> Service:
    """Return what a policy needs of a Service. Behind a headless one stand its pods themselves, at the port that the caller names."""
    spec = raw.get("spec", {})
    if spec.get("type") == "ExternalName":
        return Service(external_name=str(spec.get("externalName", "")).lower())
    ports = {} if spec.get("clusterIP") == "None" else {p["port"]: p.get("targetPort", p["port"]) for p in _tcp(spec)}
    return Service(spec.get("selector") or {}, ports)


def _tcp(spec: Json) -> list[Json]:
    return [port for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]


async def _gather(questions: Mapping[str, Awaitable[T]]) -> dict[str, T]:
    """Await all side by side, by name."""
    answers = await asyncio.gather(*questions.values()) if questions else ()
    return dict(zip(questions, answers, strict=True))
