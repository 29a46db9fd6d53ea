"""A period of a privacy budget that does not end while a case counts what is spent in it. Used by the cases about such budgets."""

import time
from collections.abc import Callable
from typing import Final

from modelward_runtime.epsilon.period import Period, end_of

LASTS: Final = 300
"""Seconds that a case needs, with time to spare."""
_PERIODS: Final[tuple[Period, ...]] = ("Month", "Week", "Day")


def lasting(wall: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep) -> Period:
    """Return the period that goes on for longest. Where all end in minutes, as a month does that ends with a Sunday, await the next one."""
    now = int(wall())
    longest = max(_PERIODS, key=lambda period: end_of(period, now))
    left = end_of(longest, now) - now
    if left < LASTS:
        sleep(left + 1)
    return longest
