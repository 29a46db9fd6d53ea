"""`spec.security.authentication`, `.tls` and `.rateLimit` of a ModelDeployment: who may call, over what, and how much.

Read by `security.py`. The room `policies/access` hands it to the runtime, which asks before it reads a request's body.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints
from pydantic_core import SchemaValidator, core_schema

from modelward_operator.api.types import (
    DNS_SUBDOMAIN,
    LocalObjectRef,
    Matches,
    NamespaceName,
    Rule,
    Struct,
)

AUDIENCE: Final = "modelward.dev"
"""The audience of a token that says none of its own."""

_DNS_SUBDOMAIN: Final = SchemaValidator(core_schema.str_schema(pattern=DNS_SUBDOMAIN))

Word = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Matches(r"^[\x21-\x7e]+$", "must be printable ASCII without spaces, spelled as the token spells it"),
]
"""A string of a token: an audience, an issuer."""

SubjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Matches(r"[\x00-\x1f\x7f]", "name must not contain control characters", never=True),
]
ClaimName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Matches(r"^[A-Za-z0-9_./:-]+$", "must be a claim's name: letters, digits, _, ., /, : and -"),
]
ClaimPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Matches(r"^[\x21-\x7e]+$", "a prefix must be printable ASCII without spaces"),
    Matches(
        r"^system:",
        "a prefix must not begin with system:, or the issuer could name Kubernetes' own subjects",
        never=True,
    ),
]


class SubjectKind(StrEnum):
    """Whom RBAC knows."""

    SERVICE_ACCOUNT = "ServiceAccount"
    USER = "User"
    GROUP = "Group"


class Subject(Struct):
    """Somebody who may call the endpoint."""

    rules = (
        Rule(
            "(self.kind == 'ServiceAccount') == has(self.namespace)",
            lambda it: (it.kind is SubjectKind.SERVICE_ACCOUNT) == (it.namespace is not None),
            "a ServiceAccount needs a namespace; a User and a Group have none",
        ),
        Rule(
            f"self.kind != 'ServiceAccount' || self.name.matches(r'{DNS_SUBDOMAIN}')",
            lambda it: it.kind is not SubjectKind.SERVICE_ACCOUNT or _DNS_SUBDOMAIN.isinstance_python(it.name),
            "a ServiceAccount's name must be lower-case letters, digits, - and ., with a letter or digit at both ends",
        ),
    )

    kind: SubjectKind = Field(description="ServiceAccount, User or Group, as in a RoleBinding.")
    name: SubjectName = Field(
        description="Name of the subject. Under JWT a User or Group is written with its prefix, for example oidc:alice.",
        examples=["checkout"],
    )
    namespace: NamespaceName | None = Field(
        default=None, description="Namespace of a ServiceAccount.", examples=["shop"]
    )


class Algorithm(StrEnum):
    """Signature algorithms of a JWT, all of them asymmetric."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    EDDSA = "EdDSA"


