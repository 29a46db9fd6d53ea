"""`spec.observability` of a ModelDeployment: how single requests are followed. Metrics, the access log and the audit need no asking.

`plan/config.py` writes it into boot.json, the room `policies/access` opens the way to the collector, and the runtime does the rest.
"""

from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import Matches, Struct


class Tracing(Struct):
    """Traces go to an OpenTelemetry collector, by OTLP over HTTP."""

    endpoint: Annotated[
        str,
        StringConstraints(min_length=1, max_length=2048),
        Matches(
            r"^https?://[^\x00-\x20\x7f/?#@]+/?$",
            "endpoint must be http:// or https://, a host and perhaps a port, without path, query or credentials, for example "
            "http://collector.observability.svc:4318",
        ),
    ] = Field(
        description="The collector's base URL: traces are sent to /v1/traces below it. Egress to the host is opened; with https:// its "
        "certificate must be one that the world trusts.",
        examples=["http://collector.observability.svc:4318"],
    )
    sampling: Annotated[
        str,
        StringConstraints(min_length=1, max_length=11),
        Matches(r"^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$", 'sampling must be a decimal number from "0" to "1" in quotes'),
    ] = Field(
        default="1",
        description="Which share of the requests is traced that come without a traceparent. Who sends one decides about theirs.",
        examples=["0.01"],
    )


class Observability(Struct):
    """How single requests are followed, beside metrics, access log and audit."""

    slow_request_milliseconds: StrictInt | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="Requests that take so long or longer are logged with what each stage took, at most ten a second. Absent: none.",
        examples=[1000],
    )
    tracing: Tracing | None = Field(
        default=None,
        description="Traces of requests: names, times and sizes, never a payload, nor who calls. Absent: none.",
    )
