"""A synthetic trace with the rhythm of days and weeks, quiet nights, and bursts: what `simulate --make-trace` writes.

    rate(t) = peak × day(t) × week(t) + Σ bursts        requests a second, t in hours since Monday 00:00
    day     = max(0, sin(π (h − 6) / 16))²              from 06:00 to 22:00, highest at 14:00, nothing at night
    week    = 1 from Monday to Friday, 0.25 on Saturday and Sunday
    burst   = height × e^(−minutes since / 6)           one and a half a day on average, at any hour, 2 to 8 times half the peak

Counts per minute are Poisson. The same seed gives the same file on every machine; the one that is shipped
(operator/examples/simulate/week.csv) is `simulate --make-trace` with its defaults. Called by `command.py`.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelward_operator.simulation.trace import Row, Trace

STEP: Final = 60.0
BURSTS_A_DAY: Final = 1.5
BURST_DECAY: Final = 6.0
"""Minutes after which a burst has fallen to 1/e."""
WEEKEND: Final = 0.25


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What the generator can be told."""

    days: int = 7
    peak: float = 4.0
    """Requests a second at the height of a working day."""
    seconds: float = 1.5
    """Mean service time of a request."""
    seed: int = 1


def make_trace(rhythm: Rhythm) -> Trace:
    """Return the trace, one row a minute."""
    draw = random.Random(rhythm.seed)  # noqa: S311  a simulation, no secret
    bursts = [
        (draw.random() * rhythm.days * 1440, (2 + 6 * draw.random()) * rhythm.peak / 2)
        for _ in range(round(rhythm.days * BURSTS_A_DAY))
    ]
    rows = []
    for minute in range(rhythm.days * 1440):
        mean = STEP * (rhythm.peak * _usual(minute / 60) + _burst(minute, bursts))
        rows.append(Row(minute * STEP, STEP, _poisson(draw, mean), rhythm.seconds))
    return Trace(tuple(rows))


def _usual(hours: float) -> float:
    hour, day = hours % 24, int(hours // 24) % 7
    daily = math.sin(math.pi * (hour - 6) / 16) ** 2 if 6 <= hour <= 22 else 0.0
    return daily * (WEEKEND if day >= 5 else 1.0)


def _burst(minute: int, bursts: Sequence[tuple[float, float]]) -> float:
    return sum(
        height * math.exp(-(minute - begun) / BURST_DECAY) for begun, height in bursts if begun <= minute < begun + 60
    )


def _poisson(draw: random.Random, mean: float) -> int:
    """Count the exponential waits that fit into a stretch: exact for every mean, and it needs no table."""
    count, waited = 0, draw.expovariate(1.0)
    while waited < mean:
        count += 1
        waited += draw.expovariate(1.0)
    return count
