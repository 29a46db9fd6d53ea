"""`spec.security` of a ModelDeployment: whose keys open the model, whose signature counts, who may call.

Read by `modeldeployment.py`; who may call is in `access.py`, who may connect in `network.py`. The rooms `policies/encryption` and
`policies/access` enforce it, the runtime does the cryptography. A key provider is an enum value plus a struct of its own, and exactly
the provider's struct is present, as Kubernetes' unions are.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from modelward_operator.api.access import Authentication, RateLimit, Tls
from modelward_operator.api.network import NetworkPolicyRules
from modelward_operator.api.types import (
    ListedBy,
    LocalObjectRef,
    Matches,
    ObjectKey,
    ObjectName,
    Region,
    Rule,
    Struct,
)

ServiceUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    Matches(
        r"^https?://[^\x00-\x20\x7f/?#@]+/?$",
        "must be https:// (http:// only for a test), a host and perhaps a port, without path, query or credentials",
    ),
]
"""Where a key service listens."""

VaultPath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Matches(
        r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
        "must be a path of Vault without a slash at either end: letters, digits, ., _ and -, for example transit or teams/risk",
    ),
]
VaultName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Matches(
        r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", "must be a name in Vault: letters, digits, ., _ and -, not beginning with ."
    ),
]


class KeyProvider(StrEnum):
    """Who keeps the key-encryption keys."""

    SECRET = "Secret"  # noqa: S105  a kind, not a secret
    VAULT = "Vault"
    AWS_KMS = "AWSKMS"


class VaultTransit(Struct):
    """A key of Vault's Transit engine. The pod logs in with its own service-account token (audience `vault`)."""

    rules = (
        Rule(
            "!has(self.caBundleRef) || !self.address.startsWith('http://')",
            lambda it: not (it.ca_bundle_ref and it.address.startswith("http://")),
            "caBundleRef needs TLS: write the address with https://, or leave caBundleRef out",
        ),
    )

    address: ServiceUrl = Field(description="URL of Vault.", examples=["https://vault.vault.svc:8200"])
    key: VaultName = Field(description="Name of the Transit key.", examples=["models"])
    role: VaultName = Field(description="Role of the Kubernetes auth method to log in with.", examples=["fraud"])
    mount: VaultPath = Field(default="transit", description="Where the Transit engine is mounted.")
    auth_path: VaultPath = Field(default="kubernetes", description="Where the Kubernetes auth method is mounted.")
    namespace: VaultPath | None = Field(default=None, description="Vault namespace, for an edition that has them.")
    ca_bundle_ref: LocalObjectRef | None = Field(
        default=None,
        description="ConfigMap whose key ca.crt holds the PEM certificates to trust, for a Vault with a private CA.",
    )


