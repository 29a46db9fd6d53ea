"""EndpointExposed: whether clients outside reach the model by what the spec exposes it with, and at which URL. Called by `summarise.py`.

    its kinds are served ─▶ its objects could be written ─▶ the Gateways and listeners exist ─▶ no other model asked earlier for the same,
    and their controllers take the routes, and the policy that has them speak TLS to the pods ─▶ True, in words

What a controller decided is its own word, in the status of each route and by parentRef, and counts for the present generation of the route
alone. Of two routes that ask for the same the older one wins, as the Gateway API has it, and no controller says so: `_conflict` does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.api.access import AuthenticationMode
from modelward_operator.api.exposure import Exposure, ParentRef
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Applied, Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.exposure import claims, exposure, gateway_of
from modelward_operator.policies.access.rule import authentication_of, gateway_peers
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import text
from modelward_operator.status.finding import Finding
from modelward_operator.status.refused import refused

WORDS_LIMIT: Final = 512
ADDRESSES: Final = 16
"""Of gateways, in the status at most."""
CONFLICT_LOOK: Final = 60.0
"""Seconds after which a route of another model is looked for again that was in the way."""
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Reached:
    """Where clients outside call, by the listeners of the Gateways."""

    url: str = ""
    """Of REST; empty where none is exposed, or the listener is not known."""
    grpc: str = ""
    """HOST:PORT."""
    addresses: tuple[str, ...] = ()
    """Where the hostnames' DNS records should lead."""
    is_plain: bool = False
    """True where a listener takes plain HTTP."""

    def status(self) -> Json:
        """Return it as `status.exposure`, what is not known left out."""
        said = {"url": self.url, "grpc": self.grpc, "addresses": list(self.addresses)}
        return {name: value for name, value in said.items() if value}


def exposed(given: Given, spec: ModelDeploymentSpec, applied: Applied) -> list[Finding]:
    """Return the one finding; none without `spec.exposure`."""
    told = spec.exposure
    if told is None:
        return []
    for obstacles in (
        _unserved(given, spec),
        (refused(Type.ENDPOINT_EXPOSED, one) for one in applied.refusals if one.kind in _kinds(given, spec)),
        _absent(given, told),
        (*_conflict(given, spec), *_undecided(given, spec, told)),
    ):
        if found := sorted(obstacles, key=lambda finding: finding.status):  # False comes first
            return [found[0]]
    return [_finding("True", Reason.EXPOSED, "; ".join(_words(given, spec, told)))]


def reached(given: Given, spec: ModelDeploymentSpec) -> Reached:
    """Return where clients outside call, whether or not anybody answers them there yet."""
    told = spec.exposure
    if told is None:
        return Reached()
    if told.ingress is not None:
        scheme = "https" if told.ingress.tls else "http"
        lead = _load_balancers(given.child("Ingress", given.key.name))
        return Reached(f"{scheme}://{told.hostnames[0]}", "", lead, is_plain=scheme == "http")
    rest = _listener(given, told, told.hostnames[0]) if told.hostnames else None
    calls = _listener(given, told, told.grpc_hostnames[0]) if told.grpc_hostnames else None
    found = (given.way_in.gateways.get(gateway_of(given, ref), {}) for ref in _refs(told))
    values = [text(str(one.get("value", "")), 253) for each in found for one in _status(each).get("addresses") or ()]
    return Reached(
        url=_url(told.hostnames[0], rest) if rest else "",
        grpc=f"{told.grpc_hostnames[0]}:{calls['port']}" if calls else "",
        addresses=tuple(dict.fromkeys(values))[:ADDRESSES],
        is_plain=any(one["protocol"] == "HTTP" for one in (rest, calls) if one),
    )


def look_again_at_conflict(status: Json) -> float | None:
    """Return the seconds after which a conflict may have ended without an event of this model's."""
    contested = any(condition["reason"] == Reason.ROUTE_CONFLICT for condition in status["conditions"])
    return CONFLICT_LOOK if contested else None


def _unserved(given: Given, spec: ModelDeploymentSpec) -> Iterator[Finding]:
    if missing := sorted({*_kinds(given, spec), *(["Gateway"] if _gateway(spec) else [])} & given.unserved):
        newer = " 1.4 or newer" if missing == ["BackendTLSPolicy"] else ""
        message = (
            f"this cluster does not know {', '.join(missing)} of gateway.networking.k8s.io/v1: install the Gateway API{newer}; no route "
            "stands until then"
        )
        yield _finding("False", Reason.GATEWAY_API_NOT_INSTALLED, message)


