"""The ledger of a privacy budget: its objects, and the Role and RoleBinding that let the pods write what they spend.

The objects carry no owner, so that no deletion gives a budget back. RBAC cannot limit a creation by name; so the operator creates, and
the pods may read those objects, and update the status of those objects, by name. The verb `spend` exists for the chart's admission
policy alone, which lets nobody else write a ledger.
"""

from typing import Any, Final

from modelward_operator.api.modeldeployment import GROUP, VERSION, ModelDeploymentSpec
from modelward_operator.api.privacyledger import LEDGER_KIND, LEDGER_PLURAL
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.serviceaccount import pods_of
from modelward_operator.rulings import Ruling, Slot

RBAC: Final = "rbac.authorization.k8s.io"


def ledgers(given: Given, ruling: Ruling) -> list[Json]:
    """Return the objects that must exist before anything can be spent."""
    return [_ledger(given, name, spec) for name, spec in ruling.parts(Slot.LEDGER).items()]


def spending(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> list[Json]:
    """Return the Role and the RoleBinding of the pods; none where nothing is spent."""
    named = sorted(ruling.parts(Slot.LEDGER))
    if not named:
        return []
    name = names.spend_role_name(given.key.name)
    rules = [
        _rule(LEDGER_PLURAL, named, ["get", "spend"]),
        _rule(f"{LEDGER_PLURAL}/status", named, ["update"]),
    ]
    reference = {"apiGroup": RBAC, "kind": "Role", "name": name}
    return [
        names.child(given, f"{RBAC}/v1", "Role", name, rules=rules),
        names.child(given, f"{RBAC}/v1", "RoleBinding", name, roleRef=reference, subjects=pods_of(given, spec)),
    ]


def _ledger(given: Given, name: str, spec: dict[str, Any]) -> Json:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": LEDGER_KIND,
        "metadata": {
            "name": name,
            "namespace": given.key.namespace,
            "labels": {names.MANAGED_BY: names.MANAGER},
        },
        "spec": spec,
    }


def _rule(resource: str, named: list[str], verbs: list[str]) -> Json:
    return {"apiGroups": [GROUP], "resources": [resource], "resourceNames": named, "verbs": verbs}
