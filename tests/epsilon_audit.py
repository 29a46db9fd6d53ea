"""Measures the epsilon of a mechanism from outside: how much likelier an event is under one input than under its neighbour.

For an event E and neighbouring inputs a and b, an epsilon-private mechanism has ln P(E|a) - ln P(E|b) <= epsilon. Each probability is
bounded from counts by the Chernoff bound (Hoeffding, 1963, theorem 1: P(the share is beyond p) <= exp(-n KL(share, p))), which holds for
every n without an approximation; a bound of the difference that is above epsilon is proof that the promise is broken, but for chance.

The false alarms of one `measure` are at most `FALSE_ALARM`: it is shared out among all events, both directions, and the two
probabilities of each. A mechanism that keeps its promise exactly fails a test less often than once in a million runs.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FALSE_ALARM: Final = 1e-6
Outputs = npt.NDArray[Any]
Event = Callable[[Outputs], npt.NDArray[np.bool_]]


def measure(under: Outputs, neighbour: Outputs, events: Mapping[str, Event]) -> tuple[float, str]:
    """The greatest epsilon that is certain, and the event that shows it. The first axis of both counts the runs."""
    chance = FALSE_ALARM / (4 * len(events))
    found = [
        (_certain(one, other, chance), name)
        for name, event in events.items()
        for one, other in ((event(under), event(neighbour)), (event(neighbour), event(under)))
    ]
    return max(found)


def _certain(likely: npt.NDArray[np.bool_], unlikely: npt.NDArray[np.bool_], chance: float) -> float:
    least = _bound(int(likely.sum()), len(likely), chance, 0.0)
    most = _bound(int(unlikely.sum()), len(unlikely), chance, 1.0)
    return math.log(least / most) if least > 0 else -math.inf


def _bound(count: int, runs: int, chance: float, end: float) -> float:
    """The probability farthest towards `end` under which so extreme a share is no less likely than `chance`."""
    share, far = count / runs, -math.log(chance) / runs
    near, beyond = share, end
    for _ in range(60):
        middle = (near + beyond) / 2
        near, beyond = (middle, beyond) if _divergence(share, middle) <= far else (near, middle)
    return beyond if end else near


def _divergence(share: float, p: float) -> float:
    """Kullback and Leibler's, between coins."""
    parts = ((share, p), (1 - share, 1 - p))
    return sum(a * math.log(a / b) if b > 0 else math.inf for a, b in parts if a > 0)
