"""Where one inference spends its time, stage by stage: what the slow-request log and traces are made of.

A transport begins a `Trail` where a `Follower` is set, and hands it over with its call; `exchange.py` says which stage begins, `batch.py`
which run of the model a request had part in. Times are `time.perf_counter`'s, in seconds. It must never be given a payload, a header but
the two of W3C Trace Context, nor who calls.

    began ─ receive ─ decode ─ privacy in ─ queue ─ run ┄ privacy out ─ encode ─ ended       ┄ back from the worker thread: no stage
    a request that fails ends within the stage that it failed in
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from modelward_runtime.model import Face
    from modelward_runtime.observability.follower import Follower

Transport = Literal["rest", "grpc"]
Stage = tuple[str, float, float]  # name, begin, end


class Run(msgspec.Struct, frozen=True):
    """One run of the model, and the trails of those requests that shared it; `rows` is 0 where rows mean nothing."""

    started: float
    ended: float
    requests: int
    rows: int


class Trail:
    """One inference on its way. Used on the event loop's thread only."""

    __slots__ = (
        "_follower",
        "_since",
        "_stage",
        "began",
        "code",
        "ended",
        "lead",
        "model",
        "received",
        "run",
        "sent",
        "span",
        "stages",
        "streamed",
        "traceparent",
        "tracestate",
        "transport",
        "version",
    )

    def __init__(self, follower: "Follower", transport: Transport, traceparent: str = "", tracestate: str = "") -> None:
        self._follower = follower
        self.transport: Transport = transport
        self.streamed = False  # one of several on a gRPC stream
        self.traceparent = traceparent
        self.tracestate = tracestate
        self.began = self._since = self.ended = time.perf_counter()
        self._stage = "receive"
        self.stages: list[Stage] = []
        self.model = self.version = ""
        self.run: Run | None = None
        self.span: Any = None  # the tracer's
        self.lead: Any = None  # the tracer's, of a run that was shared
        self.received = self.sent = 0  # bytes
        self.code = ""

    def arrive(self, face: "Face") -> None:
        """It is for this model, whose names are no caller's words; its body is here, and is decoded now."""
        self.model, self.version = face.name, face.version
        self.enter("decode")

    def enter(self, stage: str) -> None:
        """A stage begins, and the one before it ends."""
        now = time.perf_counter()
        if self._stage:
            self.stages.append((self._stage, self._since, now))
        self._stage, self._since = stage, now

    def take(self, run: Run) -> None:
        """The queue is behind the request, and so is the model."""
        self.run = run
        started = max(run.started, self._since)
        self.stages += (("queue", self._since, started), ("run", started, max(run.ended, started)))
        self._stage = ""

    def end(self, code: str, received: int, sent: int) -> None:
        """It was answered with this status, or given up by its caller; sizes in bytes."""
        self.code, self.received, self.sent = code, received, sent
        self.enter("")
        self.ended = self._since
        self._follower.finish(self)

    @property
    def seconds(self) -> float:
        """From the first byte that was looked at to the answer."""
        return self.ended - self.began

    def stage_seconds(self) -> dict[str, float]:
        """How long each stage took; none is there twice."""
        return {name: round(end - begin, 6) for name, begin, end in self.stages}


def tell_run(trails: Sequence[Trail], started: float, ended: float, requests: int, rows: int) -> None:
    """`requests` shared a run of the model; those of them that are followed are `trails`, which are not none."""
    run = Run(started, ended, requests, rows)
    for trail in trails:
        trail.take(run)
    if requests > 1:
        trails[0]._follower.shared(run, trails)  # noqa: SLF001  a trail's own
