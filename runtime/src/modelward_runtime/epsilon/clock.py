"""What time it is, where a wrong answer would hand out a budget twice.

Two clocks that know nothing of each other must agree: the API server's (the Date of its answer) and this node's. When they are further
apart than `TOLERANCE`, nothing is reserved until somebody has mended them. Within it the earlier one decides whether a period has ended,
and the later one how long a block may be spent from: each errs towards spending less. Time that a shard has seen never runs backwards
(`account.py`), and from a shard whose time is ahead of both by more than `TOLERANCE` nothing is reserved until it has come: somebody
moved it, or both clocks were wrong. So a jump of one clock frees nothing at all, and both together free a period early by what they
are ahead, once.

Used by `shards.py` and `ledger.py`. Between two answers a clock counts that nobody can set and that goes on while a machine sleeps.
"""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = 300.0  # seconds, as Kerberos has it


@dataclass(frozen=True, slots=True)
class Instant:
    """The present, between two bounds, in seconds since the epoch."""

    earliest: int
    latest: int


class ClocksDisagree(Exception):
    """The node's clock, the API server's and the shard's are too far apart to tell which period it is."""


def agree(date: str, own: float) -> Instant:
    """What both clocks allow. `date` is an HTTP date, which has whole seconds. ClocksDisagree when there is none."""
    try:
        server = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        raise ClocksDisagree("the API server's answer has no date") from None
    if abs(server - own) > TOLERANCE:
        raise ClocksDisagree(f"this node's clock is {own - server:+.0f} s from the API server's")
    return Instant(int(min(server, own)), int(max(server, own)) + 1)


def check_ahead(observed: int, instant: Instant) -> None:
    """ClocksDisagree when the time of a shard has not come by any clock: the periods that it has ended have not."""
    ahead = observed - instant.latest
    if ahead > TOLERANCE:
        raise ClocksDisagree(
            f"the ledger's time is {ahead} s ahead of every clock: nothing is reserved before it has come"
        )


def elapsed() -> float:
    """Seconds of a clock that is never set and that counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
