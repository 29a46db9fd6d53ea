"""The GRPCRoute of a model that a Gateway exposes. The paths of gRPC calls name no model, so models that share a hostname are told apart by
metadata: as with Seldon's, whose clients send `seldon-model`.
"""

from typing import Any

from modelward_operator.api.exposure import MODEL_HEADER, Routing
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.httproute import GATEWAY_API, backend, model_name, parents


def grpc_route(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the GRPCRoute; none without a gateway and a hostname for gRPC. In version 1 of its API there are no time limits."""
    told = spec.exposure
    if told is None or told.gateway is None or not told.grpc_hostnames:
        return []
    rule: dict[str, Any] = {"backendRefs": [backend(given, names.GRPC_PORT)]}
    if told.routing is Routing.MODEL_NAME:
        named = {"type": "Exact", "name": MODEL_HEADER, "value": model_name(given, spec)}
        rule["matches"] = [{"headers": [named]}]
    body = {"parentRefs": parents(told.gateway), "hostnames": list(told.grpc_hostnames), "rules": [rule]}
    return [names.child(given, f"{GATEWAY_API}/v1", "GRPCRoute", given.key.name, spec=body)]
