"""Retention: deletes what is older than `maxDays`, at the start and every hour, and never what is younger than `minDays`.

A piece is old when its first record is older than `maxDays`, and its last one older than `minDays`: a piece is ended by the first look
after a day, so it spans a day and an hour at most, and a record may stay up to a day and two hours longer than `maxDays`. Only pieces of
the writer's own model are looked at: another has another policy. Pieces of a series go in their order, so that what stays has no holes.
Nothing else ever deletes: not a full disk, not a restart. `tend` is run as a task by each log; what is to be noted before a
deletion, `audit/journal.py` notes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Final

from modelward_runtime.sinks.clock import DAY, HOUR, SteadyClock
from modelward_runtime.sinks.config import Retention
from modelward_runtime.sinks.lines import time_of
from modelward_runtime.sinks.sink import Piece, SinkFailed, Store
from modelward_runtime.threads import in_thread

LEAST_AGE: Final = (
    3 * HOUR
)  # whoever writes leaves a sign of life every hour: what is older than this has no writer any more
log = logging.getLogger(__name__)

Note = Callable[[list[Piece], bytes], Awaitable[bool]]
"""Told before the pieces of one series are deleted, with the last line of the last of them; False: not now."""


class Keeper:
    """Keeps one store to a retention."""

    def __init__(self, store: Store, retention: Retention, note: Note, clock: SteadyClock | None = None) -> None:
        self._store = store
        self._retention = retention
        self._note = note
        self._clock = clock or SteadyClock()
        self._newest: float | None = None

    async def look(self) -> int:
        """Delete what is too old; how many pieces that were. SinkFailed."""
        old = await in_thread(self._find, "retention")
        count = 0
        for _, group in groupby(old, key=lambda piece: piece.series):
            pieces = list(group)
            last = await in_thread(partial(self._last_line, pieces), "retention")
            if await self._note(pieces, last):
                await in_thread(partial(self._remove, pieces), "retention")
                count += len(pieces)
                log.info("expired", extra={"series": pieces[0].series, "pieces": len(pieces), "last": pieces[-1].name})
        return count

    def _find(self) -> list[Piece]:
        if self._newest is None:
            self._newest = max((time_of(line) for line in self._store.heads()), default=0.0)
        now = self._clock.now(self._newest, self._store.server_time())
        ended = self._store.pieces(now - max(self._retention.min_days * DAY, LEAST_AGE))
        return list(too_old(ended, now - self._retention.max_days * DAY))

    def _last_line(self, pieces: list[Piece]) -> bytes:
        """Of the last piece that has one: a process that was killed may have left an empty one."""
        return next((line for piece in reversed(pieces) if (line := self._store.tail(piece))), b"")

    def _remove(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self._store.remove(piece)


async def tend(beat: Callable[[], None], keeper: Keeper | None, every: float = HOUR) -> None:
    """Look now and every hour, until cancelled; `beat` before each look but the first."""
    while True:
        if keeper:
            try:
                await keeper.look()
            except Exception as error:
                if not isinstance(error, SinkFailed):
                    log.exception("retention broke: this is a bug")
                log.warning("retention could not be enforced, it is tried again", extra={"cause": str(error)})
        await asyncio.sleep(every)
        beat()


def too_old(ended: Iterable[Piece], before: float) -> Iterable[Piece]:
    """Of each series the pieces that began before, up to the first that did not."""
    for _, pieces in groupby(ended, key=lambda piece: piece.series):
        for piece in pieces:
            if piece.first >= before:
                break
            yield piece
