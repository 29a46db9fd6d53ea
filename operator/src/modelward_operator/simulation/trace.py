"""A request trace: what came when, as CSV, and the single requests that it stands for. Called by `command.py` and `replay.py`.

    time,requests,seconds
    0,12,0.25
    60,0,0.25

`time` is seconds since the start, or RFC 3339 with a zone; `requests` is how many come from then until the next row's time (the last row
lasts as long as the one before it, a single one 60 s); `seconds` is how long one request keeps one of a replica's places busy on
average. Within a row requests come as a Poisson process does, given their number. Randomness is seeded: the same trace and seed give
the same requests, on every machine.
"""

import csv
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

COLUMNS: Final = ("time", "requests", "seconds")
DAY: Final = 86_400
"""Seconds."""
LONGEST_ALONE: Final = 60.0
"""Seconds that a single row lasts."""
MAX_REQUESTS: Final = 20_000_000
"""More would take hours and tens of gigabytes."""
MAX_DAYS: Final = 400
"""A year, and more than a month of the next: longer ones are most often times in another unit."""
YEARS: Final = (1970, 2200)
"""Dates that a trace may have: beyond, calendars and time zones are not what they are now."""


class BadTrace(ValueError):
    """The trace cannot be replayed; the message has every reason, each with its line."""


class ServiceTime(StrEnum):
    """How the time that single requests take spreads around the mean."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of time with its requests."""

    start: float
    """Seconds since the trace's start."""
    length: float
    requests: int
    seconds: float
    """Mean service time."""


@dataclass(frozen=True, slots=True)
class Trace:
    """All rows, in order and without gaps."""

    rows: Sequence[Row]
    begins: datetime | None = None
    """What the first row says, where it says a date. Aware, UTC."""

    @property
    def length(self) -> float:
        """Seconds from the first row's start to the last one's end."""
        return self.rows[-1].start + self.rows[-1].length

    @property
    def requests(self) -> int:
        """How many requests there are in all."""
        return sum(row.requests for row in self.rows)


def read_trace(lines: Iterable[str]) -> Trace:
    """Read the CSV. Raises BadTrace with all that is wrong, twenty lines at most."""
    table = csv.reader(line for line in lines if line.strip() and not line.startswith("#"))
    header = tuple(cell.strip() for cell in next(table, ()))
    if header != COLUMNS:
        raise BadTrace(f"the first line must be {','.join(COLUMNS)}; it is {','.join(header) or 'missing'}")
    cells, wrong = list[tuple[float, int, float]](), list[str]()
    begins: datetime | None = None
    for number, record in enumerate(table, start=2):
        try:
            time, dated = _time(record[0], begins)
            begins = begins if cells else dated
            cells.append((time, _count(record[1]), _seconds(record[2])))
        except (ValueError, IndexError) as error:
            wrong.append(f"record {number}: {error if record[2:] else 'it needs three cells'}")
            continue
        if len(cells) > 1 and cells[-1][0] <= cells[-2][0]:
            wrong.append(f"record {number}: time must grow from record to record")
    if not wrong and not cells:
        wrong.append("it has no record")
    if wrong:
        raise BadTrace("; ".join(wrong[:20]))
    return _check(Trace(tuple(_rows(cells)), begins))


def _check(trace: Trace) -> Trace:
    if trace.requests > MAX_REQUESTS:
        raise BadTrace(f"it has {trace.requests} requests; at most {MAX_REQUESTS} can be replayed, take a part of it")
    if trace.length > MAX_DAYS * DAY:
        days = trace.length / DAY
        raise BadTrace(
            f"it lasts {days:g} days; at most {MAX_DAYS} can be replayed: time is in seconds, or take a part of it"
        )
    return trace


def _rows(cells: Sequence[tuple[float, int, float]]) -> Iterator[Row]:
    origin = cells[0][0]
    for index, (time, requests, seconds) in enumerate(cells):
        yield Row(time - origin, _length(cells, index), requests, seconds)


def _length(cells: Sequence[tuple[float, int, float]], index: int) -> float:
    if len(cells) == 1:
        return LONGEST_ALONE
    first = min(index, len(cells) - 2)
    return cells[first + 1][0] - cells[first][0]


def _time(text: str, begins: datetime | None) -> tuple[float, datetime | None]:
    """Return the seconds, since the epoch for a date, and the date."""
    try:
        return _finite(text, "time"), None
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"time must be seconds or RFC 3339; it is {text!r}") from None
    if date.tzinfo is None:
        raise ValueError(f"time needs a zone, as in 2026-03-02T00:00:00Z; it is {text!r}")
    if not YEARS[0] < date.year < YEARS[1]:
        raise ValueError(f"time must lie between the years {YEARS[0]} and {YEARS[1]}; it is {text!r}")
    return date.timestamp(), begins or date.astimezone(UTC)


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"requests must be a whole number of zero or more; it is {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    value = _finite(text, "seconds")
    if not 0 < value <= 86_400:
        raise ValueError(f"seconds must be more than 0 and at most 86400; it is {text!r}")
    return value


def _finite(text: str, what: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite; it is {text!r}")
    return value


def write_trace(trace: Trace) -> Iterator[str]:
    """Give the lines of the CSV; a row without requests that follows another is left out, because that one lasts on.

    The last two rows always stand there: they say how long the last one lasts.
    """
    yield ",".join(COLUMNS) + "\n"
    last = len(trace.rows) - 2
    for index, row in enumerate(trace.rows):
        if index in {0, last} or index > last or row.requests or trace.rows[index - 1].requests:
            yield f"{row.start:.12g},{row.requests},{row.seconds:g}\n"


def arrivals(trace: Trace, seed: int, service: ServiceTime) -> Iterator[tuple[float, float]]:
    """Give each request as (time of arrival, service seconds), in order of time."""
    draw = random.Random(seed)  # noqa: S311  a simulation, no secret
    for row in trace.rows:
        for place in sorted(draw.random() for _ in range(row.requests)):
            seconds = row.seconds if service is ServiceTime.CONSTANT else draw.expovariate(1.0 / row.seconds)
            yield row.start + place * row.length, seconds
