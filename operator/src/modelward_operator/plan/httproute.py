"""The HTTPRoute of a model that a Gateway exposes: its hostnames, and the path by which models that share them are told apart."""

from typing import Any, Final

from modelward_operator.api.exposure import Exposure, Gateway, Routing
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names

GATEWAY_API: Final = "gateway.networking.k8s.io"


def http_route(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the HTTPRoute; none without a gateway and a hostname for REST."""
    told = spec.exposure
    if told is None or told.gateway is None or not told.hostnames:
        return []
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "PathPrefix", "value": path_of(given, spec, told)}}],
        "backendRefs": [backend(given, names.HTTP_PORT)],
    }
    if told.timeout_seconds is not None:
        rule["timeouts"] = {"request": f"{told.timeout_seconds}s"}
    body = {"parentRefs": parents(told.gateway), "hostnames": list(told.hostnames), "rules": [rule]}
    return [names.child(given, f"{GATEWAY_API}/v1", "HTTPRoute", given.key.name, spec=body)]


def path_of(given: Given, spec: ModelDeploymentSpec, told: Exposure) -> str:
    """Return the path below which all is this model's. It is matched element by element: `fraud` does not catch `fraud-2`."""
    return "/" if told.routing is Routing.HOSTNAME else f"/v2/models/{model_name(given, spec)}"


def model_name(given: Given, spec: ModelDeploymentSpec) -> str:
    """Return the name under which clients call the model."""
    return spec.model.name or given.key.name


def parents(gateway: Gateway) -> list[Json]:
    """Return the parentRefs of a route, with what the API server would fill in."""
    return [
        {
            "group": GATEWAY_API,
            "kind": "Gateway",
            "name": ref.name,
            **({"namespace": ref.namespace} if ref.namespace else {}),
            **({"sectionName": ref.section_name} if ref.section_name else {}),
        }
        for ref in gateway.parent_refs
    ]


def backend(given: Given, port: int) -> Json:
    """Return the model's Service as the one backend of a rule."""
    return {"group": "", "kind": "Service", "name": given.key.name, "port": port, "weight": 1}
