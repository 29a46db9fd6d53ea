"""The conductor of a request, in the order of the picture, and the one data plane behind REST and gRPC.

      bytes ▶ decode ▶ privacy-in ▶ pay ▶ batch ▶ ORT ▶ split ▶ privacy-out ▶ encode ▶ bytes
              Decoded   Cleared     Paid                Raw     Released
              └──── metrics, access log, audit log (`audit/entry.py`), never the payload ───┘

Called by `web.py` and `grpc_server.py`, which own everything that is HTTP or gRPC; composed by `serve.py`:

    metrics = Metrics()                                            # metrics.py; `metrics.exposition()` is GET /metrics
    exchange = Exchange("fraud-scorer", "7", metrics, Limits(max_queue=1024, request_timeout=60.0))
    door = open_door(boot.access, lambda: policy.limits, metrics.refused)                     # access/
    app = web.App(exchange, door, max_body_bytes=67108864)                # ASGI, for uvicorn
    server = grpc_server.create(exchange, door, max_body_bytes=67108864)  # a grpc.aio.Server: add a port, start it
    ...                                                            # both answer 503 until the model is there
    exchange.serve(model, Batching(max_batch_size=32, max_delay=0.0005), workers=1)    # loaded and warm: ready
    exchange.govern(compile_rules(policy.privacy, model))          # at any time: what the policy lets in and out
    exchange.ready                                                 # what readiness probes ask
    exchange.retire()                                              # SIGTERM: readiness off, requests still answered
    await exchange.drain()                                         # no new requests (503), those in flight finish
    exchange.close()                                               # worker threads end

`serve`, `retire`, `drain` and `close` are called on the event loop's thread. It must not do I/O of its own.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from modelward_runtime import __version__
from modelward_runtime.batch import Batcher, Batching
from modelward_runtime.budget import Budget
from modelward_runtime.errors import Busy, NotFound, Unavailable
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Face, Model
from modelward_runtime.privacy.rules import OFF_LOOP_TEXT, Rules, ungoverned
from modelward_runtime.privacy.withhold import Withholding
from modelward_runtime.states import Caller, Cleared, Decoded, Raw, Released, clear, release

if TYPE_CHECKING:
    from modelward_runtime.audit.auditor import Auditor
    from modelward_runtime.audit.entry import Entry
    from modelward_runtime.epsilon.promise import Paid, Promise
    from modelward_runtime.payloads.log import PayloadLog

SERVER_NAME = "modelward"
SERVER_VERSION = __version__
EXTENSIONS = ("binary_tensor_data", "model_repository")
PLATFORM = "onnxruntime_onnx"
OFF_LOOP_BYTES = 1 << 18  # larger bodies and answers are coded on a thread: the event loop goes on answering probes

AnswerT_co = TypeVar("AnswerT_co", covariant=True)
AnswerT = TypeVar("AnswerT")
ResultT = TypeVar("ResultT")
GivenP = ParamSpec("GivenP")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests may wait, how many bytes all bodies may have, how long (seconds) a request may take, body and all."""

    max_queue: int = 1024
    max_bodies: int = 1 << 30
    request_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of the repository's index."""

    name: str
    version: str
    state: str
    reason: str


class Call(Protocol[AnswerT_co]):
    """One inference as its transport spells it."""

    @property
    def name(self) -> str:
        """The model that is asked for."""

    @property
    def version(self) -> str:
        """Its version, empty for whichever is served."""

    @property
    def size(self) -> int:
        """Bytes of the request."""

    def decode(self, face: Face) -> Decoded:
        """The request's tensors, checked against the model's. Raises `ApiError`."""

    def encode(self, face: Face, released: Released) -> AnswerT_co:
        """The answer on its way out. Raises `ApiError`."""


