"""Says whether a call may be answered, as far as its record goes, and makes the record when it is.

`exchange.auditor`, None where no policy asks for an audit log. Led by
`running.py`; used on the event loop's thread by `entry.py`.

    begin ─▶ room for a record is set aside ─▶ the call ─▶ end: the record ─▶ settle: Synchronous waits until it is safe
                                                                └─ Buffered: made with others, when their answers have left
      └─ required and no room, or a sink that fails: 503, before the model has seen anything

    turn_away: the door refuses a call, before `begin`; fold: there was no room for it, after (429). Told later, with others: `refusals.py`
"""

import asyncio
import logging
import time
from typing import Any, Final, NamedTuple

from modelward_runtime.audit.config import Audit
from modelward_runtime.audit.entry import Entry, outcome
from modelward_runtime.audit.journal import Journal, Receipt
from modelward_runtime.audit.records import Decision, Prediction
from modelward_runtime.audit.refusals import SECONDS, Refusals, Refused
from modelward_runtime.errors import ApiError, Unavailable
from modelward_runtime.serving import Serving

SAFE_SECONDS: Final = 10.0  # that a call waits for its record
TOGETHER: Final = (
    32  # records of a Buffered log that are made one after the other: each by itself costs three times as much,
)
TOGETHER_SECONDS: Final = 0.05  # for nothing of the code is in the processor's caches then
log = logging.getLogger(__name__)


class Pending(NamedTuple):
    """A call whose answer waits for its record; without a receipt there is none."""

    entry: Entry
    receipt: Receipt | None


class End(NamedTuple):
    """How a call ended, and how many seconds it took."""

    entry: Entry
    decision: Decision
    code: int
    reason: str
    sent: int
    seconds: float


