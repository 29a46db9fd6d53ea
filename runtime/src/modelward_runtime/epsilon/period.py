"""When a budget begins anew: periods of the calendar in UTC, the same for every pod. Pure.

Used by `account.py` with a time that `clock.py` has agreed upon; nobody's own clock counts here.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

Period = Literal["Hour", "Day", "Week", "Month"]
FOR_EVER: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that RFC 3339 can say


def end_of(period: Period, now: int) -> int:
    """The first second after the period that `now` falls into; both in seconds since the epoch."""
    if now >= FOR_EVER - 40 * 86_400:
        return FOR_EVER
    moment = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0)
    if period == "Hour":
        return round((moment + timedelta(hours=1)).timestamp())
    day = moment.replace(hour=0)
    if period == "Day":
        return round((day + timedelta(days=1)).timestamp())
    if period == "Week":
        return round((day + timedelta(days=7 - day.weekday())).timestamp())
    return round((day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp())


def show(seconds: int) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def parse(text: str) -> int:
    """The inverse of `show`. ValueError for anything else."""
    return round(datetime.fromisoformat(text).timestamp())
