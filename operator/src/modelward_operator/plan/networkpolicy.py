"""The NetworkPolicy: default-deny ingress, opened to declared namespaces, and the admin port to the operator alone."""

from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.rulings import Ruling, Slot


def network_policy(given: Given, ruling: Ruling) -> Json:
    """Return the NetworkPolicy of the serving pods. Kubelet probes come from the node and need no rule."""
    return names.child(
        given,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        given.key.name,
        spec={
            "podSelector": {"matchLabels": names.selector(given.key.name)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [_namespace(name) for name in ruling.names(Slot.INGRESS)],
                    "ports": [_port(names.HTTP_PORT), _port(names.GRPC_PORT)],
                },
                {"from": [_namespace(given.installation.namespace)], "ports": [_port(names.ADMIN_PORT)]},
            ],
        },
    )


def _namespace(name: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {names.NAMESPACE_NAME: name}}}


def _port(number: int) -> Json:
    return {"protocol": "TCP", "port": number}
