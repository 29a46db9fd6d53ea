"""One inference on its way through its states, in the order of the picture in `exchange.py`.

Made by `Exchange.begin` for each inference. `now` goes as far as it can without waiting for anything, most often to the answer; `rest`
goes on from there. What would hold up the event loop, by its size, is done on a thread in `rest`. It must not know transports, nor when a
model is there.
"""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from modelward_runtime.batch import Batcher
from modelward_runtime.caller import Caller
from modelward_runtime.errors import Busy
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Face
from modelward_runtime.pace import weight_of
from modelward_runtime.privacy.rules import OFF_LOOP_TEXT, Rules
from modelward_runtime.privacy.searches import Searches
from modelward_runtime.states import Cleared, Decoded, Raw, Released, clear, release

if TYPE_CHECKING:
    from modelward_runtime.audit.entry import Entry
    from modelward_runtime.epsilon.promise import Paid
    from modelward_runtime.observability.trail import Trail
    from modelward_runtime.payloads.log import PayloadLog

OFF_LOOP_BYTES: Final = 1 << 18  # to parse or to print more takes a thread: the event loop goes on answering probes
_OFF_LOOP_COPIES: Final = 1 << 22  # to copy more does

AnswerT = TypeVar("AnswerT")
AnswerT_co = TypeVar("AnswerT_co", covariant=True)


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

    @property
    def parses(self) -> int:
        """Bytes of it that `decode` has to parse: the others are only looked at."""

    @property
    def prints(self) -> bool:
        """Once decoded: whether `encode` writes out numbers, or copies their bytes."""

    def decode(self, face: Face) -> Decoded:
        """The request's tensors, checked against the model's. Raises `ApiError`."""

    def encode(self, face: Face, released: Released) -> AnswerT_co:
        """The answer on its way out. Raises `ApiError`."""


class Passage(Generic[AnswerT]):
    """One inference: who asks what, under which rules, of which model, and how far it has come."""

    __slots__ = (
        "_call",
        "_caller",
        "_cleared",
        "_deadline",
        "_decoded_at",
        "_entry",
        "_metrics",
        "_paid",
        "_parses",
        "_payloads",
        "_raw",
        "_searches",
        "_started",
        "_trail",
        "batcher",
        "rules",
    )

    def __init__(
        self,
        call: Call[AnswerT],
        caller: Caller,
        deadline: float,
        entry: "Entry | None",
        trail: "Trail | None",
        payloads: "PayloadLog | None",
        rules: Rules,
        batcher: Batcher,
        metrics: Metrics,
        searches: Searches,
    ) -> None:
        self._call = call
        self._caller = caller
        self._deadline = deadline
        self._entry = entry
        self._trail = trail
        self._payloads = payloads
        self._metrics = metrics
        self._searches = searches
        self._cleared: Cleared | None = None
        self._raw: Raw | None = None
        self._paid: Paid | None = None
        self._decoded_at = 0.0
        self._parses = call.size if rules.face.reads_text else call.parses
        self._started = time.perf_counter()
        self.batcher = batcher
        self.rules = rules

    @property
    def may_be_prompt(self) -> bool:
        """Whether `now` is worth trying: no record of it is waited for, nothing is paid, it is small, and the model was prompt."""
        return (
            self.batcher.prompt
            and (self._entry is None or self._entry.is_prompt)
            and self._payloads is None
            and self.rules.promise is None
            and self._small
        )

    def now(self) -> AnswerT | None:
        """The answer, where it needs no waiting; None where `rest` has to go on. Raises `ApiError`."""
        rules = self.rules
        decoded = self._call.decode(rules.face)
        self._decoded_at = time.perf_counter()
        self._enter("privacy in")
        cleared = self._cleared = clear(decoded, rules)
        self._enter("queue")
        raw = self._raw = self.batcher.run_now(cleared, self._trail)
        if raw is None or self._is_large(raw):
            return None
        self._enter("privacy out")
        released = release(cleared, raw, rules, None)
        released_at = time.perf_counter()
        self._enter("encode")
        answer = self._call.encode(rules.face, released)
        self._observe(released_at)
        return answer

    async def rest(self) -> AnswerT:
        """The answer. Raises `ApiError`."""
        rules, payloads = self.rules, self._payloads
        generation = payloads.policy_generation if payloads else ""
        raw, cleared = self._raw, self._cleared
        if cleared is None:
            cleared = await self._clear()
            self._enter("queue")
            raw = self.batcher.run_now(cleared, self._trail)
        if raw is None:
            raw = await self._run(cleared)
        self._enter("privacy out")
        large = self._is_large(raw)
        if (large and rules.governed) or rules.takes_long(raw.arrays):
            released = await asyncio.to_thread(release, cleared, raw, rules, self._paid)
        else:
            released = release(cleared, raw, rules, self._paid)
        released_at = time.perf_counter()
        if payloads is not None:
            payloads.log(rules.face, cleared, released, released_at - self._started, generation)
        self._enter("encode")
        encode = self._call.encode
        answer = await asyncio.to_thread(encode, rules.face, released) if large else encode(rules.face, released)
        self._observe(released_at)
        return answer

    async def _clear(self) -> Cleared:
        """Decode, clear and pay."""
        call, rules = self._call, self.rules
        decode = call.decode
        decoded = decode(rules.face) if self._parses <= OFF_LOOP_BYTES else await asyncio.to_thread(decode, rules.face)
        if self._entry is not None:
            await self._entry.hear(rules.face, decoded)
        self._decoded_at = time.perf_counter()
        self._enter("privacy in")
        if self._small:
            cleared = clear(decoded, rules)
        elif rules.searches_text:
            cleared = await self._searches.run(call.size, self._deadline, partial(clear, decoded, rules))
        else:
            cleared = await asyncio.to_thread(clear, decoded, rules)
        if rules.promise is not None:
            self._paid = await rules.pay(cleared.inputs, self._caller.subject, self._deadline)
        return cleared

    async def _run(self, cleared: Cleared) -> Raw:
        """What the model says.

        Who was turned away before it saw the request has not had what was paid for; an error of it is an answer.
        """
        try:
            return await self.batcher.run(cleared, self._deadline, self._trail)
        except Busy:
            self.rules.put_back(self._paid)
            raise

    @property
    def _small(self) -> bool:
        """To decode and to clear it takes no time that a probe would notice."""
        if not self.rules.governed:
            return self._parses <= OFF_LOOP_BYTES
        return self._call.size <= (OFF_LOOP_TEXT if self.rules.searches_text else OFF_LOOP_BYTES)

    def _is_large(self, raw: Raw) -> bool:
        """To encode it, or to apply rules to it, takes so long that a probe would notice."""
        size = sum(weight_of(array) if array.dtype.hasobject else array.nbytes for array in raw.arrays)
        return size > (OFF_LOOP_BYTES if self._call.prints or self.rules.governed else _OFF_LOOP_COPIES)

    def _enter(self, stage: str) -> None:
        if self._trail is not None:
            self._trail.enter(stage)

    def _observe(self, released_at: float) -> None:
        now = time.perf_counter()
        self._metrics.passed(self._decoded_at - self._started, now - released_at, now - self._started)