def _absent(given: Given, told: Exposure) -> Iterator[Finding]:
    """Gateways and listeners that are not there: without a Gateway no controller says anything."""
    for ref in _refs(told):
        where = gateway_of(given, ref)
        if where in given.way_in.hidden:
            continue
        gateway = given.way_in.gateways.get(where)
        if gateway is None:
            yield _finding("False", Reason.GATEWAY_NOT_FOUND, f"there is no {_name(where)}")
            continue
        listeners = [one["name"] for one in gateway["spec"]["listeners"]]
        if ref.section_name and ref.section_name not in listeners:
            message = f"{_name(where)} has no listener {ref.section_name}; it has {', '.join(listeners)}"
            yield _finding("False", Reason.LISTENER_NOT_FOUND, text(message, WORDS_LIMIT))


def _undecided(given: Given, spec: ModelDeploymentSpec, told: Exposure) -> Iterator[Finding]:
    """What a controller refuses, or has not decided yet, of the live objects."""
    for planned in exposure(given, spec):
        live = given.child(planned["kind"], planned["metadata"]["name"])
        if planned["kind"] == "Ingress":
            if not _load_balancers(live):
                message = f"no controller has published an address for Ingress {given.key.name}; some never do"
                yield _finding("Unknown", Reason.ROUTE_PENDING, message, blocks=False)
        elif planned["kind"] == "BackendTLSPolicy":
            yield from _decision(live, planned, _entries(live, "ancestors"), "a gateway")
        else:
            for ref in _refs(told):
                where = gateway_of(given, ref)
                entries = [one for one in _entries(live, "parents") if _is_of(one, ref, where, given.key.namespace)]
                yield from _decision(live, planned, entries, _name(where) + _section(ref))


def _decision(live: Json, planned: Json, entries: Iterable[Json], who: str) -> Iterator[Finding]:
    """What one parent says of an object: nothing is yielded where it takes it."""
    what = f"{planned['kind']} {planned['metadata']['name']}"
    generation = live.get("metadata", {}).get("generation", 0)
    said = [_current(entry, generation) for entry in entries]
    for conditions in said:
        for type_ in ("Accepted", "ResolvedRefs"):
            if conditions.get(type_, {}).get("status") == "False":
                because = f"{conditions[type_].get('reason', '')}: {conditions[type_].get('message', '')}"
                message = f"{who} refuses {what}: {text(because, WORDS_LIMIT)}"
                yield _finding("False", Reason.ROUTE_REFUSED, message)
                return
    if not any(conditions.get("Accepted", {}).get("status") == "True" for conditions in said):
        message = (
            f"no controller has said yet whether {who} takes {what}: is one running that does, for its GatewayClass?"
        )
        yield _finding("Unknown", Reason.ROUTE_PENDING, message)


def _conflict(given: Given, spec: ModelDeploymentSpec) -> Iterator[Finding]:
    """Routes of other models that came first and ask the same gateway for the same."""
    for planned in exposure(given, spec):
        live = given.child(planned["kind"], planned["metadata"]["name"])
        for rival in given.way_in.rivals:
            same = sorted(claims(planned) & claims(rival))
            if same and _age(rival) < _age(live) and _meet(planned, rival):
                meta = rival["metadata"]
                what = same[0].partition(" ")[2]
                message = (
                    f"{what} is already taken by the {rival['kind']} of {meta['namespace']}/{meta['labels'][names.MODEL_LABEL]}, "
                    "which is older: requests go to that model. Choose another hostname, or routing ModelName where the names differ"
                )
                yield _finding("False", Reason.ROUTE_CONFLICT, message)


def _age(route: Json) -> tuple[str, str, str]:
    """Order as the Gateway API does: by time, then by namespace and name. What is not there yet comes last."""
    meta = route.get("metadata", {})
    return meta.get("creationTimestamp", "~"), meta.get("namespace", ""), meta.get("name", "")


def _meet(mine: Json, rival: Json) -> bool:
    """True when both come to the same listener, or to the same Ingress controller. A route that no gateway takes is in nobody's way."""
    if mine["kind"] == "Ingress":
        return bool(mine["spec"].get("ingressClassName") == rival["spec"].get("ingressClassName"))
    taken = [_parent(one.get("parentRef", {}), rival) for one in _entries(rival, "parents") if _takes(one)]
    return any(
        one[0] == other[0] and (not one[1] or not other[1] or one[1] == other[1])
        for one in taken
        for other in (_parent(ref, mine) for ref in mine["spec"]["parentRefs"])
    )


