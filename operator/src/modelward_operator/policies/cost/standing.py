"""What an evaluation of a budget leaves to the next one, and when a rung counts as left: hysteresis in time. Pure. Called by `budget.py`.

    reached  ─▶ told at once, a Warning if it is higher than the peak
    left     ─▶ the peak stays until nothing as high was reached for CALM of the period (a day at most); then it is told that it is over

A forecast moves with every replica, and near the limit the ladder would be climbed and left again with each of them: without this, a week
of one model is hundreds of warnings, and nobody reads the one that counts. Bounds on replicas do not wait: they follow `pots.py` at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelward_operator.policies.cost.periods import Span
from modelward_operator.policies.cost.pots import Rung

CALM: Final = 10
"""Part of a period, one in so many, that a rung must not be reached for before it counts as left."""
MOST_CALM: Final = timedelta(days=1)
"""Longer than a load of daily rhythm hides its peak."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the last evaluation came to: it makes the difference between staying at zero and going there, and between news and noise."""

    rung: Rung = Rung.NONE
    period: datetime | None = None
    """When its period began."""
    limit: int = 0
    peak: Rung = Rung.NONE
    """The highest rung that was told, and not yet that it is over."""
    reached: datetime | None = None
    """When the peak was reached last; None where an operator that starts anew does not know."""


UNKNOWN: Final = Standing()
"""Before the first evaluation."""


def calm_of(span: Span) -> timedelta:
    """Return for how long a rung must not have been reached."""
    return min((span.end - span.start) / CALM, MOST_CALM)


def stand(rung: Rung, limit: int, span: Span, now: datetime, before: Standing) -> Standing:
    """Return how things stand after an evaluation that came to `rung`.

    A new period, a higher limit, and the end of a standstill are told at once: somebody did something, or the calendar did.
    """
    afresh = before.period != span.start or limit > before.limit or before.peak >= Rung.ZERO
    reached = before.reached or now
    if rung >= before.peak or afresh:
        return Standing(_shown(rung, rung), span.start, limit, rung, now)
    if now - reached < calm_of(span):
        return Standing(_shown(rung, before.peak), span.start, limit, before.peak, reached)
    return Standing(rung, span.start, limit, rung, now)


def _shown(rung: Rung, peak: Rung) -> Rung:
    """Return the rung that a status says: while it is not over, there is at least an alert."""
    return max(rung, min(peak, Rung.ALERT))
