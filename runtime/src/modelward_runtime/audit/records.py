"""What the records say: the member `data` of each type. Never a payload, and of what a caller wrote only the subject. See AUDIT.md."""

from typing import Annotated, Literal

import msgspec

Number = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,17})\Z")]
Decision = Literal["Allowed", "Denied", "Failed"]


class _Data(msgspec.Struct, rename="camel", gc=False):
    """What all have in common: the spelling."""


class Prediction(_Data, omit_defaults=True):
    """One inference call, or so many `calls` that the door turned away alike.

    `code` is the HTTP status, also over gRPC; `reason` is stable, and empty where the call was allowed.
    """

    subject: str
    model: str
    version: str
    digest: str
    policy_generation: str
    decision: Decision
    code: int
    reason: str
    transport: str
    request_bytes: int
    response_bytes: int
    seconds: float
    input_hmac: str = ""
    calls: int = 1


class Head(_Data):
    """Where another chain ended: its source, and the id and hash of its last record."""

    source: str
    id: Number
    hash: str


class Genesis(_Data):
    """The first record of a chain. `found`: the ends of the chains that lay in the sink."""

    format: str
    pod: str
    boot: str
    key: str
    found: list[Head]


class Continues(_Data):
    """The first record of a further file or of another sink; `key` signs from here on."""

    format: str
    pod: str
    boot: str
    key: str
    cause: Literal["Rotation", "Policy"]


class Checkpoint(_Data):
    """A signed record. `closing`: nothing follows in this chain.

    `checkpoint_records` and `checkpoint_seconds` bound what may follow before the next: said by the checkpoint itself, so that
    they are signed wherever a chain is cut, and whatever of it retention has deleted.
    """

    key: str
    cause: Literal["Start", "Records", "Seconds", "Rotation", "Policy", "Hour", "Expired", "Close"]
    closing: bool
    checkpoint_records: Annotated[int, msgspec.Meta(ge=1)]
    checkpoint_seconds: Annotated[int, msgspec.Meta(ge=1)]


class Lost(_Data):
    """Calls that left no record for want of room, since the last such record: answered all the same, or refused for it."""

    answered: int
    refused: int


class Withheld(_Data):
    """Records whose calls were answered 503 after all, because they could not be made safe in time."""

    ids: list[str]


class Expired(_Data):
    """Retention deletes the oldest pieces of a chain, up to and including the record `id` with this hash."""

    source: str
    id: Number
    hash: str
    pieces: int
