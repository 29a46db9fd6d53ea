"""Governance: a model that a ModelPolicy of its namespace forbids does not serve. Asked by `rooms.py`.

Admission has refused most of it already; what is ruled on here is what existed before a policy, what admission cannot see (whose key
lies in a ConfigMap), and what the pods say that they have loaded.
"""

import base64
from collections.abc import Iterator

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.security import EncryptionMode, TrustedSigner, VerificationMode
from modelward_operator.facts import Given, Json, Pod
from modelward_operator.policies.governance.publickey import FINGERPRINT, fingerprint
from modelward_operator.policies.governance.reasons import POLICY_VIOLATED
from modelward_operator.rulings import Ruling, Verdict


def governance(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Deny while any policy is violated; each policy says everything that violates it."""
    verdicts = set()
    for policy in given.around.policies:
        found = [*_in_spec(policy.spec, spec), *_in_trust(policy.spec, spec, given), *_in_pods(policy.spec, given)]
        if found:
            verdicts.add(Verdict("Ready", POLICY_VIOLATED, f"ModelPolicy {policy.name}: {'; '.join(found)}"))
    return Ruling(verdicts=frozenset(verdicts))


def _in_spec(policy: ModelPolicySpec, spec: ModelDeploymentSpec) -> Iterator[str]:
    """The chart's ValidatingAdmissionPolicy says the same, in CEL."""
    encryption, verification = spec.security.encryption, spec.security.verification
    if policy.require_encryption and not (encryption and encryption.mode is EncryptionMode.REQUIRED):
        yield "spec.security.encryption.mode must be Required"
    if policy.require_verification and not (verification and verification.mode is VerificationMode.REQUIRED):
        yield "spec.security.verification.mode must be Required"
    if policy.allowed_uri_prefixes and not any(map(f"{spec.model.uri}/".startswith, policy.allowed_uri_prefixes)):
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


def _in_pods(policy: ModelPolicySpec, given: Given) -> Iterator[str]:
    """What pods have loaded under another spec or another trust. They say it themselves: this is a second lock, not the first."""
    for pod in sorted(given.pods, key=lambda pod: str(pod.raw["metadata"]["name"])):
        if pod.over or "deletionTimestamp" in pod.raw["metadata"] or pod.report.get("state") != "Ready":
            continue
        loaded = pod.report.get("model", {})
        name, signer = pod.raw["metadata"]["name"], _reported_signer(pod)
        if policy.require_encryption and loaded.get("encrypted") is not True:
            yield f"pod {name} has loaded a model that was not sealed"
        if policy.require_verification and not signer:
            yield f"pod {name} has loaded a model whose signature was not verified"
        elif policy.trusted_signers and signer not in policy.trusted_signers:
            yield f"pod {name} has loaded a model of the signer {signer}, not one of trustedSigners"


def _reported_signer(pod: Pod) -> str:
    """Return the fingerprint that the pod reports; what has not its form counts as none."""
    signer = pod.report.get("model", {}).get("signer")
    found = str(signer.get("fingerprint")) if isinstance(signer, dict) else ""
    return found if FINGERPRINT.fullmatch(found) else ""
