"""What time it is, for money: by the API server's clock and our own, whichever is behind. Fed by client.py, read by accountant.py.

Each answer of the API server says when it was sent (`Date`, RFC 9110 6.6.1). Charged too late is caught up with; charged too early cannot
be taken back, since spend never decreases: so a clock that jumps ahead, here or there, charges nothing. A pod that ends is charged until
now for good, so our own clock does not jump back either: it is at least as far as our steady clock went on from our first look at it. Where
that look was wrong (a machine that began with a wrong time), our clock and the server's agree later and it with neither: it is taken anew.
"""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

TOLERATED = 2.0
"""Seconds that whole seconds and the way may be off by."""


class ServerClock:
    """Seconds since the epoch. `wall` and `steady` are the machine's clocks, injected for tests."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._date: str | None = None
        self._said = 0.0
        self._began = wall() - steady()
        self._offset: float | None = None
        """The server's time less our steady clock; None until it has said its time."""

    def note(self, date: str | None) -> None:
        """Take the `Date` of an answer; one that cannot be read says nothing."""
        if not date:
            return
        if date != self._date:  # many answers come within its second
            try:
                self._said = parsedate_to_datetime(date).timestamp()
            except ValueError:
                return
            self._date = date
        offset = self._said - self._steady()
        if self._offset is None or abs(offset - self._offset) > TOLERATED:
            self._offset = offset

    def now(self) -> int:
        """Return the time that may be charged until."""
        wall, steady = self._wall(), self._steady()
        if self._offset is None:
            return int(max(wall, steady + self._began))
        said = steady + self._offset
        if abs(wall - said) <= TOLERATED < abs(wall - steady - self._began):
            self._began = wall - steady
        return int(min(max(wall, steady + self._began), said))

    def apart(self) -> float:
        """Return by how many seconds the two clocks differ."""
        return 0.0 if self._offset is None else abs(self._wall() - self._steady() - self._offset)
