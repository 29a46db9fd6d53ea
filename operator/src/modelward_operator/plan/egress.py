"""Where the pods may connect: URLs that the rooms ask for, as rules of a NetworkPolicy and as words of the status.

NetworkPolicy knows addresses and selectors, no host names:

    an address                      itself
    the API server                  its Service's address, and those behind it
    a Service of the cluster        its pods, at the port behind the Service's; the whole namespace where the operator may not read it
    AWS, Google Cloud Storage       its port at every public address, for theirs are not fixed; and the private ones of its name
    any other name                  its addresses that a name may open; those that were opened before, while it cannot be looked up

Called by `networkpolicy.py`, `status/` and `offline.py`. Pure: the addresses are facts.
"""

import functools
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.network import EgressMode
from modelward_operator.facts import Given, Json, Service
from modelward_operator.plan import names
from modelward_operator.plan.addresses import PRIVATE, PRIVATE_V6, is_openable, is_private
from modelward_operator.rulings import Ruling, Slot

PUBLIC: Final[tuple[Json, ...]] = (
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}},
    {"ipBlock": {"cidr": "::/0", "except": list(PRIVATE_V6)}},
)
UNFIXED: Final = (".amazonaws.com", ".amazonaws.com.cn", ".storage.googleapis.com")
DNS_PORTS: Final[tuple[Json, ...]] = ({"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53})
DNS_PEERS: Final[tuple[Json, ...]] = (
    {
        "namespaceSelector": {"matchLabels": {names.NAMESPACE_NAME: "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    },
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
)
"""Cluster DNS by the labels that every distribution keeps, and node-local DNS, which listens on the node."""
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NOT_OPENED: Final = "not opened: "
"""Begins the words of what is not."""
UNKNOWN: Final = f"{NOT_OPENED}its address is not known"


@dataclass(frozen=True, slots=True)
class Destination:
    """One URL and what opening it takes."""

    url: str
    peers: Sequence[Json] = ()
    ports: Sequence[Json] = ()
    """Empty: every port."""
    words: str = UNKNOWN
    by_name: bool = True
    looked_up: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Addresses by the host name that they were looked up for."""

    @property
    def rules(self) -> list[Json]:
        """The rule of the NetworkPolicy; none where nothing is known."""
        return [{"to": list(self.peers), **({"ports": list(self.ports)} if self.ports else {})}] if self.peers else []


@dataclass(frozen=True, slots=True)
class Egress:
    """What the pods' way out is."""

    rules: Sequence[Json] | None
    """Of the NetworkPolicy; None where the way out is not closed."""
    words: Sequence[str]
    """For the status: what was opened, and what could not be."""
    looked_up: Mapping[str, Sequence[str]]


def egress(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Egress:
    """Return what is open: what the rooms ask for, what the spec adds, and DNS where any of it has a name."""
    policy = spec.security.network_policy
    asked = policy.egress if policy else None
    if asked and asked.mode is EgressMode.OPEN:
        return Egress(None, ("everything",), {})
    found = [_destination(url, given) for url in ruling.names(Slot.EGRESS)]
    rules = [rule for destination in found for rule in destination.rules]
    words = [f"{destination.url}: {destination.words}" for destination in found]
    if any(destination.by_name for destination in found):
        rules.insert(0, {"to": list(DNS_PEERS), "ports": list(DNS_PORTS)})
        words.insert(0, "DNS: pods k8s-app=kube-dns of namespace kube-system and 169.254.20.10, port 53")
    for network in asked.allow_to if asked else ():
        port = {"ports": [_tcp(network.port)]} if network.port else {}
        rules.append({"to": [{"ipBlock": {"cidr": network.cidr}}], **port})
        words.append(f"allowTo: {network.cidr}, {f'port {network.port}' if network.port else 'every port'}")
    looked_up = {host: found for destination in found for host, found in destination.looked_up.items()}
    return Egress(_without_twins(rules), tuple(dict.fromkeys(words)), looked_up)


def _without_twins(rules: Iterable[Json]) -> list[Json]:
    return list({names.fingerprint_of_object(rule): rule for rule in rules}.values())


def _destination(url: str, given: Given) -> Destination:
    host, port = host_and_port(url)
    if not host:
        return Destination(url)
    if is_address(host):
        return Destination(url, [_block(host)], [_tcp(port)], f"{host}, port {port}", by_name=False)
    if service_of(host, given) == ("kubernetes", "default"):
        return _api_server(url, given)
    return _service(url, host, port, given) or _elsewhere(url, host, port, given)


def _elsewhere(url: str, host: str, port: int, given: Given) -> Destination:
    found = given.network.hosts.get(host) or _opened_before(given).get(host, ())
    addresses = [address for address in found if is_openable(address)]
    if f".{host}".endswith(UNFIXED):
        return _unfixed(url, host, port, addresses)
    peers = [_block(address) for address in addresses]
    words = f"{', '.join(map(_marked, addresses))}, port {port}" if addresses else UNKNOWN
    if refused := [address for address in found if not is_openable(address)]:
        why = f"a name may not open {', '.join(refused)}"
        words = f"{words}; {why}" if addresses else f"{NOT_OPENED}{why}"
    looked_up = {host: tuple(addresses)} if addresses else {}
    return Destination(url, peers, [_tcp(port)], words, looked_up=looked_up)


def host_and_port(url: str) -> tuple[str, int]:
    """Return host and port of a URL; an empty host where it has none that can be read."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", 0
    return host, port or (80 if parts.scheme == "http" else 443)


@functools.lru_cache(maxsize=4096)  # models name the same few hosts
def is_address(host: str) -> bool:
    """True for an IP address, as opposed to a name; one of a single link is none that a policy can hold."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _api_server(url: str, given: Given) -> Destination:
    """Every address with every port: which port belongs to the Service and which to what is behind it, plug-ins see differently.

    `url` may be any of its own, as that of the keys with which it signs tokens.
    """
    before = (word.partition(" ") for word in _opened_before(given).get(names.API_SERVER, ()))
    pairs = sorted(given.network.api_server) or sorted((address, int(port)) for address, _, port in before if port)
    if not pairs:
        return Destination(url)
    addresses, ports = sorted({address for address, _ in pairs}), sorted({port for _, port in pairs})
    words = f"{', '.join(addresses)}, port {', '.join(map(str, ports))}"
    kept = {names.API_SERVER: tuple(f"{address} {port}" for address, port in pairs)}
    return Destination(url, list(map(_block, addresses)), list(map(_tcp, ports)), words, looked_up=kept)


def service_of(host: str, given: Given) -> tuple[str, str] | None:
    """Return name and namespace of the Service that a host name may be: as written in full, or as a pod's search path completes it."""
    labels = host.removesuffix(f".{given.installation.cluster_domain}").split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        return None  # whatever stands here goes into a path of the API
    if labels[-1] == "svc" and len(labels) > 2:
        return labels[-3], labels[-2]  # what stands before is a pod of a headless one
    if len(labels) <= 2 and host == ".".join(labels):
        return labels[0], (labels[1:] or [given.key.namespace])[0]
    return None


def _service(url: str, host: str, port: int, given: Given) -> Destination | None:
    """Return the way to a Service; None for a name that is none, or that only looks like a shortened one."""
    named, service = service_of(host, given), given.network.services.get(host)
    if named is None or (service is None and not is_written_in_full(host, given) and "." in host):
        return None
    if service is None:
        return Destination(url, words=f"{NOT_OPENED}Service {named[1]}/{named[0]} does not exist, or could not be read")
    if service.external_name:
        return _elsewhere(url, service.external_name, port, given)
    return _pods(url, port, named[1], service)


def _pods(url: str, port: int, namespace: str, service: Service) -> Destination:
    peer: dict[str, Json] = {"namespaceSelector": {"matchLabels": {names.NAMESPACE_NAME: namespace}}}
    if service.is_hidden:
        words = f"every pod of namespace {namespace}, every port: the operator may not read the Service"
        return Destination(url, [peer], (), words)
    if not service.selector:
        return Destination(
            url, words=f"{NOT_OPENED}its Service selects no pods; open its addresses with egress.allowTo"
        )
    peer["podSelector"] = {"matchLabels": dict(sorted(service.selector.items()))}
    behind = service.ports.get(port, port)
    chosen = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
    return Destination(url, [peer], [_tcp(behind)], f"pods {chosen} of namespace {namespace}, port {behind}")


def is_written_in_full(host: str, given: Given) -> bool:
    """True for a name that only a Service of the cluster can have."""
    return host.endswith((".svc", f".svc.{given.installation.cluster_domain}"))


def _unfixed(url: str, host: str, port: int, addresses: Sequence[str]) -> Destination:
    """Private addresses of a public name are a VPC's own endpoint."""
    private = [address for address in addresses if is_private(address)]
    words = f"every public address, port {port}" + "".join(f"; {_marked(address)}" for address in private)
    kept = {host: tuple(private)} if private else {}
    return Destination(url, [*PUBLIC, *map(_block, private)], [_tcp(port)], words, looked_up=kept)


def _opened_before(given: Given) -> Mapping[str, Sequence[str]]:
    """Return what the live NetworkPolicy was made from. A hand may have edited it: what has not its form counts as nothing."""
    live = given.child("NetworkPolicy", given.key.name)
    try:
        found = json.loads(live.get("metadata", {}).get("annotations", {}).get(names.OPENED, "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {host: kept for host, kept in found.items() if isinstance(kept, list) and all(map(_is_kept, kept))}


def _is_kept(word: object) -> bool:
    """True for an address, or an address and a port with a space in between."""
    if not isinstance(word, str):
        return False
    address, _, port = word.partition(" ")
    return is_address(address) and (not port or (port.isascii() and port.isdigit() and int(port) < 2**16))


def _marked(address: str) -> str:
    return f"{address} (private)" if is_private(address) else address


def _block(address: str) -> Json:
    return {"ipBlock": {"cidr": _cidr(address)}}


@functools.lru_cache(maxsize=4096)  # models reach the same few addresses
def _cidr(address: str) -> str:
    """Return the network of one address, spelled as the API server takes it: an IPv4 address in IPv6's clothes it refuses."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(ipaddress.ip_network(mapped or parsed))


def _tcp(port: int | str) -> Json:
    return {"protocol": "TCP", "port": port}
