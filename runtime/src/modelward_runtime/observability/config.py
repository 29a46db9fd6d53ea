"""The section `observability` of boot.json: how single requests are followed. Absent fields: they are not."""

from typing import Annotated

import msgspec

from modelward_runtime.contract import Positive, Record


class Tracing(Record, frozen=True):
    """Where traces go, by OTLP over HTTP (`endpoint` is the collector's base URL), and which share of the requests is traced.

    A caller who sends a `traceparent` decides; `sampling` is about the others.
    """

    endpoint: Annotated[str, msgspec.Meta(pattern="^https?://[^/]", max_length=2048)]
    sampling: Annotated[str, msgspec.Meta(pattern=r"^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$")] = "1"


class Observability(Record, frozen=True):
    """What is written down about single requests: those that took so many milliseconds, and traces."""

    slow_request_milliseconds: Positive | None = None
    tracing: Tracing | None = None
