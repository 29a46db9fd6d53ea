"""Read what bears on how a model is exposed: the Gateways that it names, and routes of other models that ask for the same.

All of it is in the store: no request. Gateways are watched where the operator serves; one in another namespace, which it may not read, is
`hidden`. Called by gather.py, once a pass.
"""

from collections.abc import Collection

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.cluster.kinds import GATEWAY
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Given, WayIn
from modelward_operator.plan.exposure import claims, exposure, gateway_of


def way_in(store: Store, given: Given, spec: ModelDeploymentSpec, namespaces: Collection[str]) -> WayIn:
    """Return the facts; `namespaces` are those that the operator serves, none for all."""
    if spec.exposure is None:
        return WayIn()
    refs = spec.exposure.gateway.parent_refs if spec.exposure.gateway else ()
    named = {gateway_of(given, ref) for ref in refs}
    found = {name: store.read(GATEWAY.kind, *name) for name in named}
    asked = frozenset().union(*map(claims, exposure(given, spec)))
    return WayIn(
        gateways={name: gateway for name, gateway in found.items() if gateway},
        hidden=frozenset(name for name in named if namespaces and name[0] not in namespaces),
        rivals=tuple(store.contenders(asked, given.key)),
    )