class Jwt(Struct):
    """Tokens of an identity provider, checked in the pod against its published keys."""

    issuer: Word = Field(
        description="The claim iss, compared letter by letter.", examples=["https://login.example.com/realms/risk"]
    )
    audiences: Annotated[list[Word], Field(min_length=1, max_length=8)] = Field(
        description="Audiences; the claim aud must hold one of them. A token that was made for another service is refused, so that "
        "the other service cannot replay it here.",
        examples=[["fraud-scorer"]],
    )
    jwks_uri: Annotated[
        str,
        StringConstraints(min_length=1, max_length=2048),
        Matches(
            r"^https://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|"
            r"6553[0-5]))?(/[\x21\x22\x24-\x7e]*)?$",
            "jwksUri must be https://, a host and a path, without credentials: who can change the keys on the way is everybody; and of a "
            "URL's characters, with a port below 65536 if any",
        ),
    ] = Field(
        description="Where the issuer publishes its public keys (a JSON Web Key Set). They are fetched again when a token names a key "
        "that is not known; egress to the host is opened.",
        examples=["https://login.example.com/realms/risk/protocol/openid-connect/certs"],
    )
    algorithms: Annotated[list[Algorithm], Field(min_length=1, max_length=9)] = Field(
        default=[Algorithm.RS256],
        description="Signature algorithms that count; none and the symmetric ones never do. Absent: RS256.",
    )
    username_claim: ClaimName = Field(default="sub", description="Claim that names the user.")
    username_prefix: ClaimPrefix = Field(
        default="oidc:",
        description="Put before the user's name, so that no issuer can name a subject of Kubernetes or of another issuer.",
    )
    groups_claim: ClaimName | None = Field(
        default=None, description="Claim that lists the user's groups. Absent: no groups.", examples=["groups"]
    )
    groups_prefix: ClaimPrefix = Field(default="oidc:", description="Put before each group's name.")
    ca_bundle_ref: LocalObjectRef | None = Field(
        default=None,
        description="ConfigMap whose key ca.crt holds the PEM certificates to trust, for an issuer with a private CA.",
    )


class AuthenticationMode(StrEnum):
    """Who says who calls."""

    TOKEN_REVIEW = "TokenReview"  # noqa: S105  a mode, not a secret
    JWT = "JWT"
    NONE = "None"


class Authentication(Struct):
    """Who may call the endpoint."""

    rules = (
        Rule(
            "(self.mode == 'JWT') == has(self.jwt)",
            lambda it: (it.mode is AuthenticationMode.JWT) == (it.jwt is not None),
            "mode JWT needs jwt; the other modes take none",
        ),
        Rule(
            "self.mode == 'TokenReview' || !has(self.audience)",
            lambda it: it.mode is AuthenticationMode.TOKEN_REVIEW or it.audience is None,
            "audience is for mode TokenReview; under JWT write jwt.audiences",
        ),
        Rule(
            "self.mode != 'None' || !has(self.allowedSubjects) || size(self.allowedSubjects) == 0",
            lambda it: it.mode is not AuthenticationMode.NONE or not it.allowed_subjects,
            "mode None lets everybody in whom the network lets in, so leave allowedSubjects out",
        ),
    )

    mode: AuthenticationMode = Field(
        default=AuthenticationMode.TOKEN_REVIEW,
        description="TokenReview: the caller sends a Kubernetes token (Authorization: Bearer), and the API server says whose it is. "
        "JWT: the caller sends a token of an identity provider, and the pod checks it against the provider's public keys. Under both, a "
        "LocalSubjectAccessReview then asks whether that subject may `create` `modeldeployments/predict` (group modelward.dev) of this "
        "name in this namespace, so that plain RBAC grants prediction. None: everybody whom the network policy lets in may call; it must "
        "be written out. Protects against: callers without a grant, tokens that were made for another service (audience), tokens that "
        "expired or were revoked (within the cache's time). Does not protect against: a token that was stolen, which is as good as its "
        "owner until it expires (use tls, or it travels in clear), nor against who may change RBAC here. When the API server is away, "
        "answers are believed for a short time and then every call is refused. Health (/v2/health/*) stays open. Cost: a call with a "
        "warm cache some microseconds; the first of a token one request to the API server or two.",
    )
    audience: Word | None = Field(
        default=None,
        description="TokenReview: the audience that the token must be made for (serviceAccountToken.audience of a projected volume, "
        "`kubectl create token --audience`). A pod's ordinary token, made for the API server, is refused: a model that received it "
        "could act as its owner there. Models that share an audience take the same tokens: one that misuses what it is sent can call the "
        f"others as its owner, where the network and RBAC let it. Give each team with images of its own another. Absent: {AUDIENCE}.",
        examples=[AUDIENCE],
    )
    allowed_subjects: Annotated[list[Subject], Field(max_length=64)] = Field(
        default=[],
        description="Who may call, written here instead of in RBAC: the operator makes a Role NAME-predict and a RoleBinding of them, "
        "and takes them away again. It grants this model alone, and forbids nobody to whom another Role or ClusterRole grants it. "
        "Empty: only who has the right otherwise, for example by the chart's ClusterRole modelward-predict.",
        examples=[[{"kind": "ServiceAccount", "name": "checkout", "namespace": "shop"}]],
    )
    jwt: Jwt | None = Field(
        default=None,
        description="JWT: the issuer, and what its tokens must say. It only says who calls; what they may is RBAC's word.",
    )


