"""Quarter hours, and what each of them cost. Pure.

    epoch second ─▶ quarter (900 s) ─▶ day (96 quarters, UTC)

Every time zone's hours, days, weeks and months begin at a multiple of 15 minutes in UTC, so that any budget period is a sum of quarters.
"""

from array import array
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

QUARTER: Final = 900
"""Seconds."""
QUARTERS: Final = 96
"""In a day. UTC has no days of 23 or 25 hours."""
DAY: Final = QUARTER * QUARTERS
FULL: Final = 10**19 - 1
"""Nano units that a day can hold, in 64 bits and as a CostLedger writes them: ten billion of the currency's unit."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Day = int
"""Days since the epoch."""


def day_name(day: Day) -> str:
    """Return a day as `2026-11-25`."""
    return (EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def day_of(name: str) -> Day:
    """Return the day that `day_name` calls so."""
    return (datetime.fromisoformat(name).replace(tzinfo=UTC) - EPOCH).days


def quarter_name(quarter: int) -> str:
    """Return a quarter of a day, 0 to 95, by its beginning: `13:45`."""
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


def quarter_of(name: str) -> int:
    """Return the quarter that `quarter_name` calls so."""
    return int(name[:2]) * 4 + int(name[3:]) // 15


def month_floor(now: int) -> Day:
    """Return the first day that a month which is not over in every time zone may reach back to.

    Clocks differ from UTC by -12 to +14 hours: the day before the month that yesterday lies in.
    """
    yesterday = EPOCH + timedelta(seconds=now) - timedelta(days=1)
    return (yesterday.replace(day=1) - EPOCH).days - 1


def is_within_months(day: Day) -> bool:
    """True for a day on which no month begins anywhere on earth: neither the first nor the last of one in UTC."""
    around = {(EPOCH + timedelta(days=day + step)).month for step in (-1, 0, 1)}
    return len(around) == 1


def split(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a time at the quarters' borders."""
    while begin < end:
        border = min(end, (begin // QUARTER + 1) * QUARTER)
        yield begin, border
        begin = border


class Row:
    """What one model cost in one currency, by the quarter hour. Only ever added to."""

    __slots__ = ("_days", "_sums", "estimated")

    def __init__(self) -> None:
        self._days: dict[Day, array[int]] = {}
        """The quarters of a day up to the last that cost something when it was read: of old days that are one cell, the first."""
        self._sums: dict[Day, int] = {}
        self.estimated: dict[Day, int] = {}
        """Of a day's sum, what was charged without its having been seen."""

    def add(self, second: int, amount: int, *, is_estimated: bool = False) -> None:
        """Add nano units to the quarter hour that `second` lies in."""
        day, quarter = second // DAY, second % DAY // QUARTER
        cells = self._cells(day)
        amount = min(amount, FULL - self._sums[day])
        cells[quarter] += amount
        self._sums[day] += amount
        if is_estimated:
            self.estimated[day] = self.estimated.get(day, 0) + amount

    def load(self, day: Day, cells: Mapping[int, int], estimated: int) -> None:
        """Take a day as it was written down."""
        self._days[day] = array("Q", (cells.get(quarter, 0) for quarter in range(max(cells, default=0) + 1)))
        self._sums[day] = sum(cells.values())
        if estimated:
            self.estimated[day] = estimated

    def day(self, day: Day) -> dict[int, int]:
        """Return the quarters of a day that cost something."""
        return {quarter: amount for quarter, amount in enumerate(self._days.get(day, ())) if amount}

    def days(self) -> list[Day]:
        """Return the days that cost something, in order."""
        return sorted(self._days)

    def spent(self, begin: int, end: int) -> int:
        """Return the sum of the quarters from `begin` to `end`, which lie on quarters' borders."""
        first, last = begin // QUARTER, -(-end // QUARTER)
        total = 0
        for day, cells in self._days.items():
            low, high = max(first - day * QUARTERS, 0), min(last - day * QUARTERS, QUARTERS)
            if low < high:
                total += self._sums[day] if high - low == QUARTERS else sum(cells[low:high])
        return total

    def forget_before(self, day: Day) -> None:
        """Drop what no period reaches back to any more."""
        self._days = {known: cells for known, cells in self._days.items() if known >= day}
        self._sums = {known: amount for known, amount in self._sums.items() if known >= day}
        self.estimated = {known: amount for known, amount in self.estimated.items() if known >= day}

    def coarsen(self, day: Day) -> bool:
        """Put a whole day into its first quarter; True when that changed something."""
        cells = self._days.get(day)
        if cells is None or not any(cells[1:]):
            return False
        self._days[day] = array("Q", [self._sums[day]])
        return True

    def _cells(self, day: Day) -> "array[int]":
        """Return all quarters of a day, to be changed."""
        cells = self._days.setdefault(day, array("Q"))
        cells.extend([0] * (QUARTERS - len(cells)))
        self._sums.setdefault(day, 0)
        return cells
