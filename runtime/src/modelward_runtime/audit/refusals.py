"""Calls that were turned away, folded: at the door (401, 403, 503), or for want of room and by limits (429). Whoever has no right to call,
or calls faster than they may, must not fill the log for the others.

Used by `auditor.py`, on the event loop's thread. No room is set aside for them, and nobody waits for their records.

    turned away ─▶ counted by kind ─▶ after a second a record of each kind, `calls`: how many it stands for
                                          └─ not while the records of the last time are not safe yet: they stay counted

So at most `MOST_KINDS` of the records that wait are theirs, and a few without a subject, whatever the sink does.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from modelward_runtime.audit.journal import Journal, Receipt
from modelward_runtime.audit.records import Decision, Prediction

MOST_KINDS: Final = 64
SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Refused:
    """What refused calls have in common that one record tells of."""

    transport: str
    decision: Decision
    code: int
    reason: str
    subject: str


class Refusals:
    """Those that no record tells of yet."""

    def __init__(self) -> None:
        self._calls: Counter[Refused] = Counter()
        self._last: Receipt | None = None

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, refused: Refused) -> None:
        """One more. Of more subjects than there are places, the names are not kept; without names there are a few kinds only."""
        if refused not in self._calls and len(self._calls) >= MOST_KINDS:
            refused = replace(refused, subject="")
        self._calls[refused] += 1

    def tell(self, journal: Journal, make: Callable[[Refused, int], Prediction], *, at_once: bool) -> None:
        """Record them, if the journal has room and the last ones are safe; `at_once`: even if those are not."""
        if self._last is not None and not journal.is_safe(self._last) and not at_once:
            return
        while self._calls and journal.has_room:
            refused = next(iter(self._calls))
            calls = self._calls.pop(refused)
            self._last = journal.record("prediction", make(refused, calls))
