"""The Ingress of a model, for clusters without a Gateway: REST alone, because Ingress has no standard word for gRPC."""

from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.httproute import path_of


def ingress(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the Ingress; none where the spec asks for none."""
    told = spec.exposure
    if told is None or told.ingress is None:
        return []
    backend = {"service": {"name": given.key.name, "port": {"number": names.HTTP_PORT}}}
    paths = [{"path": path_of(given, spec, told), "pathType": "Prefix", "backend": backend}]
    body: dict[str, Any] = {"rules": [{"host": hostname, "http": {"paths": paths}} for hostname in told.hostnames]}
    if told.ingress.ingress_class_name:
        body["ingressClassName"] = told.ingress.ingress_class_name
    if tls := told.ingress.tls:
        named = {"secretName": tls.secret_name} if tls.secret_name else {}
        body["tls"] = [{"hosts": list(told.hostnames), **named}]
    made = names.child(given, "networking.k8s.io/v1", "Ingress", given.key.name, spec=body)
    if told.ingress.annotations:
        made["metadata"]["annotations"] = dict(told.ingress.annotations)
    return [made]
