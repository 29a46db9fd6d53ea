"""The section `logging` of policy.json. No I/O."""

from typing import Annotated, Literal

import msgspec

from modelward_runtime.contract import Record
from modelward_runtime.sinks.config import Retention, SinkConfig, check_retention


class Logging(Record, frozen=True):
    """What is logged of answered calls: names and shapes, or the redacted tensors too."""

    mode: Literal["Metadata", "Redacted"]
    sink: SinkConfig
    sample_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 100
    retention: Retention | None = None

    def __post_init__(self) -> None:
        check_retention(self.sink, self.retention)
