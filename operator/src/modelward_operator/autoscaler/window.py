"""The load of the last minute, a number for each second: what a mean over any part of it is made of. Used by `track.py`.

A second's number is in replica-independent terms: the requests in flight and queued in all pods, times the part of the second for which
that is known. Pods that are gone keep their place in it.
"""

from math import floor
from typing import Final

SECONDS: Final = 64
"""Kept; a little more than the longest window."""


class Window:
    """A ring of seconds. Times are on one clock that does not go backwards; what lies too far back is not kept."""

    __slots__ = ("_busy", "_newest")

    def __init__(self) -> None:
        self._busy = [0.0] * SECONDS
        self._newest = 0

    def add(self, start: float, end: float, level: float) -> None:
        """Note that `level` requests were in flight from `start` to `end`."""
        self._advance(floor(end))
        start = max(start, float(self._newest - SECONDS + 1))
        if not level or end <= start:
            return
        for second in range(floor(start), floor(end) + 1):
            self._busy[second % SECONDS] += level * (min(end, second + 1.0) - max(start, float(second)))

    def busy(self, start: float, end: float) -> float:
        """Return the request-seconds between two moments; of a second that is only partly in between, its share."""
        self._advance(floor(end))
        first, last = max(floor(start), self._newest - SECONDS + 1), floor(end)
        total = sum(self._busy[second % SECONDS] for second in range(first, last + 1))
        return total - self._busy[first % SECONDS] * min(max(start - first, 0.0), 1.0)

    def clear(self) -> None:
        """Forget everything."""
        self._busy = [0.0] * SECONDS

    def _advance(self, second: int) -> None:
        """Make room: what lies a whole ring back is forgotten."""
        for empty in range(max(self._newest + 1, second - SECONDS + 1), second + 1):
            self._busy[empty % SECONDS] = 0.0
        self._newest = max(self._newest, second)
