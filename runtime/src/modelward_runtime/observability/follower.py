"""Who follows requests: gives each inference a `Trail`, and hands it to the slow-request log and to the tracer when it ends.

Made by `serve.py` from flags, environment or boot.json, and set on each `Exchange`; absent where neither is wanted, and then a request
costs one comparison more. It must not know what either does with a trail.
"""

from collections.abc import Sequence
from typing import Protocol

from modelward_runtime.observability.slow import SlowLog
from modelward_runtime.observability.trail import Run, Trail, Transport


class Tracer(Protocol):
    """What makes spans of trails (`otel.py`)."""

    def begin(self, trail: Trail) -> None:
        """A request has begun."""

    def end(self, trail: Trail) -> None:
        """It has ended."""

    def shared(self, run: Run, trails: Sequence[Trail]) -> None:
        """These shared a run."""

    def trace_id(self, trail: Trail) -> str:
        """The trace that it is a part of, 32 hex digits."""

    def flush(self, seconds: float) -> None:
        """Send what is not sent yet; blocks for so long at most."""


class Follower:
    """Both, or one of them."""

    def __init__(self, slow: SlowLog | None, tracer: Tracer | None) -> None:
        self._slow = slow
        self.tracer = tracer

    def begin(
        self, transport: Transport, traceparent: str = "", tracestate: str = "", *, streamed: bool = False
    ) -> Trail:
        """An inference has begun, one of several on a gRPC stream where it is `streamed`; the caller's W3C Trace Context, as it came."""
        trail = Trail(self, transport, traceparent, tracestate)
        trail.streamed = streamed
        if self.tracer is not None:
            self.tracer.begin(trail)
        return trail

    def shared(self, run: Run, trails: Sequence[Trail]) -> None:
        """Several requests had one run."""
        if self.tracer is not None:
            self.tracer.shared(run, trails)

    def finish(self, trail: Trail) -> None:
        """It was answered."""
        if self._slow is not None:
            self._slow.see(trail, self.tracer.trace_id(trail) if self.tracer else "")
        if self.tracer is not None:
            self.tracer.end(trail)