class TlsMode(StrEnum):
    """Whose certificate the endpoint serves."""

    MANAGED = "Managed"
    SECRET = "Secret"  # noqa: S105  a kind, not a secret
    OFF = "Off"


class Tls(Struct):
    """Encryption on the way to the endpoint, REST and gRPC."""

    rules = (
        Rule(
            "(self.mode == 'Secret') == has(self.secretRef)",
            lambda it: (it.mode is TlsMode.SECRET) == (it.secret_ref is not None),
            "mode Secret needs secretRef; the other modes take none",
        ),
    )

    mode: TlsMode = Field(
        description="Managed: the operator's own CA issues a certificate for NAME.NAMESPACE.svc and the full name below the cluster's "
        "domain, not for shorter names, for 90 days, and renews it after 60; pods take the new one without a restart. Clients trust the CA "
        "by the ConfigMap NAME-tls, key ca.crt. Secret: a certificate that you bring, for example of cert-manager, in a Secret with "
        "tls.crt and tls.key; its renewal is taken without a restart as well. Off: plain HTTP and gRPC. Protects against: who reads or "
        "changes what travels between client and pod, tokens among it, and who answers in the place of the model. Does not protect "
        "against: who may read Secrets in this namespace, or the CA's Secret in the operator's; a client that does not check certificates; "
        "a direct call by pod address, "
        "for which no certificate is made. The port for probes and metrics (8082) stays plain and is closed by the network policy. Cost: "
        "a handshake per connection, and encryption that a core does at more than 1 GB/s.",
    )
    secret_ref: LocalObjectRef | None = Field(
        default=None, description="Secret: its name; its keys tls.crt (leaf first) and tls.key, in PEM."
    )


class RateLimit(Struct):
    """How much one subject may call, in each pod."""

    rules = (
        Rule(
            "has(self.requestsPerSecond) || has(self.concurrency)",
            lambda it: it.requests_per_second is not None or it.concurrency is not None,
            "rateLimit must limit something: set requestsPerSecond or concurrency",
        ),
        Rule(
            "has(self.requestsPerSecond) == has(self.burst)",
            lambda it: (it.requests_per_second is None) == (it.burst is None),
            "requestsPerSecond and burst go together: burst is how many calls may come at once after a pause",
        ),
    )

    requests_per_second: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=16),
            Matches(
                r"^([1-9][0-9]{0,5}|0)(\.[0-9]{1,3})?$",
                "requestsPerSecond must be a decimal number as text with at most 6 digits before and 3 after the point, for example '0.5'",
            ),
            Matches(r"^0(\.0*)?$", "requestsPerSecond must be more than 0", never=True),
        ]
        | None
    ) = Field(
        default=None,
        description="Calls per second that one subject may make of one pod in the long run; beyond, 429 with Retry-After. Under "
        "authentication None all callers are one subject. Protects against: one caller that takes the others' share, cost attacks, and it "
        "slows down who copies a model by asking it (model extraction). Does not protect against: many subjects that act as one; and "
        "each pod counts for itself, so N replicas allow up to N times as much. Absent: no limit. Cost: none that can be measured.",
        examples=["10"],
    )
    burst: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Calls that may come at once after a pause.",
        examples=[20],
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Calls of one subject that may be under way in one pod at the same time; beyond, 429. Absent: only the queue's limit.",
        examples=[4],
    )
