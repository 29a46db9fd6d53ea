"""Who waits for one model, grouped by whom they may share a run with.

Used by `batch.py`, on the event loop's thread. Rows of several callers share a run when the model is batchable and the requests agree in
input names, types, all axes but the first, and requested outputs. Groups take turns, so none starves. It must not run anything.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from modelward_runtime.errors import DeadlineExceeded
from modelward_runtime.model import Array
from modelward_runtime.observability.trail import Trail
from modelward_runtime.states import Cleared, Raw

Signature = object
NOBODY: Final = float("inf")
"""Seconds until somebody's turn comes, where nobody waits for company."""


class Item:
    """One waiting request, and the future that its caller awaits."""

    __slots__ = ("alone", "arrived", "cleared", "deadline", "future", "rows", "signature", "timer", "trail", "weight")

    def __init__(
        self, cleared: Cleared, arrived: float, deadline: float, trail: Trail | None, future: asyncio.Future[Raw]
    ) -> None:
        self.cleared = cleared
        self.trail = trail
        self.arrived = arrived
        self.deadline = deadline
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.rows = 0
        self.weight = 0
        self.alone = True
        self.signature: Signature = self

    def expire(self) -> None:
        """The deadline passed."""
        if not self.future.done():
            self.future.set_exception(DeadlineExceeded("the deadline passed before the model answered"))


class Line:
    """The waiting, by signature. `max_rows` of a run, 1 where none are shared; `max_delay`: seconds that one may wait for company."""

    def __init__(self, max_rows: int, max_delay: float) -> None:
        self._max_rows = max_rows
        self._max_delay = max_delay
        self._groups: OrderedDict[Signature, OrderedDict[Item, None]] = OrderedDict()
        self.length = 0

    def join(self, item: Item) -> None:
        """One more waits."""
        if self._max_rows > 1:
            self._sign(item)
        group = self._groups.get(item.signature)
        if group is None:
            group = self._groups[item.signature] = OrderedDict()
        group[item] = None
        self.length += 1

    def leave(self, item: Item) -> bool:
        """Somebody whom nobody awaits any more; whether they still waited."""
        group = self._groups.get(item.signature)
        if group is None or item not in group:
            return False
        del group[item]
        self.length -= 1
        if not group:
            del self._groups[item.signature]
        return True

    def everybody(self) -> list[Item]:
        """All who wait."""
        return [item for group in self._groups.values() for item in group]

    def next_signature(self, now: float, *, hurry: bool) -> tuple[Signature | None, float]:
        """The group whose turn it is, or None and the seconds until it is somebody's; `hurry`: none waits for company any more."""
        if not self._max_delay or hurry:
            return next(iter(self._groups), None), NOBODY
        soonest = NOBODY
        for signature, group in self._groups.items():
            head = next(iter(group))
            due = head.arrived + self._max_delay
            if head.alone or due <= now or sum(item.rows for item in group) >= self._max_rows:
                return signature, NOBODY
            soonest = min(soonest, due - now)
        return None, soonest

    def head(self, signature: Signature) -> Item:
        """Whose turn it is in a group."""
        return next(iter(self._groups[signature]))

    def take(self, signature: Signature, now: float, most: int) -> list[Item]:
        """The head of a group and as many of its followers as fit, `most` in all; the rest goes to the end of the line.

        `now` is the event loop's.
        """
        group = self._groups[signature]
        batch: list[Item] = []
        rows = 0
        while group:
            item = next(iter(group))
            if batch and (len(batch) >= most or rows + item.rows > self._max_rows):
                break
            del group[item]
            self.length -= 1
            if item.deadline <= now:
                item.expire()
            if not item.future.done():
                batch.append(item)
                rows += item.rows
        if group:
            self._groups.move_to_end(signature)
        else:
            del self._groups[signature]
        return batch

    def _sign(self, item: Item) -> None:
        """Find out with whom the request may share a run; whoever has no common number of rows, or too many, runs alone."""
        inputs = item.cleared.inputs
        item.rows = rows_of(inputs)
        if 0 < item.rows < self._max_rows:
            item.alone = False
            kinds = [(name, array.dtype.char, array.shape[1:]) for name, array in inputs.items()]
            item.signature = (item.cleared.outputs, *kinds)


def rows_of(inputs: Mapping[str, Array]) -> int:
    """The number of rows that all inputs have; 0 where they do not agree."""
    rows = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
    return max(rows.pop(), 0) if len(rows) == 1 else 0
