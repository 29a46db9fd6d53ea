"""What time it is, for the one question where a wrong answer destroys something: is this old enough to be deleted?

Used by `keeping.py`. The wall clock may jump: a node that boots with a wrong date, a hand on the settings. So

* a jump forward counts only when it has lasted a day, by a clock that does not jump; a jump back counts at once;
* in the first hour of a process its wall clock proves nothing: it may not be later than the newest record that others have left;
* a store's own clock, where there is one, bounds all this from above.

A wrong date that lasts longer than a day, or that was there before this process and stays for more than an hour, is believed.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


def uptime() -> float:
    """Seconds that never jump, and that go on while a virtual machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """The wall clock as far as it can be believed; `steady` never jumps."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = uptime) -> None:
        self._wall = wall
        self._steady = steady
        self._began = steady()
        self._offsets: deque[tuple[float, float]] = (
            deque()
        )  # when it was looked at, by the steady clock; how far ahead the wall was

    def now(self, newest: float, server: float | None = None) -> float:
        """Seconds since the epoch, rather too few than too many. `newest`: the last record that others have left, 0 for none."""
        steady = self._steady()
        self._offsets.append((steady, self._wall() - steady))
        while steady - self._offsets[0][0] > DAY:
            self._offsets.popleft()
        now = steady + min(offset for _, offset in self._offsets)
        if steady - self._began < HOUR:
            now = min(now, newest)
        return now if server is None else min(now, server)
