"""The strict parser of `routes.json`: what is taken, and how the rest is refused."""

import json
from typing import Any

import pytest

from modelward_runtime.activator.config import RoutesInvalid, parse_routes

ROUTE: dict[str, Any] = {
    "namespace": "risk",
    "name": "fraud-scorer",
    "ports": {"http": 20000, "grpc": 20001},
    "access": {
        "authentication": {
            "mode": "TokenReview",
            "server": "https://kubernetes.default.svc",
            "tokenFile": "/var/run/secrets/t",
            "caFile": "/var/run/secrets/ca.crt",
            "audience": "modelward",
        },
        "authorization": {"namespace": "risk", "name": "fraud-scorer"},
    },
    "tls": {"dnsNames": ["fraud-scorer.risk.svc"], "caBundle": "PEM"},
    "holdSeconds": 60,
    "maxHeld": 100,
    "wake": True,
    "refusal": None,
    "maxBodyBytes": 67108864,
}


def table(*routes: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "activator/v1", "routes": routes})


def test_a_route_is_read_whole() -> None:
    (route,) = parse_routes(table(ROUTE))
    assert ("risk", "fraud-scorer") == route.key
    assert 20001 == route.ports.grpc
    assert "TokenReview" == route.access.mode
    assert route.model is None


@pytest.mark.parametrize(
    ("reason", "change", "said"),
    [
        ("an unknown field is a promise that nobody keeps", {"weight": 1}, "unknown field `weight`"),
        ("a missing policy of access is not an open door", {"access": None}, "$.routes[0].access"),
        ("two transports cannot share a port", {"ports": {"http": 20000, "grpc": 20000}}, "do not share one"),
        ("nobody is refused without a reason", {"wake": False}, "demands `refusal`"),
        (
            "who may call this model is decided by its own name",
            {"access": {**ROUTE["access"], "authorization": {"namespace": "risk", "name": "other"}}},
            "must name this model",
        ),
        (
            "callers who say who they are must be judged",
            {"access": {"authentication": ROUTE["access"]["authentication"]}},
            "demands `authorization`",
        ),
        ("the pods' certificate is not the activator's", {"access": {"tls": {"directory": "/tls"}}}, "has no place"),
        ("a hold has an end", {"holdSeconds": 0}, "$.routes[0].holdSeconds"),
        ("a queue has a bound", {"maxHeld": 1 << 30}, "$.routes[0].maxHeld"),
        ("TLS needs a name", {"tls": {"dnsNames": [], "caBundle": "PEM"}}, "$.routes[0].tls.dnsNames"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_refused_with_its_path(reason: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RoutesInvalid, match=r"routes\.json") as refused:
        parse_routes(table({**ROUTE, **change}))
    assert said in str(refused.value), reason


def test_another_version_is_refused() -> None:
    with pytest.raises(RoutesInvalid):
        parse_routes(json.dumps({"apiVersion": "activator/v2", "routes": []}))
