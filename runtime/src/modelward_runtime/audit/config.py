"""The section `audit` of policy.json. No I/O."""

from typing import Annotated, Literal

import msgspec

from modelward_runtime.contract import Name, Record
from modelward_runtime.sinks.config import Retention, SinkConfig, Stdout, check_retention


class Audit(Record, frozen=True):
    """One record for each call. `required`: no call is answered that cannot be recorded. `Synchronous`: nor before it is."""

    sink: SinkConfig
    signing_key_file: Name
    required: bool = False
    durability: Literal["Buffered", "Synchronous"] = "Buffered"
    retention: Retention | None = None
    input_hash_key_file: Name | None = None
    checkpoint_records: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    checkpoint_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60

    def __post_init__(self) -> None:
        check_retention(self.sink, self.retention)
        if isinstance(self.sink, Stdout) and (self.required or self.durability == "Synchronous"):
            raise ValueError(
                "required and Synchronous need a sink of type File or S3: nobody knows what becomes of stdout"
            )

    @property
    def synchronous(self) -> bool:
        """No answer before its record is safe."""
        return self.durability == "Synchronous"
