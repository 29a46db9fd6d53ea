"""Every moment lies in exactly one period, whatever the clocks of the zone do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelward_operator.api.period import Period
from modelward_operator.api.timezone import zone, zone_names
from modelward_operator.policies.cost.periods import Span, span_of

zones = st.sampled_from(sorted(zone_names())).map(zone)
moments = st.datetimes(datetime(1995, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  aware by `timezones`
periods = st.sampled_from(Period)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@given(periods, zones, moments)
@example(Period.DAY, ZoneInfo("Pacific/Apia"), at("2011-12-30T10:30:00+00:00"))  # a day that never was
@example(Period.HOUR, ZoneInfo("Australia/Lord_Howe"), at("2026-10-03T15:35:00+00:00"))  # clocks change by half an hour
@example(Period.DAY, ZoneInfo("America/Havana"), at("2026-11-01T05:10:00+00:00"))  # midnight comes twice
@example(Period.DAY, ZoneInfo("Africa/Cairo"), at("2026-04-23T22:30:00+00:00"))  # midnight does not come
def test_a_moment_lies_in_its_period_and_the_next_period_begins_where_it_ends(
    period: Period, where: ZoneInfo, now: datetime
) -> None:
    span = span_of(period, where, now)
    assert span.start <= now < span.end
    assert span_of(period, where, span.start) == span
    assert span_of(period, where, span.end - timedelta(seconds=1)) == span
    assert span_of(period, where, span.end).start == span.end
    assert span_of(period, where, span.start - timedelta(seconds=1)).end == span.start


@given(periods, zones, moments)
def test_periods_begin_on_quarter_hours_so_that_the_ledger_can_sum_them(
    period: Period, where: ZoneInfo, now: datetime
) -> None:
    span = span_of(period, where, now)
    assert 0 == span.start.timestamp() % 900 == span.end.timestamp() % 900


BERLIN = zone("Europe/Berlin")
TABLE = [
    # why this row, period, zone, now, start and end
    ("a day of 23 hours", Period.DAY, BERLIN, "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
    ("a day of 25 hours", Period.DAY, BERLIN, "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
    (
        "the hour that comes twice, first",
        Period.HOUR,
        BERLIN,
        "2026-10-25T00:30Z",
        "2026-10-25T00:00Z",
        "2026-10-25T01:00Z",
    ),
    (
        "the hour that comes twice, then",
        Period.HOUR,
        BERLIN,
        "2026-10-25T01:30Z",
        "2026-10-25T01:00Z",
        "2026-10-25T02:00Z",
    ),
    ("a week with a change", Period.WEEK, BERLIN, "2026-10-25T12:00Z", "2026-10-18T22:00Z", "2026-10-25T23:00Z"),
    ("a month with a change", Period.MONTH, BERLIN, "2026-10-31T12:00Z", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
    ("February", Period.MONTH, zone("UTC"), "2026-02-28T23:59Z", "2026-02-01T00:00Z", "2026-03-01T00:00Z"),
    (
        "a leap year's February",
        Period.MONTH,
        zone("UTC"),
        "2028-02-29T23:59Z",
        "2028-02-01T00:00Z",
        "2028-03-01T00:00Z",
    ),
    (
        "a month that ends a year",
        Period.MONTH,
        zone("Asia/Tokyo"),
        "2026-12-31T14:59Z",
        "2026-11-30T15:00Z",
        "2026-12-31T15:00Z",
    ),
    (
        "hours off by 45 minutes",
        Period.HOUR,
        zone("Asia/Kathmandu"),
        "2026-01-01T00:20Z",
        "2026-01-01T00:15Z",
        "2026-01-01T01:15Z",
    ),
    (
        "a week begins on Monday",
        Period.WEEK,
        zone("UTC"),
        "2026-11-30T00:00Z",
        "2026-11-30T00:00Z",
        "2026-12-07T00:00Z",
    ),
]


@pytest.mark.parametrize(("reason", "period", "where", "now", "start", "end"), TABLE, ids=[row[0] for row in TABLE])
def test_a_period_begins_and_ends(reason: str, period: Period, where: ZoneInfo, now: str, start: str, end: str) -> None:
    assert Span(at(start), at(end)) == span_of(period, where, at(now)), reason
