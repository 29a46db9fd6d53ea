"""Privacy: what the pods need to hold every request to the PrivacyPolicy that the spec names. Asked by `rooms.py`.

It adds sections to policy.json, which pods read live, and what those sections name: key Secrets, a sink's volume, its credentials. The
runtime enforces; whether it does, `status/privacy.py` tells. It denies two things: a policy that is not there, and a budget for each caller
where nobody asks who calls.
No key passes through here. The operator names the Secret, the kubelet mounts it.
"""

import json
from collections.abc import Iterator

from modelward_operator.api.access import AuthenticationMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, PrivacyPolicy
from modelward_operator.plan import names
from modelward_operator.policies.access.rule import authentication_of
from modelward_operator.policies.privacy.epsilon import counts_callers, spending_needs
from modelward_operator.policies.privacy.reasons import CALLERS_UNKNOWN, PRIVACY_POLICY_NOT_FOUND
from modelward_operator.policies.privacy.sections import SECTIONS, sections
from modelward_operator.policies.privacy.sinks import needs_of
from modelward_operator.rulings import Addition, Ruling, Slot, Verdict


def privacy(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Give the pods the rules of the policy that the spec names; deny where it is not there or cannot be kept."""
    if spec.privacy is None or given.around.unread:  # `reconcile.py` holds a model whose policy cannot be read
        return Ruling()
    name = spec.privacy.policy_ref.name
    policy = given.around.privacy.get(name)
    if policy is None:
        message = f"PrivacyPolicy {name} does not exist in namespace {given.key.namespace}: create it, or correct spec.privacy.policyRef"
        verdict = Verdict("PrivacyEnforced", PRIVACY_POLICY_NOT_FOUND, message)
        return Ruling(frozenset({verdict}), additions=frozenset(_as_before(given)))
    additions = frozenset([*_sections(given, spec, policy), *needs_of(policy.spec), *spending_needs(policy)])
    if counts_callers(policy) and authentication_of(spec).mode is AuthenticationMode.NONE:
        message = f"PrivacyPolicy {name} gives each caller a budget: set spec.security.authentication, or the budget's scope to All"
        return Ruling(frozenset({Verdict("PrivacyEnforced", CALLERS_UNKNOWN, message)}), additions=additions)
    return Ruling(additions=additions)


def _sections(given: Given, spec: ModelDeploymentSpec, policy: PrivacyPolicy) -> Iterator[Addition]:
    for section, content in sections(given, spec, policy).items():
        yield Addition(Slot.POLICY, section, names.canonical_json(content))


def _as_before(given: Given) -> Iterator[Addition]:
    """Pods that drain read policy.json until they end: what they are held to must not fall away before them."""
    live = given.child("ConfigMap", names.policy_config_name(given.key.name))
    try:
        policy = json.loads(live.get("data", {}).get("policy.json", ""))
    except (ValueError, RecursionError):
        return  # edited by hand: pods refuse it as well, and hold on to the last good one
    for section in SECTIONS if isinstance(policy, dict) else ():
        if section in policy:
            yield Addition(Slot.POLICY, section, names.canonical_json(policy[section]))
