"""What exposes a model to clients outside: routes to a Gateway, or an Ingress. Called by `draw.py`; each kind has a file of its own.

                               ┌─ HTTPRoute ──▶ Service, port http ─┐
    Gateway ◀── parentRefs ────┤                                    ├── BackendTLSPolicy: over TLS, and who must answer
                               └─ GRPCRoute ──▶ Service, port grpc ─┘
    or Ingress ──▶ Service, port http

A kind whose CustomResourceDefinition is not installed is left out; `status/exposure.py` says so. Of two that ask for the same a gateway
serves one and says nothing: `claims` finds them.
"""

from collections.abc import Iterator
from typing import Any, Final

from modelward_operator.api.exposure import MODEL_HEADER, ParentRef
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan.backendtlspolicy import backend_tls_policy
from modelward_operator.plan.grpcroute import grpc_route
from modelward_operator.plan.httproute import http_route
from modelward_operator.plan.ingress import ingress

GATEWAY_KINDS: Final = ("HTTPRoute", "GRPCRoute", "BackendTLSPolicy")
"""Of the Gateway API, in the order in which they are told of."""
ROUTE_KINDS: Final = frozenset({"HTTPRoute", "GRPCRoute", "Ingress"})
"""What claims hostnames."""


def exposure(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return all that exposes the model, the kinds among them that the API server does not serve; nothing without `spec.exposure`."""
    return [*backend_tls_policy(given, spec), *http_route(given, spec), *grpc_route(given, spec), *ingress(given, spec)]


def exposing(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return what can be made now. Routes to pods that serve TLS need the policy: a gateway would send them tokens in clear."""
    wanted = exposure(given, spec)
    missing = {planned["kind"] for planned in wanted} & given.unserved
    if "BackendTLSPolicy" in missing:
        return []
    return [planned for planned in wanted if planned["kind"] not in missing]


def gateway_of(given: Given, ref: ParentRef) -> tuple[str, str]:
    """Return namespace and name of the Gateway that a parentRef names."""
    return ref.namespace or given.key.namespace, ref.name


def claims(route: Json) -> frozenset[str]:
    """Return what a route asks for, each as protocol, hostname and what tells models apart under it. Empty for other kinds.

    Of routes in the form that the builders give them; whatever else lies in such an object claims nothing.
    """
    return frozenset(_claims(route)) if route["kind"] in ROUTE_KINDS else frozenset()


def _claims(route: Json) -> Iterator[str]:
    spec: Json = route.get("spec") or {}
    if route["kind"] == "Ingress":
        for rule in spec.get("rules") or ():
            for path in (rule.get("http") or {}).get("paths") or ():
                yield f"Ingress {rule.get('host', '')}{path.get('path', '')}"
        return
    for hostname in spec.get("hostnames") or ():
        for rule in spec.get("rules") or ():
            for match in rule.get("matches") or [{}]:
                yield f"{route['kind']} {hostname}{_told_by(match)}"


def _told_by(match: Any) -> str:  # noqa: ANN401  -- JSON
    """Return the path of an HTTPRoute's match, the model's name of a GRPCRoute's."""
    if path := (match.get("path") or {}).get("value"):
        return str(path)
    named = [h.get("value") for h in match.get("headers") or () if str(h.get("name")).lower() == MODEL_HEADER]
    return f" {named[0]}" if named else ""
