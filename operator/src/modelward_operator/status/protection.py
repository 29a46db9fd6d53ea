"""ModelVerified and ModelDecrypted: what the loaded pods report, not what the spec wishes. Called by `aspects.py`.

A pod that is ready under `Required` has verified and decrypted, or the runtime would not be ready; that it says so, and who signed, is
asked for all the same. While no report can be read, what was known of this spec stands.
"""

from collections.abc import Sequence

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.security import Verification, VerificationMode
from modelward_operator.facts import Given, Pod
from modelward_operator.policies.encryption.rule import required_key
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import Diagnosis
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet
from modelward_operator.status.reported import Seal, seal_of


def verified(given: Given, spec: ModelDeploymentSpec, fleet: Fleet, diagnosis: Diagnosis | None) -> list[Finding]:
    """Return ModelVerified, where a digest or a signature is asked for or one of them is what failed."""
    asked = bool(spec.model.digest or spec.security.verification)
    if not fleet.loaded:
        return _not_loaded(Type.MODEL_VERIFIED, diagnosis, "no pod has checked the model yet", asked=asked)
    if spec.security.verification is not None:
        return [_signed(given, spec, spec.security.verification, fleet.loaded)]
    digest = f"the stored model is {spec.model.digest}"
    return [Finding(Type.MODEL_VERIFIED, "True", Reason.DIGEST_MATCHES, digest)] if asked else []


def decrypted(given: Given, spec: ModelDeploymentSpec, fleet: Fleet, diagnosis: Diagnosis | None) -> list[Finding]:
    """Return ModelDecrypted, where the model must be sealed or its seal is what failed."""
    asked = required_key(spec.security.encryption) is not None
    if not fleet.loaded:
        return _not_loaded(Type.MODEL_DECRYPTED, diagnosis, "no pod has decrypted the model yet", asked=asked)
    return [_opened(given, fleet.loaded)] if asked else []


def _not_loaded(type_: Type, diagnosis: Diagnosis | None, message: str, *, asked: bool) -> list[Finding]:
    if diagnosis and diagnosis.type is type_:
        return [Finding(type_, "False", diagnosis.reason, diagnosis.message)]
    return [Finding(type_, "Unknown", Reason.STARTING, message)] if asked else []


def _signed(given: Given, spec: ModelDeploymentSpec, rules: Verification, loaded: Sequence[Pod]) -> Finding:
    seals, blocks = _seals(loaded), rules.mode is VerificationMode.REQUIRED
    for name, seal in seals:
        if seal.warning:
            message = f"pod {name} serves without a signature that holds: {seal.warning}"[:1024]
            return Finding(Type.MODEL_VERIFIED, "False", Reason.SIGNATURE_WARNING, message, blocks=blocks)
        if not seal.fingerprint:
            message = f"pod {name} does not report who signed its model; is its image older than the operator?"
            return Finding(Type.MODEL_VERIFIED, "False", Reason.SIGNATURE_UNREPORTED, message, blocks=blocks)
    if not seals:
        return _known_before(given, Type.MODEL_VERIFIED, blocks=blocks)
    signers = sorted({f"{seal.signer} ({seal.fingerprint})" for _, seal in seals})
    digest = f"; the stored model is {spec.model.digest}" if spec.model.digest else ""
    return Finding(
        Type.MODEL_VERIFIED, "True", Reason.SIGNATURE_VALID, f"signed by {', '.join(signers)}{digest}"[:1024]
    )


def _opened(given: Given, loaded: Sequence[Pod]) -> Finding:
    seals = _seals(loaded)
    for name, seal in seals:
        if not seal.encrypted:
            message = f"pod {name} does not report that its model was sealed; is its image older than the operator?"
            return Finding(Type.MODEL_DECRYPTED, "False", Reason.ENCRYPTION_UNREPORTED, message)
    if not seals:
        return _known_before(given, Type.MODEL_DECRYPTED)
    keys = sorted({_key(seal) for _, seal in seals})
    return Finding(Type.MODEL_DECRYPTED, "True", Reason.DECRYPTED, f"opened with {', '.join(keys)}"[:1024])


def _seals(loaded: Sequence[Pod]) -> list[tuple[str, Seal]]:
    return [(pod.raw["metadata"]["name"], seal_of(pod.report)) for pod in loaded if pod.report]


def _key(seal: Seal) -> str:
    return f"key {seal.key_id or 'unnamed'}" + (f", version {seal.key_version}" if seal.key_version else "")


def _known_before(given: Given, type_: Type, *, blocks: bool = True) -> Finding:
    """Pods are ready, and for a moment none of them answers. What kept them from loading before is past."""
    for condition in given.raw.get("status", {}).get("conditions", ()):
        if (condition["type"], condition.get("observedGeneration")) != (type_, given.generation):
            continue
        if condition["status"] == "True" or condition["reason"] == Reason.SIGNATURE_WARNING:
            return Finding(type_, condition["status"], condition["reason"], condition["message"], blocks=blocks)
    return Finding(type_, "Unknown", Reason.STARTING, "the pods are ready and have not reported yet", blocks=blocks)
