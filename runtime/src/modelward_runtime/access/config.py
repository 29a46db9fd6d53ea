"""What boot.json and policy.json say about access: the fields `access` of Boot and `limits` of Policy.

Parsed strictly by `modelward_runtime.config`. Absent sections mean that the feature is off.
"""

from typing import Annotated, Final, Literal

import msgspec

from modelward_runtime.contract import Name, Positive, Record

Url = Annotated[str, msgspec.Meta(pattern="^https://[^/?#@]+([/?][^#]*)?$", max_length=2048)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Prefix = Annotated[str, msgspec.Meta(max_length=253)]
Rate = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class ApiServer(Record, frozen=True):
    """Where the Kubernetes API is, and as whom it is asked; both files are read again and again, because they rotate."""

    server: Url
    token_file: Name
    ca_file: Name


class TokenReview(ApiServer, frozen=True, tag="TokenReview", tag_field="mode"):
    """Tokens of this cluster that were issued for this audience."""

    audience: Words


class JWT(ApiServer, frozen=True, tag="JWT", tag_field="mode"):
    """Tokens of one other issuer, whose keys are published at `jwks_uri`."""

    issuer: Words
    audiences: Annotated[tuple[Words, ...], msgspec.Meta(min_length=1, max_length=32)]
    jwks_uri: Url
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1, max_length=16)]
    username_claim: Name
    username_prefix: Prefix
    groups_claim: Name | None = None
    groups_prefix: Prefix | None = None
    ca_bundle_file: Name | None = None


class Nobody(Record, frozen=True, tag="None", tag_field="mode"):
    """Nobody is asked who they are."""


class Authorization(Record, frozen=True):
    """The ModelDeployment that a caller must be allowed to predict with."""

    namespace: Name
    name: Name


class Tls(Record, frozen=True):
    """A mounted Secret with tls.crt and tls.key; REST and gRPC speak TLS with it."""

    directory: Name


class Access(Record, frozen=True):
    """How the model's ports are closed. `authorization` is demanded wherever callers say who they are; and says whose logs these are."""

    authentication: TokenReview | JWT | Nobody = Nobody()
    authorization: Authorization | None = None
    tls: Tls | None = None

    def __post_init__(self) -> None:
        """Refuse what would let somebody in unasked."""
        if self.authorization is None and not isinstance(self.authentication, Nobody):
            raise ValueError("`authentication` demands `authorization`: who may call is decided by name")

    @property
    def mode(self) -> str:
        """As boot.json spells it."""
        return MODES[type(self.authentication)]


MODES: Final[dict[type[Record], str]] = {TokenReview: "TokenReview", JWT: "JWT", Nobody: "None"}


class Limits(Record, frozen=True):
    """What one subject may ask for. `requests_per_second` is a decimal; `burst` may come at once, after a pause."""

    requests_per_second: Rate | None = None
    burst: Positive | None = None
    concurrency: Positive | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that limits nothing, and one that lets nobody in."""
        if self.requests_per_second is None and self.concurrency is None:
            raise ValueError("one of `requestsPerSecond` and `concurrency` is needed")
        if self.requests_per_second is None and self.burst is not None:
            raise ValueError("`burst` needs `requestsPerSecond`")
        if self.requests_per_second is not None and float(self.requests_per_second) <= 0:
            raise ValueError("`requestsPerSecond` must be above 0")
