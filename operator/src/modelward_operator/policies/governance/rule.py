"""Governance: a model that a ModelPolicy of its namespace forbids does not serve. Asked by `rooms.py`.

Admission has refused most of it already; what is ruled on here is what existed before a policy, what admission cannot see (whose key
lies in a ConfigMap), and what the pods say that they have loaded. Of a spec that cannot be read, only the last is left to rule on.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from modelward_operator.api.access import AuthenticationMode, Subject, SubjectKind
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.security import EncryptionMode, TrustedSigner, VerificationMode
from modelward_operator.facts import Given, Json, Policy
from modelward_operator.policies.governance.pods import in_place, in_pods, is_allowed_image, is_below
from modelward_operator.policies.governance.publickey import fingerprint
from modelward_operator.policies.governance.reasons import MODEL_POLICY_VIOLATED
from modelward_operator.rulings import Ruling, Verdict

EVERYBODY: Final = ("system:authenticated", "system:unauthenticated", "system:serviceaccounts")
"""Groups that hold every caller, or every pod of the cluster: who lets them in asks who calls, and lets nobody out."""


def governance(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Deny while any policy is violated; each policy says everything that violates it."""
    return _denying(
        (
            policy,
            [
                *_in_spec(policy.spec, spec),
                *_in_trust(policy.spec, spec, given),
                *in_pods(policy.spec, given, spec),
            ],
        )
        for policy in given.around.policies
    )


def governance_unread(given: Given) -> Ruling:
    """Rule on a model whose spec cannot be read: by what its pods have loaded; and what was denied before stays denied."""
    denied = any(c["reason"] == MODEL_POLICY_VIOLATED for c in given.raw.get("status", {}).get("conditions", ()))
    before = ["the model was denied before, and its spec cannot be read"] if denied else []
    ruling = _denying(
        (policy, [*in_place(policy.spec, given), *in_pods(policy.spec, given)] or before)
        for policy in given.around.policies
    )
    unread = [
        Verdict("Ready", MODEL_POLICY_VIOLATED, f"{told}; {words}")
        for told in given.around.unread_policies
        for words in before
    ]
    return replace(ruling, verdicts=ruling.verdicts | set(unread))


def _denying(found: Iterable[tuple[Policy, list[str]]]) -> Ruling:
    return Ruling(
        verdicts=frozenset(
            Verdict("Ready", MODEL_POLICY_VIOLATED, f"ModelPolicy {policy.name}: {'; '.join(violations)}")
            for policy, violations in found
            if violations
        )
    )


def _in_spec(policy: ModelPolicySpec, spec: ModelDeploymentSpec) -> list[str]:
    """The chart's ValidatingAdmissionPolicy says the same, in CEL."""
    encryption, verification, authentication = (
        spec.security.encryption,
        spec.security.verification,
        spec.security.authentication,
    )
    prefixes, images, image = policy.allowed_uri_prefixes, policy.allowed_images, spec.runtime.image
    demands = (
        # what the policy demands, whether the spec meets it, what to write
        (
            policy.require_encryption,
            encryption is not None and encryption.mode is EncryptionMode.REQUIRED,
            "spec.security.encryption.mode must be Required",
        ),
        (
            policy.require_verification,
            verification is not None and verification.mode is VerificationMode.REQUIRED,
            "spec.security.verification.mode must be Required",
        ),
        (policy.require_digest, bool(spec.model.digest), "spec.model.digest must be set"),
        (bool(prefixes), is_below(spec.model.uri, prefixes), f"spec.model.uri must begin with {' or '.join(prefixes)}"),
        (
            policy.require_authentication,
            authentication is None or authentication.mode is not AuthenticationMode.NONE,
            "spec.security.authentication.mode must not be None",
        ),
        (
            policy.require_authentication,
            not (authentication and any(map(_is_everybody, authentication.allowed_subjects))),
            f"spec.security.authentication.allowedSubjects must not hold the groups {', '.join(EVERYBODY)}",
        ),
        (policy.require_privacy_policy, spec.privacy is not None, "spec.privacy.policyRef must be set"),
        (
            bool(images and image),
            is_allowed_image(image, images),
            f"spec.runtime.image must be left out, or be or begin with {' or '.join(images)}",
        ),
    )
    return [words for demanded, met, words in demands if demanded and not met]


def _is_everybody(subject: Subject) -> bool:
    return subject.kind is SubjectKind.GROUP and subject.name in EVERYBODY


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
