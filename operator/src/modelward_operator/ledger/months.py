"""How long ledgers are kept: the month that runs somewhere on earth, and the one before it. Pure.

A budget needs the month that it counts in; people ask for the last one when its bill comes. What is older is deleted, so that the ledger
does not grow for ever: whoever needs it longer exports it (`kubectl modelward cost --csv`).
"""

from datetime import timedelta

from modelward_operator.ledger.cells import EPOCH


def kept_months(now: int) -> list[str]:
    """Return the months whose ledgers are kept, as `2026-11`, oldest first: two, and on the first of a month three."""
    moment = EPOCH + timedelta(seconds=now)
    running = (moment - timedelta(days=1)).replace(day=1)  # by the westernmost clock
    return sorted({month.strftime("%Y-%m") for month in (running - timedelta(days=1), running, moment)})


def month_start(now: int) -> int:
    """Return when the UTC month began, in seconds since the epoch."""
    moment = EPOCH + timedelta(seconds=now)
    return int((moment.replace(day=1, hour=0, minute=0, second=0) - EPOCH).total_seconds())
