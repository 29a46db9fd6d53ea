"""The activator's whole table as objects of the operator's namespace: ConfigMaps with routes, NetworkPolicies with who may connect.

    ports 20000, 20001 ─▶ shard 0 ─▶ modelward-activator-routes-0 and modelward-activator-0
    …                                (a model's shard follows from its port, so that one model's change rewrites one shard)

The base NetworkPolicy, which closes the pods and lets the operator in, is the chart's. Called by `cluster/switchboard.py`; pure.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from modelward_operator.facts import Json, Key, Route
from modelward_operator.plan import names
from modelward_operator.plan.networkpolicy import peer

API_VERSION: Final = "activator/v1"
FIRST_PORT: Final = 20000
LAST_PORT: Final = 59999
PORTS: Final = range(FIRST_PORT, LAST_PORT, 2)
"""HTTP ports; each model's gRPC port is the next."""
SHARD: Final = 32
"""Routes of one ConfigMap at most: the largest that the API lets a tenant write, 20 KiB each, still fit into the 1 MiB that a ConfigMap may
have. Else one tenant's routes would keep all that share the ConfigMap from being written."""
ROUTES: Final = "routes"
CALLERS: Final = "callers"
FILE: Final = "routes.json"


def shard_of(http_port: int) -> int:
    """Return the number of the shard that holds the route of this port."""
    return (http_port - FIRST_PORT) // 2 // SHARD


def routes_name(shard: int) -> str:
    """Return the name of the ConfigMap of a shard."""
    return f"{names.ACTIVATOR}-routes-{shard}"


def callers_name(shard: int) -> str:
    """Return the name of the NetworkPolicy of a shard."""
    return f"{names.ACTIVATOR}-{shard}"


def by_shard(routes: Mapping[Key, Route]) -> dict[int, dict[Key, Route]]:
    """Return the routes of each shard, by port."""
    shards: defaultdict[int, dict[Key, Route]] = defaultdict(dict)
    for key, route in sorted(routes.items(), key=lambda item: item[1].http_port):
        shards[shard_of(route.http_port)][key] = route
    return dict(shards)


def drawn(namespace: str, shard: int, routes: Collection[Route], owner: Json) -> tuple[Json, Json]:
    """Return the NetworkPolicy and the ConfigMap of a shard."""
    return _policy(namespace, shard, routes, owner), _config_map(namespace, shard, routes, owner)


def _config_map(namespace: str, number: int, routes: Iterable[Route], owner: Json) -> Json:
    text = names.canonical_json({"apiVersion": API_VERSION, "routes": [route.body for route in routes]})
    metadata = _metadata(namespace, routes_name(number), ROUTES, owner)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FILE: text}}


def _policy(namespace: str, number: int, routes: Iterable[Route], owner: Json) -> Json:
    doors: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for route in routes:
        doors[route.callers] += sorted(route.body["ports"].values())
    spec = {
        "podSelector": {"matchLabels": dict(names.ACTIVATOR_PODS)},
        "policyTypes": ["Ingress"],
        "ingress": [_rule(callers, ports) for callers, ports in sorted(doors.items())],
    }
    metadata = _metadata(namespace, callers_name(number), CALLERS, owner)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _rule(callers: Iterable[str], ports: Iterable[int]) -> Json:
    return {"from": [peer(name) for name in callers], "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def _metadata(namespace: str, name: str, part: str, owner: Json) -> Mapping[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {names.ACTIVATOR_PART: part, "app.kubernetes.io/part-of": "modelward"},
        "ownerReferences": [owner],
    }


def read_table(config_maps: Iterable[Json], policies: Iterable[Json]) -> dict[Key, Route]:
    """Return the routes that live objects hold, by model: what an earlier leader wrote. What has not the form is left out, alone."""
    callers = _callers_by_port(policies)
    found: dict[Key, Route] = {}
    for config_map in config_maps:
        for body in filter(_is_route, _routes_of(config_map)):
            route = Route(body, callers.get(body["ports"]["http"], ()))
            if route.callers:  # nobody: its door was not guarded yet, so it does not count
                found[Key(body["namespace"], body["name"])] = route
    return found


def _routes_of(config_map: Json) -> list[Any]:
    """Return whatever is listed there: someone may have edited it."""
    try:
        listed = json.loads(config_map["data"][FILE])["routes"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return listed if isinstance(listed, list) else []


def _is_route(body: Any) -> bool:  # noqa: ANN401  -- JSON
    """Tell whether it has what is read of a route: whose it is, and a pair of ports of ours."""
    match body:
        case {"namespace": str(namespace), "name": str(name), "ports": {"http": int(http), "grpc": int(grpc), **more}}:
            return bool(namespace and name) and http in PORTS and grpc == http + 1 and not more
    return False


def _callers_by_port(policies: Iterable[Json]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for policy in policies:
        for rule in policy.get("spec", {}).get("ingress") or ():
            names_ = tuple(sorted(filter(None, map(_name_of, rule.get("from") or ()))))
            ports = [port.get("port") for port in rule.get("ports") or ()]
            found |= {port: names_ for port in ports if isinstance(port, int)}  # a port may have a name
    return found


def _name_of(found: Json) -> str:
    """Return the namespace or the network that may connect; empty for what has not the form."""
    labels = (found.get("namespaceSelector") or {}).get("matchLabels") or {}
    return str(labels.get(names.NAMESPACE_NAME) or (found.get("ipBlock") or {}).get("cidr") or "")
