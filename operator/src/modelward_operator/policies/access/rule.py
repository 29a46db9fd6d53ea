"""Access: the namespaces whose pods may connect to the endpoint. Asked by `rooms.py`."""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.rulings import Addition, Ruling, Slot


def access(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Open the endpoint to the own namespace and to those that `allowFrom` names."""
    policy = spec.security.network_policy
    allowed = {given.key.namespace} | {peer.namespace for peer in (policy.allow_from if policy else ())}
    return Ruling(additions=frozenset(Addition(Slot.INGRESS, namespace, namespace) for namespace in allowed))
