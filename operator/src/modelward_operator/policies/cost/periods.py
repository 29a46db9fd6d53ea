"""When a budget's period begins and ends: hours, days, weeks and months of a calendar in a time zone.

    Hour   the hours of a day, counted from its midnight: 23, 24 or 25 of them
    Day    midnight to midnight; on the day on which clocks change 23 or 25 hours
    Week   from Monday's midnight (ISO 8601)
    Month  from the first's midnight, whatever its length

Periods of one kind in one zone follow each other without a gap and without an overlap (tests/properties/test_periods.py), so that every
second of spending belongs to exactly one. Where the clocks skip midnight, the day begins when they do; where it comes twice, then first.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from modelward_operator.api.period import Period

ONE_DAY: Final = timedelta(days=1)
ONE_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, its start included and its end not. Aware, UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> int:
        """How long it is."""
        return int((self.end - self.start).total_seconds())

    def left(self, now: datetime) -> int:
        """Return the seconds from `now` to the end, at least one."""
        return max(int((self.end - now).total_seconds()), 1)


def span_of(period: Period, zone: tzinfo, now: datetime) -> Span:
    """Return the period in which `now`, an aware time, lies."""
    today = _today(zone, now)
    if period is Period.HOUR:
        return _hour(zone, today, now)
    if period is Period.DAY:
        return Span(_midnight(zone, today), _midnight(zone, today + ONE_DAY))
    if period is Period.WEEK:
        monday = today - today.weekday() * ONE_DAY
        return Span(_midnight(zone, monday), _midnight(zone, monday + 7 * ONE_DAY))
    first = today.replace(day=1)
    return Span(_midnight(zone, first), _midnight(zone, (first + 31 * ONE_DAY).replace(day=1)))


def _today(zone: tzinfo, now: datetime) -> date:
    """Return the day whose midnights enclose `now`: near a change of the clocks not always the date that they show."""
    today = now.astimezone(zone).date()
    if now < _midnight(zone, today):
        return today - ONE_DAY
    return today + ONE_DAY if now >= _midnight(zone, today + ONE_DAY) else today


def _midnight(zone: tzinfo, day: date) -> datetime:
    """Return the instant at which the day begins. Of a midnight that does not exist, `fold=0` gives the moment of the change."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _hour(zone: tzinfo, today: date, now: datetime) -> Span:
    """Count from the day's beginning: where clocks change by half an hour, the day's last hour is a short one."""
    begin, end = _midnight(zone, today), _midnight(zone, today + ONE_DAY)
    start = begin + (now - begin) // ONE_HOUR * ONE_HOUR
    return Span(start, min(start + ONE_HOUR, end))
