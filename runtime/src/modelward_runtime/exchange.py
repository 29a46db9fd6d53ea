"""The conductor of a request, in the order of the picture, and the one data plane behind REST and gRPC.

      bytes ▶ decode ▶ privacy-in ▶ pay ▶ batch ▶ ORT ▶ split ▶ privacy-out ▶ encode ▶ bytes
              Decoded   Cleared     Paid                Raw     Released
              └──── metrics, access log, audit log (`audit/entry.py`), never the payload ───┘

The steps are `passage.py`'s; this is who may begin one, and when. `await exchange.infer(call, …)` answers an inference. Where no task
exists yet, none need be made: `begin` answers a short model's small request at once, or returns a `Passage`, to be awaited by `proceed`.

Called by `web.py` and `grpc_server.py`, which own everything that is HTTP or gRPC; composed by `serve.py`:

    metrics = Metrics()                                            # metrics.py; `metrics.exposition()` is GET /metrics
    exchange = Exchange("fraud-scorer", "7", metrics, Limits(max_queue=1024, request_timeout=60.0))
    door = open_door(boot.access, lambda: policy.limits, metrics.refused)                     # access/
    app = web.App(exchange, door, max_body_bytes=67108864)                # for an HttpListener
    server = grpc_server.create(exchange, door, max_body_bytes=67108864)  # add a port, start it
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
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from modelward_runtime import __version__
from modelward_runtime.batch import Batcher, Batching
from modelward_runtime.budget import Budget
from modelward_runtime.caller import Caller
from modelward_runtime.errors import NotFound, Unavailable
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Face, Model
from modelward_runtime.pace import Inline
from modelward_runtime.passage import Call, Passage
from modelward_runtime.privacy.rules import Rules, ungoverned
from modelward_runtime.privacy.searches import Searches
from modelward_runtime.privacy.withhold import withhold

if TYPE_CHECKING:
    from modelward_runtime.audit.auditor import Auditor
    from modelward_runtime.audit.entry import Entry
    from modelward_runtime.epsilon.promise import Promise
    from modelward_runtime.observability.follower import Follower
    from modelward_runtime.observability.trail import Trail
    from modelward_runtime.payloads.log import PayloadLog
    from modelward_runtime.shelf import Keeper

SERVER_NAME = "modelward"
SERVER_VERSION = __version__
EXTENSIONS = ("binary_tensor_data", "model_repository")
PLATFORM = "onnxruntime_onnx"

AnswerT = TypeVar("AnswerT")


class Limits(msgspec.Struct, frozen=True):
    """How many requests may wait, how many bytes all bodies may have, how long (seconds) a request may take, body and all."""

    max_queue: int = 1024
    max_bodies: int = 1 << 30
    request_timeout: float = 60.0


class IndexEntry(msgspec.Struct, frozen=True):
    """One line of the repository's index."""

    name: str
    version: str
    state: str
    reason: str