class Auditor:
    """The audit of one process's calls."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.required = self.synchronous = False
        self._failure = ""
        self._ended: list[End] = []
        self._timer: asyncio.TimerHandle | None = None
        self._refusals = Refusals()
        self._refusals_timer: asyncio.TimerHandle | None = None
        self._unopened = 0  # calls answered before there was a chain
        self.journal: Journal | None = None
        self.input_key = b""

    def adopt(self, policy: Audit, input_key: bytes) -> None:
        """From now on this holds."""
        self.required, self.synchronous = policy.required, policy.synchronous
        self.input_key = input_key

    @property
    def policy_generation(self) -> str:
        """Of the policy in force."""
        return self._serving.policy_generation

    def opened(self, journal: Journal) -> None:
        """There is a chain."""
        self.journal, self._failure = journal, ""
        for _ in range(self._unopened):
            journal.lose(answered=True)
        self._unopened = 0

    def unopened(self, why: str) -> None:
        """There is none yet."""
        self._failure = why

    @property
    def obstacle(self) -> str:
        """Why calls cannot be answered, empty while they can: what readiness asks."""
        if not self.required:
            return ""
        journal = self.journal
        if journal is None:
            return (
                f"the audit log cannot be opened: {self._failure}" if self._failure else "the audit log is being opened"
            )
        if self.synchronous and journal.failure:
            return f"the audit log cannot be written: {journal.failure}"
        return "" if journal.has_room else f"the audit log is full: {journal.failure or 'its sink is too slow'}"

    def begin(self, transport: str) -> Entry:
        """A call begins. Raises `Unavailable` where its record could not be kept and must be."""
        journal = self.journal
        if journal is not None and journal.has_room and not (self.required and self.synchronous and journal.failure):
            journal.reserved += 1
            return Entry(self, transport, journal)
        if self.required:
            if journal is not None:
                journal.lose(answered=False)
            raise Unavailable("the audit log takes no records")
        return Entry(self, transport, None)

    def end(self, entry: Entry, decision: Decision, code: int, reason: str, sent: int) -> Pending | None:
        """The call has ended: its record, on its way; None where nobody waits for it."""
        end = End(entry, decision, code, reason, sent, time.perf_counter() - entry.began)
        if entry.synchronous:
            self.catch_up()
            return Pending(entry, self._record(end))
        ended = self._ended
        ended.append(end)
        if len(ended) == 1:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self.catch_up)
        elif len(ended) == TOGETHER:
            asyncio.get_running_loop().call_soon(self.catch_up)
        return None

    def fold(self, entry: Entry, error: ApiError) -> None:
        """A call that had begun is turned away for want of room, before the model saw it: as `turn_away`."""
        if entry.journal is not None:
            entry.journal.reserved -= 1
        self.turn_away(entry.transport, error, entry.subject)

    def turn_away(self, transport: str, error: ApiError, subject: str = "") -> None:
        """The door lets a call not in: it takes no room, is told with others like it, and its answer does not wait for that."""
        self._refusals.add(Refused(transport, *outcome(error), subject or getattr(error, "subject", "")))
        if self._refusals_timer is None:
            self._refusals_timer = asyncio.get_running_loop().call_later(SECONDS, self.tell_refusals)

    def tell_refusals(self, *, at_once: bool = False) -> None:
        """Record who was turned away, as far as there is room; again a second later for the rest."""
        if self._refusals_timer:
            self._refusals_timer.cancel()
            self._refusals_timer = None
        journal = self.journal
        if journal is not None and not journal.closed:
            self._refusals.tell(journal, self._predict_refused, at_once=at_once)
        if self._refusals and not at_once:
            self._refusals_timer = asyncio.get_running_loop().call_later(SECONDS, self.tell_refusals)

    def _predict_refused(self, refused: Refused, calls: int) -> Prediction:
        generation = self._serving.policy_generation
        made = self._predict(
            refused.subject, generation, refused.decision, refused.code, refused.reason, refused.transport, 0, 0, 0.0
        )
        made.calls = calls
        return made

    def _predict_ended(self, end: End) -> Prediction:
        entry = end.entry
        return self._predict(
            entry.subject,
            entry.policy_generation,
            end.decision,
            end.code,
            end.reason,
            entry.transport,
            entry.request_bytes,
            end.sent,
            round(end.seconds, 6),
            entry.input_hmac,
        )

    def _predict(self, subject: str, *rest: Any) -> Prediction:  # noqa: ANN401  the fields of Prediction, from the generation on
        serving, model = self._serving, self._serving.boot.model
        return Prediction(subject, model.name, model.version, serving.digest, *rest)

    def catch_up(self) -> None:
        """Record the calls that have ended: of a Buffered log some together, when their answers have left."""
        if self._timer:
            self._timer.cancel()
        ended, self._ended = self._ended, []
        for end in ended:
            self._record(end)

    def _record(self, end: End) -> Receipt | None:
        entry = end.entry
        journal = entry.journal or self.journal
        if journal is None:
            self._unopened += 1
            return None
        if entry.journal is not None:
            journal.reserved -= 1
        elif not journal.has_room:
            journal.lose(answered=True)
            return None
        if journal.closed:
            journal.lose(answered=not entry.withholds)
            return None
        try:
            return journal.record("prediction", self._predict_ended(end))
        except Exception:  # one call's record must not take others along
            log.exception("a call's record cannot be made: this is a bug")
            journal.lose(answered=not entry.withholds)
            return None

    async def settle(self, pending: Pending | None) -> None:
        """The answer may leave. Raises `Unavailable` where its record is not safe and must be."""
        if pending is None:
            return
        entry, receipt = pending
        if receipt is not None and await receipt.outlet.wait(receipt.position, SAFE_SECONDS):
            return
        if not entry.required:
            return
        if receipt is not None and entry.journal is not None:
            entry.journal.withhold(receipt.number)
        raise Unavailable("the audit log takes no records")

    def to_json(self) -> dict[str, Any]:
        """What GET /report tells."""
        if self.journal is None:
            return {"records": 0, "head": "", "checkpoint": None, "failure": self._failure}
        return self.journal.report()
