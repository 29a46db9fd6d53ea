"""The BackendTLSPolicy of a model whose pods serve TLS behind a Gateway: that the gateway speaks TLS to them, and whom it must find there.

With a managed certificate it trusts the operator's CA, and the activator's where that may answer, by the ConfigMap that all clients use;
with a certificate of the user's own, what `exposure.gateway.backendTls` says.
"""

from typing import Any

from modelward_operator.api.exposure import BackendTls
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.certificate import dns_names, is_managed
from modelward_operator.plan.httproute import GATEWAY_API


def backend_tls_policy(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the BackendTLSPolicy; none without a gateway, or where the pods serve no TLS."""
    gateway = spec.exposure.gateway if spec.exposure else None
    if gateway is None or not (is_managed(spec) or gateway.backend_tls):
        return []
    target = {"group": "", "kind": "Service", "name": given.key.name}
    body = {"targetRefs": [target], "validation": _validation(given, gateway.backend_tls)}
    return [names.child(given, f"{GATEWAY_API}/v1", "BackendTLSPolicy", given.key.name, spec=body)]


def _validation(given: Given, told: BackendTls | None) -> dict[str, Any]:
    if told is None:
        return {"caCertificateRefs": [_bundle(names.tls_name(given.key.name))], "hostname": dns_names(given)[0]}
    if told.ca_bundle_ref is None:
        return {"wellKnownCACertificates": "System", "hostname": told.hostname}
    return {"caCertificateRefs": [_bundle(told.ca_bundle_ref.name)], "hostname": told.hostname}


def _bundle(name: str) -> Json:
    return {"group": "", "kind": "ConfigMap", "name": name}