class AwsKms(Struct):
    """A key of AWS KMS."""

    key: Annotated[
        str,
        StringConstraints(min_length=1, max_length=253),
        Matches(
            r"^[A-Za-z0-9:/_-]+$",
            "key must be a KMS key's ID or ARN, or an alias as alias/NAME: letters, digits, :, /, _ and -",
        ),
    ] = Field(
        description="ID, ARN or alias of the key, spelled as when the model was sealed.",
        examples=["arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    region: Region = Field(description="Region of the key.", examples=["eu-central-1"])
    endpoint: ServiceUrl | None = Field(default=None, description="URL of a KMS other than AWS's public one.")
    secret_ref: LocalObjectRef | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN when there is one; the "
        "object store is read with them as well. Absent: those of model.storage.secretRef, else the pod's workload identity.",
    )


class KeyRef(Struct):
    """Where the key-encryption keys are."""

    rules = (
        Rule(
            "(self.provider == 'Secret') == has(self.name) && (self.provider == 'Vault') == has(self.vault) && "
            "(self.provider == 'AWSKMS') == has(self.awsKms)",
            lambda it: (
                (it.provider is KeyProvider.SECRET) == (it.name is not None)
                and (it.provider is KeyProvider.VAULT) == (it.vault is not None)
                and (it.provider is KeyProvider.AWS_KMS) == (it.aws_kms is not None)
            ),
            "keyRef holds what its provider needs and nothing else: name for Secret, vault for Vault, awsKms for AWSKMS",
        ),
    )

    provider: KeyProvider = Field(description="Who keeps the keys.")
    name: ObjectName | None = Field(
        default=None,
        description="Secret: its name. Each of its data keys is a key's ID, each value a key of `modelward keygen kek`.",
        examples=["fraud-kek"],
    )
    vault: VaultTransit | None = Field(default=None, description="A key of Vault's Transit engine.")
    aws_kms: AwsKms | None = Field(default=None, description="A key of AWS KMS.")


class EncryptionMode(StrEnum):
    """Whether the model must be sealed."""

    REQUIRED = "Required"
    DISABLED = "Disabled"


class Encryption(Struct):
    """The model must be sealed, and these keys open it."""

    rules = (
        Rule(
            "(self.mode == 'Required') == has(self.keyRef)",
            lambda it: (it.mode is EncryptionMode.REQUIRED) == (it.key_ref is not None),
            "mode Required needs a keyRef that opens the model; mode Disabled takes none",
        ),
    )

    mode: EncryptionMode = Field(
        description="Required: a model that is not sealed does not serve. Disabled: as if encryption were absent."
    )
    key_ref: KeyRef | None = Field(default=None, description="Where the key-encryption keys are.")


class VerificationMode(StrEnum):
    """What a signature that does not hold means."""

    REQUIRED = "Required"
    WARN = "Warn"


class TrustedKeyRef(Struct):
    """Names one public key: a key of a ConfigMap, because public keys are no secrets."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the ModelDeployment's own namespace.")
    key: ObjectKey = Field(
        default="public.pem",
        description="Key in the ConfigMap that holds one P-256 public key in PEM, or a certificate of one, which counts until it expires, "
        "or the certificate of a CA (P-256) that issues certificates for code signing to signers. Absent: public.pem.",
    )


class TrustedSigner(Struct):
    """One signer whose signature counts."""

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=63),
        Matches(
            r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "name must be lower-case letters, digits and -, with a letter or digit at both ends: status.model.signer says it",
        ),
    ] = Field(description="What the status calls this signer.", examples=["ci"])
    key_ref: TrustedKeyRef = Field(description="The signer's public key, or the CA that certifies signers.")


class Verification(Struct):
    """The model must be signed by one of these signers."""

    mode: VerificationMode = Field(
        description="Required: without a signature that holds, the model does not serve. Warn: it serves, and ModelVerified says so."
    )
    trust: Annotated[list[TrustedSigner], Field(min_length=1, max_length=16), ListedBy("name")] = Field(
        description="Signers whose signature counts; one of them is enough."
    )


class Security(Struct):
    """What protects the model and its endpoint."""

    rules = (
        Rule(
            "!has(self.encryption) || self.encryption.mode != 'Required' || "
            "(has(self.verification) && self.verification.mode == 'Required')",
            lambda it: not _sealed(it) or (it.verification and it.verification.mode is VerificationMode.REQUIRED),
            "encryption.mode Required needs verification.mode Required with at least one signer in trust: "
            "what was encrypted by anybody proves nothing",
        ),
    )

    encryption: Encryption | None = Field(
        default=None, description="The model must be sealed. Absent: a sealed model is refused, a plain one is not."
    )
    verification: Verification | None = Field(
        default=None, description="The model must be signed. Absent: nobody's signature is asked for."
    )
    authentication: Authentication | None = Field(
        default=None,
        description="Who may call. Absent: mode TokenReview, so that only who has the right `create` on `modeldeployments/predict` "
        "of this name is answered; mode None must be written out.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Encryption on the way. Absent: off, and tokens travel in clear, which EndpointSecured says.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="How much one subject may call. Absent: no limit but the queue's."
    )
    network_policy: NetworkPolicyRules | None = Field(
        default=None,
        description="Who may connect, and where to. Absent: the pods of the own namespace only, and egress Restricted; and a network "
        "plug-in that does not enforce it is told of, but does not keep the model from being Ready.",
    )


def _sealed(security: Security) -> bool:
    return security.encryption is not None and security.encryption.mode is EncryptionMode.REQUIRED