def _takes(entry: Json) -> bool:
    return any(c.get("type") == "Accepted" and c.get("status") == "True" for c in entry.get("conditions") or ())


def _parent(ref: Json, route: Json) -> tuple[tuple[str, str], str]:
    where = (ref.get("namespace") or route["metadata"]["namespace"], ref.get("name", ""))
    return where, ref.get("sectionName") or ""


def _words(given: Given, spec: ModelDeploymentSpec, told: Exposure) -> Iterator[str]:
    found = reached(given, spec)
    ways = [f"REST at {found.url or told.hostnames[0]}"] if told.hostnames else []
    ways += [f"gRPC at {found.grpc or told.grpc_hostnames[0]}"] if told.grpc_hostnames else []
    through = [_name(gateway_of(given, ref)) for ref in _refs(told)] or [f"Ingress {given.key.name}"]
    yield f"{' and '.join(ways)} through {', '.join(through)}"
    yield f"the network policy lets its pods in from {', '.join(gateway_peers(given, spec))}"
    is_open = authentication_of(spec).mode is AuthenticationMode.NONE
    if is_open:
        yield "authentication None: whoever reaches it may call"
    elif found.is_plain:
        yield "it takes plain HTTP: tokens travel in clear"
    if told.hostnames and told.gateway and not found.url:
        yield "its Gateway is in a namespace that this operator does not read, so its scheme and port are not known"


def _listener(given: Given, told: Exposure, hostname: str) -> Json | None:
    """Return the listener that takes a hostname: one with TLS where there are several."""
    fitting = [
        one
        for ref in _refs(told)
        for one in given.way_in.gateways.get(gateway_of(given, ref), {}).get("spec", {}).get("listeners", ())
        if ref.section_name in {None, one["name"]}
        and one["protocol"] in {"HTTP", "HTTPS"}
        and _covers(one.get("hostname") or "", hostname)
    ]
    return next((one for one in fitting if one["protocol"] == "HTTPS"), fitting[0] if fitting else None)


def _covers(listener: str, hostname: str) -> bool:
    """True when a listener with that hostname takes this one; a wildcard stands for one label or more."""
    return not listener or listener == hostname or (listener.startswith("*.") and hostname.endswith(listener[1:]))


def _url(hostname: str, listener: Json) -> str:
    scheme = "https" if listener["protocol"] == "HTTPS" else "http"
    port = "" if listener["port"] == _PORTS[scheme] else f":{listener['port']}"
    return f"{scheme}://{hostname}{port}"


def _load_balancers(live: Json) -> tuple[str, ...]:
    balancers = (_status(live).get("loadBalancer") or {}).get("ingress") or ()
    found = [text(str(one.get("ip") or one.get("hostname") or ""), 253) for one in balancers]
    return tuple(filter(None, found))[:ADDRESSES]


def _entries(live: Json, field: str) -> list[Json]:
    """Return what each controller says of each parent: `parents` of a route, `ancestors` of a policy."""
    return list(_status(live).get(field) or ())


def _current(entry: Json, generation: int) -> dict[str, Any]:
    """Return the conditions of an entry by type; those of an earlier generation are no word on this one."""
    told = entry.get("conditions") or ()
    return {c["type"]: c for c in told if c.get("observedGeneration", generation) >= generation}


def _is_of(entry: Json, ref: ParentRef, where: tuple[str, str], own: str) -> bool:
    parent = entry.get("parentRef") or {}
    named = (parent.get("namespace") or own, parent.get("name", ""))
    return named == where and ref.section_name in {None, parent.get("sectionName")}


def _kinds(given: Given, spec: ModelDeploymentSpec) -> set[str]:
    return {planned["kind"] for planned in exposure(given, spec)}


def _refs(told: Exposure) -> list[ParentRef]:
    return list(told.gateway.parent_refs) if told.gateway else []


def _gateway(spec: ModelDeploymentSpec) -> bool:
    return spec.exposure is not None and spec.exposure.gateway is not None


def _status(live: Json) -> Json:
    found: Json = live.get("status") or {}
    return found


def _name(where: tuple[str, str]) -> str:
    return f"Gateway {where[0]}/{where[1]}"


def _section(ref: ParentRef) -> str:
    return f" at its listener {ref.section_name}" if ref.section_name else ""


def _finding(status: str, reason: Reason, message: str, *, blocks: bool = True) -> Finding:
    return Finding(Type.ENDPOINT_EXPOSED, status, reason, message, blocks=blocks)
