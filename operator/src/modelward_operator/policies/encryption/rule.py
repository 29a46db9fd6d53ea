"""Encryption: what the runtime needs to hold a model to its seal and its signature. Asked by `rooms.py`.

It adds; whether the seal and the signature hold, only the runtime can know, and it does not become ready otherwise. It denies one thing,
a tenant that two namespaces claim.
No key passes through here. The operator names the Secret, the kubelet mounts it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.security import AwsKms, Encryption, EncryptionMode, KeyRef, TrustedSigner, VaultTransit
from modelward_operator.facts import Given, Policy
from modelward_operator.plan import names
from modelward_operator.policies.encryption.reasons import TENANT_AMBIGUOUS
from modelward_operator.rulings import Addition, Ruling, Slot, Verdict, volume


def encryption(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Give the pods the keys and the trust that the spec names, and the tenant that the cluster says."""
    key_ref = required_key(spec.security.encryption)
    verification = spec.security.verification
    if key_ref is None and verification is None:
        return Ruling()
    section: dict[str, Any] = {"tenant": names.tenant(given)}
    additions: list[Addition] = []
    if key_ref is not None:
        section["encryption"] = {"mode": "Required", "keys": _keys(key_ref)}
        additions += _key_additions(key_ref)
    if verification is not None:
        section["verification"] = {
            "mode": verification.mode.value,
            "trustDirectory": names.TRUST_DIR,
            **_permitted(given.around.policies),
        }
        additions.append(volume("trust", names.TRUST_DIR, _trust(verification.trust)))
    additions.append(Addition(Slot.BOOT, "security", names.canonical_json(section)))
    return Ruling(frozenset(_ambiguous(given)) if key_ref is not None else frozenset(), additions=frozenset(additions))


def _ambiguous(given: Given) -> Iterator[Verdict]:
    """Whoever may create a namespace could else be the tenant of its name, and open what was sealed for a labelled one."""
    if other := given.around.tenant_claimed_by:
        yield Verdict(
            "Ready",
            TENANT_AMBIGUOUS,
            f"namespace {given.key.namespace} has no label {names.TENANT_LABEL}, and its name is the tenant of namespace {other} by label: "
            f"label {given.key.namespace} with its own tenant",
        )


def _permitted(policies: Iterable[Policy]) -> dict[str, list[str]]:
    """Return the fingerprints that every policy permits: the runtime compares as well, what it reads may not be what was compared here."""
    lists = [set(policy.spec.trusted_signers) for policy in policies if policy.spec.trusted_signers]
    return {"signers": sorted(set.intersection(*lists))} if lists else {}


def required_key(rules: Encryption | None) -> KeyRef | None:
    """Return the key of a model that must be sealed; None where encryption is off."""
    return rules.key_ref if rules is not None and rules.mode is EncryptionMode.REQUIRED else None


def _keys(ref: KeyRef) -> dict[str, Any]:
    """Return `security.encryption.keys` of boot.json."""
    if ref.vault is not None:
        return {"provider": "Vault", **_vault(ref.vault)}
    if ref.aws_kms is not None:
        return {"provider": "AWSKMS", **_kms(ref.aws_kms)}
    return {"provider": "Secret", "directory": names.KEK_DIR}


def _vault(vault: VaultTransit) -> dict[str, str]:
    keys = {
        "address": vault.address,
        "key": vault.key,
        "role": vault.role,
        "tokenFile": f"{names.VAULT_TOKEN_DIR}/token",
        "mount": vault.mount,
        "authPath": vault.auth_path,
    }
    if vault.namespace:
        keys["namespace"] = vault.namespace
    if vault.ca_bundle_ref:
        keys["caBundleFile"] = f"{names.VAULT_CA_DIR}/ca.crt"
    return keys


def _kms(kms: AwsKms) -> dict[str, str]:
    return {"key": kms.key, "region": kms.region, **({"endpoint": kms.endpoint} if kms.endpoint else {})}


def _key_additions(ref: KeyRef) -> Iterator[Addition]:
    if ref.name is not None:
        # Every user of the pod may read the file, and there is one: the runtime's. It is in memory, and no other pod sees it.
        yield volume("kek", names.KEK_DIR, {"secret": {"secretName": ref.name, "defaultMode": 0o444}})
    for url in _services(ref):
        yield Addition(Slot.EGRESS, url, url)
    if ref.vault is not None:
        token = {"audience": "vault", "expirationSeconds": names.VAULT_TOKEN_SECONDS, "path": "token"}
        yield volume("vault-token", names.VAULT_TOKEN_DIR, {"projected": {"sources": [{"serviceAccountToken": token}]}})
        if ref.vault.ca_bundle_ref is not None:
            items = [{"key": "ca.crt", "path": "ca.crt"}]
            source = {"configMap": {"name": ref.vault.ca_bundle_ref.name, "items": items}}
            yield volume("vault-ca", names.VAULT_CA_DIR, source)
    if ref.aws_kms is not None and ref.aws_kms.secret_ref is not None:
        yield Addition(Slot.CREDENTIALS, "AWS", ref.aws_kms.secret_ref.name)


def _services(ref: KeyRef) -> Iterator[str]:
    """Return what the pods must reach for a key; without credentials of its own, KMS also needs who gives the pod's identity some."""
    if ref.vault is not None:
        yield ref.vault.address
    if ref.aws_kms is not None:
        yield ref.aws_kms.endpoint or f"https://kms.{ref.aws_kms.region}.amazonaws.com"
        if ref.aws_kms.secret_ref is None:
            yield f"https://sts.{ref.aws_kms.region}.amazonaws.com"
            yield names.EKS_POD_IDENTITY


def _trust(signers: Iterable[TrustedSigner]) -> dict[str, Any]:
    """Return one directory out of the signers' ConfigMaps, a NAME.pem each; by name, so that their order rolls no pods."""
    sources = [
        {
            "configMap": {
                "name": signer.key_ref.name,
                "items": [{"key": signer.key_ref.key, "path": f"{signer.name}.pem"}],
            }
        }
        for signer in sorted(signers, key=lambda signer: signer.name)
    ]
    return {"projected": {"sources": sources}}
