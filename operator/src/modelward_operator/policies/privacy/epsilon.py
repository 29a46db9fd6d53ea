"""What `output.differentialPrivacy` of a PrivacyPolicy needs: its section of policy.json, the ledger's objects, and the way to them.

Called by `sections.py` and `rule.py`. The pods read and write the ledger with their own token, by a Role that names its objects; the
operator makes those objects where they are missing, and no deletion of a model or policy takes them away.
"""

from collections.abc import Iterator
from typing import Any

from modelward_operator.api.differentialprivacy import DifferentialPrivacy, Scope
from modelward_operator.api.privacyledger import ledger_names
from modelward_operator.facts import Given, PrivacyPolicy
from modelward_operator.plan import names
from modelward_operator.policies.apiserver import api_files, api_volume
from modelward_operator.rulings import Addition, Slot, volume


def epsilon_section(given: Given, policy: PrivacyPolicy, rules: DifferentialPrivacy) -> dict[str, Any]:
    """Return the section as the runtime reads it: with the ledger's place, and files for Secrets."""
    section = rules.model_dump(mode="json", by_alias=True, exclude_none=True)
    section["ledger"] = {"namespace": given.key.namespace, "policy": policy.name, **api_files()}
    if section.pop("subjectKeyRef", None):
        section["ledger"]["keyFile"] = f"{names.EPSILON_DIR}/key"
    return section


def spending_needs(policy: PrivacyPolicy) -> Iterator[Addition]:
    """Yield the ledger's objects, and what the pods need to reach them."""
    rules = _rules(policy)
    if rules is None:
        return
    for name, shard in ledger_names(policy.name, everybody=rules.budget.scope is Scope.ALL):
        yield Addition(Slot.LEDGER, name, names.canonical_json({"policy": policy.name, "shard": shard}))
    yield Addition(Slot.EGRESS, names.API_SERVER, names.API_SERVER)
    yield api_volume()
    if key := rules.subject_key_ref:
        items = [{"key": key.key, "path": "key"}]
        source = {"secret": {"secretName": key.name, "items": items, "defaultMode": 0o444}}
        yield volume("epsilon-key", names.EPSILON_DIR, source)


def counts_callers(policy: PrivacyPolicy) -> bool:
    """True when each caller has a budget of their own."""
    rules = _rules(policy)
    return rules is not None and rules.budget.scope is Scope.SUBJECT


def _rules(policy: PrivacyPolicy) -> DifferentialPrivacy | None:
    return policy.spec.output.differential_privacy if policy.spec.output else None
