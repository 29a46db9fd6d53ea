"""What the activator is told of one model: its ports, who may call, how its pods are known, and whether a request may wake it.

The format is the file contract `activator/v1`; the runtime's `activator/config.py` parses it strictly. Called by `draw.py`; put
together for all models by `routes.py`.
"""

from typing import Any, Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Route
from modelward_operator.plan.certificate import dns_names, is_managed
from modelward_operator.plan.config import max_body_bytes
from modelward_operator.rulings import Ruling, Slot

WORDS_LIMIT: Final = 1024
"""Characters of a refusal that are told to a caller."""


def route(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, ports: tuple[int, int]) -> Route:
    """Return the route of a model that may go to zero."""
    access: dict[str, Any] = {**ruling.parts(Slot.BOOT)["access"]}
    access.pop("tls", None)
    told = refusal(given, ruling)
    body = {
        "namespace": given.key.namespace,
        "name": given.key.name,
        "ports": {"http": ports[0], "grpc": ports[1]},
        "access": access,
        "tls": _tls(given, spec),
        "holdSeconds": spec.scaling.activating.hold_seconds,
        "maxHeld": spec.scaling.activating.max_held,
        "wake": told is None,
        "refusal": told,
        "maxBodyBytes": max_body_bytes(spec),
        "model": {"name": spec.model.name or given.key.name, "version": spec.model.version},
    }
    return Route(body, tuple(ruling.names(Slot.INGRESS)))


def _tls(given: Given, spec: ModelDeploymentSpec) -> Json | None:
    if not is_managed(spec):
        return None
    return {"dnsNames": list(dns_names(given)), "caBundle": given.authority.bundle}


def refusal(given: Given, ruling: Ruling) -> Json | None:
    """Why a request may not wake the model; None where it may."""
    if ruling.denied:
        first = min(ruling.verdicts)
        return _said(first.reason, first.message)
    if ruling.replicas.maximum > 0:
        return None
    told = [a for a in given.cost.allowances if a.reason and (a.maximum == 0 or a.is_suspended)]
    return _said(told[0].reason, told[0].message) if told else _said("ReplicasForbidden", "no replica is allowed now")


def _said(reason: str, message: str) -> Json:
    return {"reason": reason, "message": message[:WORDS_LIMIT]}
