"""Keeps the chain: records in, lines out, a signature at every checkpoint, the next file when one is full, another sink on request.

One per chain, made by `running.py`, used by `auditor.py`; all on the event loop's thread. Between the chain and the sink is an `Outlet`.

    genesis checkpoint record … record checkpoint │ continues checkpoint record … checkpoint │ … checkpoint(closing)
                                        a full file ends here      another sink

What cannot be recorded for want of room is counted, and told in the chain by a record `lost` as soon as there is room again.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from modelward_runtime.audit.chain import FORMAT, Chain, source_of
from modelward_runtime.audit.keys import SigningKey
from modelward_runtime.audit.reading import head_of
from modelward_runtime.audit.records import Checkpoint, Continues, Expired, Genesis, Head, Lost, Withheld
from modelward_runtime.log import timestamp
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.outlet import Outlet
from modelward_runtime.sinks.sink import Piece, Sink, Writer

MOST_WAITING: Final = 8192  # records in memory, a few MiB
MOST_FOUND: Final = 256  # heads of other chains that a genesis names
_DAY: Final = 86_400.0
_MOST_IDS: Final = 1000
_EXPIRY_SECONDS: Final = 30.0
log = logging.getLogger(__name__)

Cause = Literal["Start", "Records", "Seconds", "Rotation", "Policy", "Hour", "Expired", "Close"]
_HOUR: Final = 3600.0


class Receipt(NamedTuple):
    """A record on its way: where it waits, its position there, and its id."""

    outlet: Outlet
    position: int
    number: int


@dataclass(frozen=True)
class Terms:
    """What a policy says of the log: who signs, how often, and where it goes (`longest` bytes a piece, 0 for any)."""

    key: SigningKey
    sink: Sink
    linger: float
    longest: int
    checkpoint_records: int
    checkpoint_seconds: int


class Journal:
    """One chain and its way out."""

    def __init__(
        self,
        writer: Writer,
        terms: Terms,
        metrics: OutletMetrics,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._terms = terms
        self._metrics = metrics
        self._wall, self._clock = wall, clock
        self._chain = Chain(writer, wall)
        self._outlet = Outlet(terms.sink, terms.linger, self)
        self._filled, self._piece_began = 0, clock()
        self._unsigned, self._unsigned_since = 0, 0.0
        self._signed_at = clock()
        self._timer: asyncio.TimerHandle | None = None
        self._answered = self._refused = 0
        self._withheld: list[str] = []
        self._safe: Head | None = None
        self._said = ""  # the failure that the log tells of already
        self._checkpoints: deque[dict[str, Any]] = deque(maxlen=64)
        self._carrying: set[asyncio.Task[None]] = set()
        self.reserved = 0
        self.closed = False

    def begin(self, found: list[Head]) -> None:
        """The first records: who writes this chain, and what lay there before it."""
        writer = self._writer
        newest = found[-MOST_FOUND:]
        self._put("genesis", Genesis(FORMAT, writer.pod, writer.boot, self._terms.key.fingerprint, newest))
        self._checkpoint("Start")
        self._outlet.start()

    @property
    def failure(self) -> str:
        """Why the sink takes nothing, empty while it does."""
        return self._outlet.failure

    @property
    def waiting(self) -> int:
        """Records that are not safe yet."""
        return self._outlet.waiting

    @property
    def has_room(self) -> bool:
        """Whether one more record can be taken."""
        return self._outlet.made - self._outlet.safe + self.reserved < MOST_WAITING

    def record(self, kind: str, data: object) -> Receipt:
        """The next record. Whoever calls it has looked for room."""
        if self._answered or self._refused or self._withheld:
            self._confess()
        return self._record(kind, data)

    def is_safe(self, receipt: Receipt) -> bool:
        """Whether that record needs no room any more; what another sink was to take is counted no longer."""
        return receipt.outlet is not self._outlet or receipt.outlet.safe >= receipt.position

    def lose(self, *, answered: bool) -> None:
        """A call leaves no record: it was answered without one, or refused for the want of it."""
        if answered:
            self._answered += 1
            self._metrics.lost += 1
        else:
            self._refused += 1
            self._metrics.refused += 1

    def withhold(self, number: int) -> None:
        """A record's answer did not leave after all."""
        self._withheld.append(str(number))

    async def expire(self, pieces: list[Piece], last: bytes) -> bool:
        """Note, signed and safe, what retention is about to delete; whether it is so."""
        if self.closed:
            return False
        head = head_of(last)
        if head is None:
            head = Head(source_of(pieces[0].series), "0", "")
        self._record("expired", Expired(head.source, head.id, head.hash, len(pieces)))
        self._checkpoint("Expired")
        return await self._outlet.wait(self._position, _EXPIRY_SECONDS)

    def move(self, terms: Terms) -> None:
        """Another sink, another key: the chain goes on there, with what the old sink could not take."""
        self._checkpoint("Policy")
        old, self._terms = self._outlet, terms
        self._outlet = Outlet(terms.sink, terms.linger, self)
        self._continue("Policy")
        self._checkpoint("Policy")
        carrying = asyncio.ensure_future(_carry(old, self._outlet))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    def retune(self, terms: Terms) -> None:
        """The same sink and key, other numbers: signed before they hold."""
        before, self._terms = self._terms, terms
        self._outlet.linger = terms.linger
        if (before.checkpoint_records, before.checkpoint_seconds) != (
            terms.checkpoint_records,
            terms.checkpoint_seconds,
        ):
            self._checkpoint("Policy")

    def beat(self) -> None:
        """Once an hour: a sign of life where there was none, and no piece longer than a day."""
        if self._filled and self._clock() - self._piece_began >= _DAY:
            self._turn()
        elif self._clock() - self._signed_at >= _HOUR / 2:
            self._checkpoint("Hour")

    async def close(self, seconds: float) -> None:
        """The last records, and the end."""
        if self.closed:
            return
        if self._answered or self._refused or self._withheld:
            self._confess()
        self._checkpoint("Close", closing=True)
        self.closed = True
        lost = await self._outlet.close(seconds)
        if lost:
            self._metrics.lost += lost
            log.error(
                "audit records could not be written before the end", extra={"records": lost, "cause": self.failure}
            )

    def wrote(self, lines: int, last: bytes, seconds: float) -> None:
        """A batch is safe (the outlet's `Watcher`)."""
        self._metrics.wrote(lines, last, seconds)
        self._safe, self._said = head_of(last) or self._safe, ""
        if (self._answered or self._refused or self._withheld) and self.has_room and not self.closed:
            self._confess()

    def failed(self, why: str) -> None:
        """A write failed (the outlet's `Watcher`)."""
        self._metrics.failed(why)
        if why != self._said:
            self._said = why
            log.error("the audit log cannot be written, it is tried again", extra={"cause": why})

    def report(self) -> dict[str, Any]:
        """What GET /report tells: what is safe, and the last checkpoint among it."""
        safe = int(self._safe.id) if self._safe else -1
        signed = [checkpoint for checkpoint in self._checkpoints if checkpoint["record"] <= safe]
        return {
            "chain": self._chain.source,
            "records": safe + 1,
            "head": self._safe.hash if self._safe else "",
            "checkpoint": signed[-1] if signed else None,
            "key": self._terms.key.fingerprint,
            "failure": self.failure,
        }

    def _record(self, kind: str, data: object) -> Receipt:
        terms = self._terms
        if terms.longest and self._filled >= terms.longest:
            self._turn()
        now = self._wall()
        if self._unsigned and now - self._unsigned_since > terms.checkpoint_seconds:
            # the timer is late, or the wall clock has jumped: verification goes by records' times
            self._checkpoint("Seconds")
        if not self._unsigned:
            self._unsigned_since = now
        self._put(kind, data)
        self._unsigned += 1
        receipt = Receipt(self._outlet, self._position, self._chain.records - 1)
        if self._unsigned >= terms.checkpoint_records:
            self._checkpoint("Records")
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(terms.checkpoint_seconds, self._checkpoint, "Seconds")
        return receipt

    def _put(self, kind: str, data: object) -> None:
        line = self._chain.add(kind, data)
        self._filled += len(line)
        self._position = self._outlet.put(line)

    def _checkpoint(self, cause: Cause, *, closing: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.closed:
            return
        terms = self._terms
        made = Checkpoint(terms.key.fingerprint, cause, closing, terms.checkpoint_records, terms.checkpoint_seconds)
        line = self._chain.sign(terms.key, made)
        self._filled += len(line)
        self._position = self._outlet.put(line)
        self._unsigned, self._signed_at = 0, self._clock()
        told = {"record": self._chain.records - 1, "hash": self._chain.head, "time": timestamp(self._wall())}
        self._checkpoints.append(told)

    def _turn(self) -> None:
        """The next piece; this one ends signed, so that it can be verified by itself."""
        self._checkpoint("Rotation")
        self._outlet.turn()
        self._continue("Rotation")
        self._checkpoint("Rotation")

    def _continue(self, cause: Literal["Rotation", "Policy"]) -> None:
        self._filled, self._piece_began = 0, self._clock()
        writer = self._writer
        self._put("continues", Continues(FORMAT, writer.pod, writer.boot, self._terms.key.fingerprint, cause))

    def _confess(self) -> None:
        """Tell in the chain what was lost or withheld."""
        answered, refused, withheld = self._answered, self._refused, self._withheld
        self._answered, self._refused, self._withheld = 0, 0, []
        if answered or refused:
            self._record("lost", Lost(answered, refused))
        for start in range(0, len(withheld), _MOST_IDS):
            self._record("withheld", Withheld(withheld[start : start + _MOST_IDS]))


async def _carry(old: Outlet, new: Outlet) -> None:
    new.start(await old.hand_over())
