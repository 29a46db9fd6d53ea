"""Reads `routes.json`, the file contract `activator/v1` between the operator and the activator.

The operator writes it into ConfigMaps, `table.py` puts those together. The parser is strict, as `modelward_runtime.config` is: what
it does not know it refuses, because a field that is ignored is a promise that nobody keeps. It must read nothing but the bytes it is given.

`access` is the section of boot.json without `tls`. Its `server`, `tokenFile` and `caFile` are those of a serving pod: the activator asks
its own API server, as its own service account. `model` is what callers know the model by; where it is absent, every name wakes.
"""

from typing import Annotated, Final, Literal

import msgspec

from modelward_runtime.access.config import Access, Nobody
from modelward_runtime.contract import Name, Port, Positive, Record
from modelward_runtime.errors import RuntimeFault

API_VERSION: Final = "activator/v1"
Seconds = Annotated[int, msgspec.Meta(ge=1, le=3600)]
Pem = Annotated[str, msgspec.Meta(min_length=1, max_length=65536)]


class RoutesInvalid(RuntimeFault):
    """A `routes.json` that is none; the text says where."""


class Ports(Record, frozen=True):
    """Where the activator listens for this model."""

    http: Port
    grpc: Port


class Tls(Record, frozen=True):
    """The names that the activator shows a certificate for, and what the pods' certificates are checked against."""

    dns_names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=64)]
    ca_bundle: Pem


class Refusal(Record, frozen=True):
    """Why this model may not be woken, in the words of its condition."""

    reason: Name
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Model(Record, frozen=True):
    """What callers call it; another name is answered with 404 and wakes nobody."""

    name: Name
    version: Name


class Route(Record, frozen=True):
    """One ModelDeployment that may be at zero."""

    namespace: Name
    name: Name
    ports: Ports
    access: Access
    tls: Tls | None
    hold_seconds: Seconds
    max_held: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    wake: bool
    refusal: Refusal | None
    max_body_bytes: Positive
    model: Model | None = None

    def __post_init__(self) -> None:
        """Refuse what would answer for another model, or would refuse without a reason."""
        if self.ports.http == self.ports.grpc:
            raise ValueError("`ports` are two: REST and gRPC do not share one")
        if self.access.tls is not None:
            raise ValueError("`access.tls` has no place here: the activator shows a certificate of its own, see `tls`")
        if not self.wake and self.refusal is None:
            raise ValueError("`wake: false` demands `refusal`: a caller is told why")
        asked = self.access.authorization
        if not isinstance(self.access.authentication, Nobody) and (
            asked is None or (asked.namespace, asked.name) != (self.namespace, self.name)
        ):
            raise ValueError("`access.authorization` must name this model")

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


class Routes(Record, frozen=True):
    """One ConfigMap's share of the table."""

    api_version: Literal["activator/v1"]
    routes: Annotated[tuple[Route, ...], msgspec.Meta(max_length=10_000)]


_ROUTES: Final = msgspec.json.Decoder(Routes)


def parse_routes(content: bytes | str) -> tuple[Route, ...]:
    """The routes of one `routes.json`. RoutesInvalid names the path of what is wrong."""
    try:
        return _ROUTES.decode(content).routes
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RoutesInvalid(f"routes.json: {error}") from error