class Exchange:
    """One served model, from before it is loaded until it has drained."""

    def __init__(
        self,
        name: str,
        version: str,
        metrics: Metrics,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.metrics = metrics
        self.limits = limits or Limits()
        self.bodies = Budget(self.limits.max_bodies)
        self.auditor: Auditor | None = None  # both as the live policy wants them, see recording.py
        self.payloads: PayloadLog | None = None
        self.follower: Follower | None = None  # who follows single requests, where somebody wants it
        self.keeper: Keeper | None = None  # nobody loads or unloads here, see shelf.py
        self._searches = Searches()
        self._model: Model | None = None
        self._rules: Rules | None = None
        self._batcher: Batcher | None = None
        self._retired = False
        self._closed = False
        self._leaving: set[asyncio.Task[None]] = set()  # models that were replaced, and still answer what they began
        metrics.ready = lambda: self.ready
        metrics.epsilon = self.report_epsilon
        metrics.waiting = lambda: self._batcher.waiting if self._batcher else 0

    async def infer(
        self,
        call: Call[AnswerT],
        caller: Caller,
        deadline: float,
        entry: "Entry | None" = None,
        trail: "Trail | None" = None,
    ) -> AnswerT:
        """Answer one inference of `caller`, noted in `entry` and followed by `trail`. `deadline` is in the event loop's time.

        Raises `ApiError`. Suspends only where it must.
        """
        begun = self.begin(call, caller, deadline, entry, trail)
        return await self.proceed(begun) if isinstance(begun, Passage) else begun

    def begin(
        self,
        call: Call[AnswerT],
        caller: Caller,
        deadline: float,
        entry: "Entry | None" = None,
        trail: "Trail | None" = None,
    ) -> "AnswerT | Passage[AnswerT]":
        """The answer, where nothing has to be waited for; else what `proceed` goes on with. As `infer`, and for who has no task yet."""
        if entry is not None:
            entry.identify(caller)
            entry.request_bytes = call.size
        rules, batcher = self._serving(call.name, call.version)
        if entry is not None:
            entry.govern()
        if trail is not None:
            trail.arrive(rules.face)
        passage = Passage(
            call, caller, deadline, entry, trail, self.payloads, rules, batcher, self.metrics, self._searches
        )
        if not passage.may_be_prompt:
            return passage
        meter = self.metrics.meter
        meter.enter()
        try:
            answer = passage.now()
        except Exception as error:
            meter.answer_at_once()
            if rules.governed:
                withhold(error)
            raise
        if answer is None:
            meter.put_off()
            return passage
        meter.answer_at_once()
        return answer

    async def proceed(self, passage: "Passage[AnswerT]") -> AnswerT:
        """The answer of an inference that was begun. Raises `ApiError`."""
        batcher = passage.batcher
        self.metrics.meter.enter()
        batcher.callers += 1
        try:
            return await passage.rest()
        except Exception as error:
            if passage.rules.governed:
                withhold(error)
            raise
        finally:
            self.metrics.meter.leave()
            batcher.callers -= 1
            if not batcher.callers:
                batcher.quiet.set()

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

    def serve(self, model: Model, batching: Batching | None, *, workers: int = 1, inline: Inline | None = None) -> None:
        """The model is loaded and warm: answer requests, on so many worker threads; what is short as `inline` says on the loop's."""
        self._batcher = Batcher(
            model, batching, max_queue=self.limits.max_queue, workers=workers, observer=self.metrics, inline=inline
        )
        self._model = model
        self._rules = self._rules or ungoverned(model)
        self.metrics.model = {
            "name": model.name,
            "version": model.version,
            "execution_provider": model.execution_provider,
        }

    def replace(
        self, model: Model, batching: Batching | None, *, workers: int = 1, inline: Inline | None = None
    ) -> asyncio.Task[None]:
        """Another model answers from the next request on; those that began keep theirs. What is returned is done when it is let go.

        Not under a privacy policy: its rules were checked against the model that goes.
        """
        if self._batcher is None or self._rules is None or self._rules.governed:
            raise AssertionError("only a model that serves without a policy can be replaced")
        old, self._rules = self._batcher, None
        self.version = model.version
        self.serve(model, batching, workers=workers, inline=inline)
        leaving = asyncio.ensure_future(_let_go(old))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return leaving

    @property
    def serves(self) -> bool:
        """There is a model."""
        return self._model is not None

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
        if self._batcher:
            await self._batcher.leave()
        await asyncio.gather(*self._leaving)

    def close(self) -> None:
        """End the worker threads; requests that still wait fail with 503."""
        self._retired = self._closed = True
        if self._batcher:
            self._batcher.close()

    def find(self, name: str) -> "Exchange":
        """The one model that is served. Raises `NotFound`."""
        if name != self.name:
            raise NotFound(f"that model is not served here, '{self.name}' is")
        return self

    def check_name(self, name: str, version: str) -> None:
        """Refuse a model or version that is not the one served here. What was asked for is not repeated: it may be anything."""
        if name != self.name:
            self.find(name)
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


async def _let_go(batcher: Batcher) -> None:
    """Its requests are answered, then its threads end, and nothing refers to its model any more."""
    await batcher.leave()
    batcher.close()
