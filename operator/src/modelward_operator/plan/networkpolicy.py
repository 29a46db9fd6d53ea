"""The NetworkPolicy: default-deny both ways, opened to declared namespaces and to what the spec needs.

The admin port is open to the operator's namespace alone.
"""

from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.activation import needs_activator
from modelward_operator.plan.egress import Egress
from modelward_operator.rulings import Ruling, Slot


def network_policy(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, out: Egress) -> Json:
    """Return the NetworkPolicy of the serving pods, whose way out is `out`. Kubelet probes come from the node and need no rule."""
    rules: dict[str, Any] = {
        "podSelector": {"matchLabels": names.selector(given.key.name)},
        "policyTypes": ["Ingress"] if out.rules is None else ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [peer(name) for name in ruling.names(Slot.INGRESS)],
                "ports": [_port(names.HTTP_PORT), _port(names.GRPC_PORT)],
            },
            {"from": [_namespace(given.installation.namespace)], "ports": [_port(names.ADMIN_PORT)]},
            *([_activator(given)] if needs_activator(given, spec) else ()),
        ],
    }
    if out.rules:
        rules["egress"] = out.rules
    policy = names.child(given, "networking.k8s.io/v1", "NetworkPolicy", given.key.name, spec=rules)
    if out.looked_up:
        policy["metadata"]["annotations"] = {names.OPENED: names.canonical_json(out.looked_up)}
    return policy


def _activator(given: Given) -> Json:
    """It forwards what came while there were no pods; who may come to it, `routes.py` says."""
    pods = {"podSelector": {"matchLabels": dict(names.ACTIVATOR_PODS)}}
    return {
        "from": [{**_namespace(given.installation.namespace), **pods}],
        "ports": [_port(names.HTTP_PORT), _port(names.GRPC_PORT)],
    }


def peer(name: str) -> Json:
    """Return one who may connect: the pods of a namespace, or a network in CIDR form."""
    return {"ipBlock": {"cidr": name}} if "/" in name else _namespace(name)


def _namespace(name: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {names.NAMESPACE_NAME: name}}}


def _port(number: int) -> Json:
    return {"protocol": "TCP", "port": number}
