"""Governance: a model that a ModelPolicy of its namespace forbids does not serve. Asked by `rooms.py`.

Admission has refused most of it already; what is ruled on here is what existed before a policy, what admission cannot see (whose key
lies in a ConfigMap), and what the pods say that they have loaded. Of a spec that cannot be read, only the last is left to rule on.
"""

import base64
from collections.abc import Iterable, Iterator
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.security import EncryptionMode, TrustedSigner, VerificationMode
from modelward_operator.facts import Given, Json, Pod, Policy
from modelward_operator.policies.governance.publickey import FINGERPRINT, fingerprint
from modelward_operator.policies.governance.reasons import POLICY_VIOLATED
from modelward_operator.rulings import Ruling, Verdict

MUTE_LIMIT: Final = 70.0
"""Seconds after which a pod that is ready and does not report is a violation: the age of a report that is believed, and a minute."""


def governance(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Deny while any policy is violated; each policy says everything that violates it."""
    return _denying(
        (policy, [*_in_spec(policy.spec, spec), *_in_trust(policy.spec, spec, given), *_in_pods(policy.spec, given)])
        for policy in given.around.policies
    )


def governance_unread(given: Given) -> Ruling:
    """Rule on a model whose spec cannot be read: by what its pods have loaded; and what was denied before stays denied."""
    denied = any(c["reason"] == POLICY_VIOLATED for c in given.raw.get("status", {}).get("conditions", ()))
    before = ["the model was denied before, and its spec cannot be read"] if denied else []
    return _denying(
        (policy, [*_in_place(policy.spec, given), *_in_pods(policy.spec, given)] or before)
        for policy in given.around.policies
    )


def _denying(found: Iterable[tuple[Policy, list[str]]]) -> Ruling:
    return Ruling(
        verdicts=frozenset(
            Verdict("Ready", POLICY_VIOLATED, f"ModelPolicy {policy.name}: {'; '.join(violations)}")
            for policy, violations in found
            if violations
        )
    )


def _in_spec(policy: ModelPolicySpec, spec: ModelDeploymentSpec) -> Iterator[str]:
    """The chart's ValidatingAdmissionPolicy says the same, in CEL."""
    encryption, verification = spec.security.encryption, spec.security.verification
    if policy.require_encryption and not (encryption and encryption.mode is EncryptionMode.REQUIRED):
        yield "spec.security.encryption.mode must be Required"
    if policy.require_verification and not (verification and verification.mode is VerificationMode.REQUIRED):
        yield "spec.security.verification.mode must be Required"
    if policy.require_digest and not spec.model.digest:
        yield "spec.model.digest must be set"
    if policy.allowed_uri_prefixes and not _is_below(spec.model.uri, policy.allowed_uri_prefixes):
        yield f"spec.model.uri must begin with {' or '.join(policy.allowed_uri_prefixes)}"


def _in_trust(policy: ModelPolicySpec, spec: ModelDeploymentSpec, given: Given) -> Iterator[str]:
    """A key that is not there violates nothing: the kubelet starts no pod without it."""
    verification = spec.security.verification
    if not policy.trusted_signers or verification is None:
        return
    for signer in sorted(verification.trust, key=lambda signer: signer.name):
        for content in _mounted(given.around.trust.get(signer.key_ref.name, {}), signer.key_ref.key):
            found = fingerprint(content.decode("ascii", "replace"))
            if not found:
                yield f"trust {signer.name}: {_place(signer)} is not one P-256 public key or certificate in PEM and nothing else"
            elif found not in policy.trusted_signers:
                yield f"trust {signer.name}: {_place(signer)} has the fingerprint {found}, which is not one of trustedSigners"


def _mounted(config_map: Json, key: str) -> Iterator[bytes]:
    """Yield what the kubelet would mount, be it kept as text or as bytes; nothing when it is not there."""
    if key in (config_map.get("data") or {}):
        yield str(config_map["data"][key]).encode("utf-8", "replace")
    elif key in (config_map.get("binaryData") or {}):
        yield base64.b64decode(config_map["binaryData"][key])


def _place(signer: TrustedSigner) -> str:
    return f"the key {signer.key_ref.key} of ConfigMap {signer.key_ref.name}"


def _in_place(policy: ModelPolicySpec, given: Given) -> Iterator[str]:
    """Where pods say that their model came from: asked only without a spec, which says it better."""
    for pod in _serving(given):
        uri = str(pod.loaded.get("model", {}).get("uri", ""))
        if pod.loaded and policy.allowed_uri_prefixes and not _is_below(uri, policy.allowed_uri_prefixes):
            yield f"pod {pod.raw['metadata']['name']} has loaded a model from elsewhere than {' or '.join(policy.allowed_uri_prefixes)}"


def _is_below(uri: str, prefixes: Iterable[str]) -> bool:
    return any(map(f"{uri}/".startswith, prefixes))


def _serving(given: Given) -> list[Pod]:
    pods = [pod for pod in given.pods if not pod.over and "deletionTimestamp" not in pod.raw["metadata"]]
    return sorted(pods, key=lambda pod: str(pod.raw["metadata"]["name"]))


def _in_pods(policy: ModelPolicySpec, given: Given) -> Iterator[str]:
    """What pods have loaded under another spec or another trust. They say it themselves: this is a second lock, not the first."""
    for pod in _serving(given):
        name = pod.raw["metadata"]["name"]
        if not pod.loaded:
            if pod.mute >= MUTE_LIMIT and _asks_pods(policy):
                yield f"pod {name} is ready and has not said for {MUTE_LIMIT:.0f} s what it has loaded"
            continue
        loaded, signer = pod.loaded.get("model", {}), _reported_signer(pod)
        if policy.require_encryption and loaded.get("encrypted") is not True:
            yield f"pod {name} has loaded a model that was not sealed"
        if policy.require_digest and loaded.get("verified") is not True:
            yield f"pod {name} has loaded a model whose digest was not declared"
        if policy.require_verification and not signer:
            yield f"pod {name} has loaded a model whose signature was not verified"
        elif policy.trusted_signers and signer not in policy.trusted_signers:
            yield f"pod {name} has loaded a model of the signer {signer}, not one of trustedSigners"


def _asks_pods(policy: ModelPolicySpec) -> bool:
    """True for a policy whose demands are about what a pod has loaded, and not only about where from."""
    return policy.require_encryption or policy.require_verification or policy.require_digest


def _reported_signer(pod: Pod) -> str:
    """Return the fingerprint of the trusted key that the pod reports, a CA's where one is; what has not its form counts as none."""
    signer = pod.loaded.get("model", {}).get("signer")
    found = str(signer.get("authority", signer.get("fingerprint"))) if isinstance(signer, dict) else ""
    return found if FINGERPRINT.fullmatch(found) else ""