class Exchange:
    """One served model, from before it is loaded until it has drained."""

    def __init__(
        self,
        name: str,
        version: str,
        metrics: Metrics,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.version = version
        self.metrics = metrics
        self.limits = limits or Limits()
        self.bodies = Budget(self.limits.max_bodies)
        self.auditor: Auditor | None = None  # both as the live policy wants them, see recording.py
        self.payloads: PayloadLog | None = None
        self._clock = clock
        self._model: Model | None = None
        self._rules: Rules | None = None
        self._batcher: Batcher | None = None
        self._retired = False
        self._closed = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        metrics.ready = lambda: self.ready
        metrics.epsilon = self.report_epsilon
        metrics.waiting = lambda: self._batcher.waiting if self._batcher else 0

    async def infer(
        self, call: Call[AnswerT], caller: Caller, deadline: float, entry: "Entry | None" = None
    ) -> AnswerT:
        """Answer one inference of `caller`, noted in `entry`. `deadline` is in the event loop's time. Raises `ApiError`."""
        if entry is not None:
            entry.identify(caller)
            entry.request_bytes = call.size
        rules, batcher = self._serving(call.name, call.version)
        if entry is not None:
            entry.govern()
        payloads = self.payloads
        generation = payloads.policy_generation if payloads else ""
        started = self._enter()
        try:
            with Withholding(rules):
                decoded = await _beside_loop(call.size > OFF_LOOP_BYTES, call.decode, rules.face)
                if entry is not None:
                    await entry.hear(rules.face, decoded)
                decoded_at = self._clock()
                cleared = await _beside_loop(call.size > _clear_on_loop(rules), clear, decoded, rules)
                paid = await rules.pay(cleared.inputs, caller.subject, deadline)
                raw = await _run(batcher, cleared, deadline, rules, paid)
                large = _size(raw.arrays) > OFF_LOOP_BYTES
                slow = (large and rules.governed) or rules.takes_long(raw.arrays)
                released = await _beside_loop(slow, release, cleared, raw, rules, paid)
                released_at = self._clock()
                if payloads is not None:
                    payloads.log(rules.face, cleared, released, released_at - started, generation)
                answer = await _beside_loop(large, call.encode, rules.face, released)
            self._observe(started, decoded_at, released_at)
            return answer
        finally:
            self._leave()

    @property
    def promise(self) -> "Promise | None":
        """Of the rules in force: the differential privacy of answers, with what is reserved for it."""
        return self._rules.promise if self._rules else None

    def report_epsilon(self) -> dict[str, Any] | None:
        """What was spent of a privacy budget, where there is one."""
        return self.promise.report() if self.promise else None

    def govern(self, rules: Rules) -> None:
        """From the next request on these rules hold; requests that began keep theirs to their end."""
        self._rules = rules

    def serve(self, model: Model, batching: Batching | None, *, workers: int = 1) -> None:
        """The model is loaded and warm: answer requests, on so many worker threads."""
        self._batcher = Batcher(
            model, batching, max_queue=self.limits.max_queue, workers=workers, observer=self.metrics
        )
        self._model = model
        self._rules = self._rules or ungoverned(model)
        self.metrics.model = {
            "name": model.name,
            "version": model.version,
            "execution_provider": model.execution_provider,
        }

    @property
    def ready(self) -> bool:
        """Loaded, not on the way out, and able to record what must be recorded."""
        return self._model is not None and not self._retired and not (self.auditor and self.auditor.obstacle)

    @property
    def retired(self) -> bool:
        """On the way out: connections should go elsewhere."""
        return self._retired

    def retire(self) -> None:
        """Readiness off, while requests go on being answered until nobody sends any."""
        self._retired = True

    async def drain(self) -> None:
        """No new requests; return when those in flight are answered."""
        self._retired = self._closed = True
        await self._quiet.wait()
        if self._batcher:
            await self._batcher.drain()

    def close(self) -> None:
        """End the worker threads; requests that still wait fail with 503."""
        self._retired = self._closed = True
        if self._batcher:
            self._batcher.close()

    def check_name(self, name: str, version: str) -> None:
        """Refuse a model or version that is not the one served here. What was asked for is not repeated: it may be anything."""
        if name != self.name:
            raise NotFound(f"that model is not served here, '{self.name}' is")
        if version and version != self.version:
            raise NotFound(f"model '{self.name}' has no such version here, only '{self.version}'")

    def describe(self, name: str, version: str) -> Face:
        """What callers see of the model, for its metadata. Raises `NotFound`, or `Unavailable` while it loads."""
        return self._present(name, version).face

    def index(self, *, only_ready: bool) -> list[IndexEntry]:
        """The repository: the one model there is."""
        if self.ready:
            return [IndexEntry(self.name, self.version, "READY", "")]
        return [] if only_ready else [IndexEntry(self.name, self.version, "UNAVAILABLE", "loading or draining")]

    def _present(self, name: str, version: str) -> Rules:
        self.check_name(name, version)
        if self._model is None or self._rules is None:
            raise Unavailable(f"model '{self.name}' is not loaded yet")
        return self._rules

    def _serving(self, name: str, version: str) -> tuple[Rules, Batcher]:
        rules = self._present(name, version)
        if self._closed or self._batcher is None:
            raise Unavailable("the server is draining")
        return rules, self._batcher

    def _enter(self) -> float:
        self.metrics.in_flight += 1
        self._quiet.clear()
        return self._clock()

    def _leave(self) -> None:
        self.metrics.in_flight -= 1
        if not self.metrics.in_flight:
            self._quiet.set()

    def _observe(self, started: float, decoded_at: float, released_at: float) -> None:
        stages, now = self.metrics.stages, self._clock()
        stages["decode"].observe(decoded_at - started)
        stages["encode"].observe(now - released_at)
        stages["total"].observe(now - started)


async def _run(batcher: Batcher, cleared: Cleared, deadline: float, rules: Rules, paid: "Paid | None") -> Raw:
    """What the model says. Who was turned away before it saw the request has not had what was paid for; an error of it is an answer."""
    try:
        return await batcher.run(cleared, deadline)
    except Busy:
        rules.put_back(paid)
        raise


async def _beside_loop(
    large: bool, step: Callable[GivenP, ResultT], *given: GivenP.args, **named: GivenP.kwargs
) -> ResultT:
    """The step's result: of a `large` request on a thread, so that the event loop goes on answering probes."""
    return await asyncio.to_thread(step, *given, **named) if large else step(*given, **named)


def _clear_on_loop(rules: Rules) -> int:
    """Bytes of a request that may be cleared on the event loop: where text is searched, fewer."""
    return OFF_LOOP_TEXT if rules.searches_text else OFF_LOOP_BYTES


def _size(arrays: Sequence[Array]) -> int:
    return sum(array.nbytes for array in arrays)
