"""ModelPolicy, the kind that a platform or security team applies: floors that every ModelDeployment of some namespaces must meet.

Cluster-scoped. It refuses; it never changes a ModelDeployment. What can be known from the objects alone is refused at admission, by the
chart's ValidatingAdmissionPolicy; the room `policies/governance` rules on the rest, and on what existed before.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field, StrictBool, StringConstraints

from modelward_operator.api.costbudget import Amount, Currency
from modelward_operator.api.storage import REGISTRY
from modelward_operator.api.types import LabelKey, LabelValue, Matches, Rule, Struct

POLICY_KIND: Final = "ModelPolicy"
POLICY_PLURAL: Final = "modelpolicies"

SignerFingerprint = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Matches(
        r"^sha256:[0-9a-f]{64}$",
        "a fingerprint must be sha256: and 64 lower-case hexadecimal digits, as "
        "`openssl pkey -pubin -in public.pem -outform DER | sha256sum` gives them",
    ),
]
UriPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    Matches(
        rf"^((s3|pvc)://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|oci://{REGISTRY})/([^\x00-\x20\x7f?#]*/)?$",
        "a prefix must be s3://BUCKET/, oci://REGISTRY/ or pvc://CLAIM/, perhaps with a path, and end with /, so that s3://models/ does "
        "not let s3://models-of-others/ in",
    ),
]


ImagePrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    Matches(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)*(/|/[A-Za-z0-9._-]+([:@]|(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?))$",
        "an image must be HOST/PATH/ or HOST/PATH: or HOST/PATH@ for all that begins so, or a whole image reference with a / in it, so "
        "that registry.example/model does not let registry.example/model-of-others in",
    ),
]


class NamespaceSelector(Struct):
    """Selects namespaces by their labels."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(
        default={},
        description="Labels that the namespace must have, all of them. Absent: every namespace. Select by labels that only "
        "administrators may set, as kubernetes.io/metadata.name or modelward.dev/tenant.",
        examples=[{"modelward.dev/tenant": "risk"}],
    )

    def selects(self, labels: Mapping[str, str]) -> bool:
        """True for a namespace with these labels."""
        return self.match_labels.items() <= labels.items()


class MaximumPrice(Struct):
    """What a model may cost per hour."""

    amount: Amount = Field(description="Money per hour, for all replicas of a model together.", examples=["12.5"])
    currency: Currency = Field(description="Of the amount.", examples=["USD"])


class ModelPolicySpec(Struct):
    """What every ModelDeployment of the selected namespaces must meet. Several policies add up."""

    rules = (
        Rule(
            "!has(self.trustedSigners) || size(self.trustedSigners) == 0 || self.requireVerification",
            lambda it: not it.trusted_signers or it.require_verification,
            "trustedSigners needs requireVerification: true, or a model without verification would pass",
        ),
        Rule(
            "self.requireEncryption || self.requireVerification || self.requireDigest || self.requireAuthentication || "
            "self.requirePrivacyPolicy || (has(self.allowedUriPrefixes) && size(self.allowedUriPrefixes) > 0) || "
            "(has(self.allowedImages) && size(self.allowedImages) > 0) || has(self.maximumPricePerHour)",
            lambda it: it.demands,
            "a policy must require something: set one of the fields that begin with require, or allowedUriPrefixes, allowedImages or "
            "maximumPricePerHour",
        ),
    )

    namespace_selector: NamespaceSelector = Field(
        description="Namespaces that the policy holds for. An empty one selects every namespace."
    )
    require_encryption: StrictBool = Field(
        default=False, description="True: security.encryption.mode must be Required, so that only sealed models serve."
    )
    require_verification: StrictBool = Field(
        default=False,
        description="True: security.verification.mode must be Required, so that only signed models serve.",
    )
    require_digest: StrictBool = Field(
        default=False,
        description="True: model.digest must be set, so that an older model, or an older sealing, of the same version does not serve in "
        "the place of the one that was meant.",
    )
    require_authentication: StrictBool = Field(
        default=False,
        description="True: security.authentication.mode must not be None and its allowedSubjects hold no group of everybody "
        "(system:authenticated, system:unauthenticated, system:serviceaccounts), and pods must say that they authenticate callers. An "
        "absent authentication is TokenReview, and meets it.",
    )
    require_privacy_policy: StrictBool = Field(
        default=False,
        description="True: privacy.policyRef must name a PrivacyPolicy. Which one, the namespace chooses.",
    )
    trusted_signers: Annotated[list[SignerFingerprint], Field(max_length=64)] = Field(
        default=[],
        description="Fingerprints (SHA-256 of the public key as DER) of the signers that may be trusted. Every key in "
        "security.verification.trust, or of a CA in it, must be one of them. Empty: any.",
    )
    allowed_uri_prefixes: Annotated[list[UriPrefix], Field(max_length=64)] = Field(
        default=[],
        description="model.uri must begin with one of these. Empty: any. For oci:// a prefix names what lies above a repository. It does "
        "not bound model.storage.endpoint.",
        examples=[["s3://models/risk/", "oci://registry.example/risk/"]],
    )
    allowed_images: Annotated[list[ImagePrefix], Field(max_length=64)] = Field(
        default=[],
        description="runtime.image must be one of these, or begin with one that ends with /, : or @; so must the image of what runs. "
        "Absent or empty, it is the operator's own, which is allowed. Empty list: any. References are compared as they are written.",
        examples=[["registry.example/modelward/", "registry.example/ml/runtime@sha256:" + "0" * 64]],
    )

    maximum_price_per_hour: MaximumPrice | None = Field(
        default=None,
        description="What one model may cost per hour: it gets no more replicas than that pays for. One whose single replica costs more, "
        "whose nodes have no price, or one in another currency, does not serve. Prices are those of the PriceBooks.",
    )

    @property
    def demands(self) -> bool:
        """True when the policy demands anything at all."""
        required = (self.require_encryption, self.require_verification, self.require_digest)
        return any((*required, self.require_authentication, self.require_privacy_policy)) or bool(
            self.allowed_uri_prefixes or self.allowed_images or self.maximum_price_per_hour
        )

    def selects(self, labels: Mapping[str, str]) -> bool:
        """True when the policy holds for a namespace with these labels."""
        return self.namespace_selector.selects(labels)
