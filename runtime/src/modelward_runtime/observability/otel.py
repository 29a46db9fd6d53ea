"""Spans of followed requests, by the OpenTelemetry SDK and OTLP over HTTP: the only module that imports opentelemetry.

`settings.py` decides whether there is a tracer at all; `follower.py` calls it on the event loop's thread. The SDK queues spans, and
sends them from a thread of its own; what the collector does not take in time is dropped, and never holds up a request.

    POST /v2/models/{name}/infer            server span: the caller's `traceparent` is its parent, if there is one
    ├── receive, decode, privacy in, queue, run, privacy out, encode      as in trail.py
    └── run       where several shared it: the first one's is linked to the others' requests, theirs to the first one's

Names and attributes are those of the OpenTelemetry semantic conventions for HTTP and RPC servers, beside `modelward.…`. It must not
put a payload, a tensor's name, a caller or an error's text into a span.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelward_runtime import __version__
from modelward_runtime.observability.trail import Run, Trail

_ROUTE: Final = "/v2/models/{name}/infer"
_METHOD: Final = "inference.GRPCInferenceService/ModelInfer"
_STREAM_METHOD: Final = "inference.GRPCInferenceService/ModelStreamInfer"
_RPC_FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)  # what is the server's fault by the conventions; over HTTP it is 5xx
_PROPAGATOR = TraceContextTextMapPropagator()
_EMPTY = Context()


class OtelTracer:
    """Makes spans, and has them sent."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("modelward", __version__)
        self._offset = time.time_ns() - time.perf_counter_ns()

    def begin(self, trail: Trail) -> None:
        """Start the server span, so that the sampler has spoken and its id is known."""
        context = _EMPTY
        if trail.traceparent:
            carrier = {"traceparent": trail.traceparent, "tracestate": trail.tracestate}
            context = _PROPAGATOR.extract(carrier, _EMPTY)
        name, attributes = _identify(trail)
        trail.span = self._tracer.start_span(
            name, context, SpanKind.SERVER, attributes, start_time=self._time(trail.began)
        )

    def end(self, trail: Trail) -> None:
        """End it, with a span for each stage."""
        span: Span = trail.span
        if span.is_recording():
            context = set_span_in_context(span, _EMPTY)
            for name, begin, end in trail.stages:
                if name == "run":
                    self._add_run(trail, context, begin, end)
                else:
                    self._add(name, context, begin, end)
            _conclude(span, trail)
        span.end(self._time(trail.ended))

    def shared(self, run: Run, trails: Sequence[Trail]) -> None:
        """One span stands for the run: the first traced request's, with links to the others; theirs will have a link to it."""
        traced = [trail for trail in trails if trail.span.is_recording()]
        if not traced:
            return
        first, *others = traced
        links = [Link(trail.span.get_span_context()) for trail in others]
        led = self._add(
            "run", set_span_in_context(first.span, _EMPTY), run.started, run.ended, _attributes_of(run), links
        )
        for trail in traced:
            trail.lead = (first, led)

    def trace_id(self, trail: Trail) -> str:
        """The trace that it is a part of, 32 hex digits; empty where the sampler did not choose it."""
        context = trail.span.get_span_context()
        return f"{context.trace_id:032x}" if context.trace_flags.sampled else ""

    def flush(self, seconds: float) -> None:
        """Send what is not sent yet; blocks for so long at most."""
        self._provider.force_flush(round(seconds * 1000))

    def _add_run(self, trail: Trail, context: Context, begin: float, end: float) -> None:
        first, led = trail.lead or (None, None)
        if first is not trail and trail.run is not None:
            self._add("run", context, begin, end, _attributes_of(trail.run), [Link(led)] if led else ())

    def _add(
        self,
        name: str,
        context: Context,
        begin: float,
        end: float,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] = (),
    ) -> Any:  # noqa: ANN401  a SpanContext; the package is imported untyped
        span = self._tracer.start_span(name, context, SpanKind.INTERNAL, attributes, links, self._time(begin))
        span.end(self._time(end))
        return span.get_span_context()

    def _time(self, seconds: float) -> int:
        """Nanoseconds since the epoch, of seconds of `perf_counter`."""
        return int(seconds * 1e9) + self._offset


def connect(resource: Mapping[str, str], endpoint: str = "", ratio: float | None = None) -> OtelTracer:
    """A tracer; the standard environment variables say what is not given here. `endpoint` is the collector's base URL.

    `ratio`: of the requests that come without a `traceparent`, this share is traced; with one, its caller has decided.
    """
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
    sampler = None if ratio is None else ParentBased(TraceIdRatioBased(ratio))
    provider = TracerProvider(sampler=sampler, resource=Resource.create(resource), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracer(provider)


def _identify(trail: Trail) -> tuple[str, dict[str, str]]:
    """The span's name, and what the sampler may look at."""
    if trail.transport == "rest":
        return f"POST {_ROUTE}", {"http.request.method": "POST", "http.route": _ROUTE}
    method = _STREAM_METHOD if trail.streamed else _METHOD
    return method, {"rpc.system.name": "grpc", "rpc.method": method}


def _conclude(span: Span, trail: Trail) -> None:
    """How it ended."""
    span.set_attributes(
        {
            "modelward.model.name": trail.model,
            "modelward.model.version": trail.version,
            "modelward.request.bytes": trail.received,
            "modelward.response.bytes": trail.sent,
        }
    )
    rest = trail.transport == "rest"
    if rest:
        span.set_attribute("http.response.status_code", int(trail.code))
    else:
        span.set_attribute("rpc.response.status_code", trail.code)
    if trail.code >= "500" if rest else trail.code in _RPC_FAULTS:
        span.set_attribute("error.type", trail.code)
        span.set_status(Status(StatusCode.ERROR))


def _attributes_of(run: Run) -> dict[str, int]:
    return {"modelward.batch.requests": run.requests, "modelward.batch.rows": run.rows}
