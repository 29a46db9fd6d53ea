"""How many replicas each model of one pot of money may have: the formula, the ladder and its hysteresis. Called by `budget.py`.

A pot is the whole limit with allocation Shared, and one model's share of it with PerModel.

    left        = limit − spent
    set aside   = Σ floor × price × seconds to the period's end
    free        = left − set aside
    affordable  = floor + ⌊ free / (price × min(burnWindow, seconds to the end)) ⌋

    what runs        is paid first
    what is asked    comes next, at a price with a margin, so that nothing is granted that is taken away again at once
    what is left     is divided equally, for whoever asks next

Near the end of the period the window becomes small, and would allow anything: it is never less than `GUARD`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from modelward_operator.api.costbudget import CostBudgetSpec, OnExceeded, OnForecast, OnUnknownCost
from modelward_operator.policies.cost.allocation import Want, divide
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.money import over
from modelward_operator.pricing.money import HOUR
from modelward_operator.rulings import NO_LIMIT

GUARD: Final = 60
"""Seconds that a decision takes to show in the bill: an evaluation, a pass, and a pod that ends. Money for so long is never promised."""
MARGIN: Final = 11
"""Tenths of its price that a replica must be affordable at before it is added."""


class Rung(IntEnum):
    """The ladder."""

    NONE = 0
    ALERT = 1
    CLAMP = 2
    FLOOR = 3
    ZERO = 4
    SUSPEND = 5


RUNGS: Final = {
    OnExceeded.ALERT: Rung.ALERT,
    OnExceeded.CLAMP: Rung.CLAMP,
    OnExceeded.FLOOR: Rung.FLOOR,
    OnExceeded.ZERO: Rung.ZERO,
    OnExceeded.SUSPEND: Rung.SUSPEND,
}


@dataclass(frozen=True, slots=True)
class Pot:
    """Money, and the models that live on it for `seconds` more."""

    spec: CostBudgetSpec
    limit: int
    lines: Sequence[Line]
    seconds: int
    was_at_zero: bool = False
    """True when the budget had gone to zero before, in this period and under no lower limit."""

    @property
    def left(self) -> int:
        """Of the limit; negative when more was spent."""
        return self.limit - sum(line.spent for line in self.lines)

    @property
    def set_aside(self) -> int:
        """What the floors cost until the end."""
        return sum(over(self.floor(line) * (line.price or 0), self.seconds) for line in self.lines if line.is_counted)

    @property
    def forecast(self) -> int:
        """What will have been spent when the period ends."""
        return self.limit - self.left + over(sum(line.hourly for line in self.lines), self.seconds)

    @property
    def rung(self) -> Rung:
        """How far the budget's ladder goes."""
        return RUNGS[self.spec.on_exceeded]

    @property
    def window(self) -> int:
        """Seconds for which what burns must be affordable."""
        return max(min(self.spec.burn_window_seconds, self.seconds), GUARD)

    def floor(self, line: Line) -> int:
        """Return the floor of one model: no more than it may have at all."""
        return min(self.spec.floor, line.ceiling)

    @property
    def is_at_zero(self) -> bool:
        """True when the limit is reached and the ladder takes every replica.

        It is left only with twice the money that makes it fall and with what the floors need: the money for a minute, which is left over,
        would start them for a minute again and again.
        """
        if self.rung < Rung.ZERO:
            return False
        counted = [line for line in self.lines if line.is_counted]
        due = {line: max(line.in_use, self.floor(line), min(1, line.ceiling)) for line in counted}
        reserve = sum(over(count * (line.price or 0), GUARD) for line, count in due.items())
        if self.was_at_zero and not any(line.in_use for line in counted):
            return self.left < 2 * reserve or self.left < self.set_aside
        return self.left <= reserve

    def maxima(self) -> Mapping[str, int]:
        """Return the most replicas that each model may have; `NO_LIMIT` where nothing bounds it."""
        if self.rung <= Rung.ALERT:
            return {line.model: NO_LIMIT for line in self.lines}
        if self.is_at_zero:
            return {line.model: 0 for line in self.lines}
        affordable = self._affordable()
        return {line.model: self._maximum(line, affordable) for line in self.lines}

    def _maximum(self, line: Line, affordable: Mapping[str, int]) -> int:
        if not line.is_counted:
            return NO_LIMIT if self.spec.on_unknown_cost is OnUnknownCost.ALLOW else self.spec.guaranteed
        most = affordable[line.model]
        if self.rung is Rung.CLAMP:
            most = max(most, line.in_use)
        return NO_LIMIT if most >= line.ceiling else most

    def _affordable(self) -> dict[str, int]:
        """Return floor and what is granted above it, for the models whose price is known."""
        lines = {line.model: line for line in self.lines if line.is_counted}
        granted = {name: self.floor(line) for name, line in lines.items()}
        rate = (self.left - self.set_aside) * HOUR // self.window
        rate -= self._grant(granted, rate, {name: line.in_use for name, line in lines.items()}, lines)
        if self.spec.on_forecast is OnForecast.CLAMP:
            rate = min(rate, (self.limit - self.forecast) * HOUR // self.seconds)
        rate = rate * 10 // MARGIN
        rate -= self._grant(granted, rate, {name: line.asked for name, line in lines.items()}, lines)
        self._share_out(granted, rate, lines)
        return granted

    def _grant(self, granted: dict[str, int], rate: int, goal: Mapping[str, int], lines: Mapping[str, Line]) -> int:
        """Raise what is granted towards a goal; return what that costs per hour."""
        wants = [
            Want(name, min(goal[name], line.ceiling) - granted[name], line.price or 0) for name, line in lines.items()
        ]
        taken = 0
        for name, count in divide(rate, wants).items():
            granted[name] += count
            taken += count * (lines[name].price or 0)
        return taken

    def _share_out(self, granted: dict[str, int], rate: int, lines: Mapping[str, Line]) -> None:
        """Divide what nobody has asked for, or give everybody all if it is enough.

        A model at zero may have one as long as one is affordable at all, whoever else may have it too: it could not be woken to ask.
        """
        wants = [Want(name, line.ceiling - granted[name], line.price or 0) for name, line in lines.items()]
        hungry = [want for want in wants if want.replicas > 0]
        if not hungry or sum(want.cost for want in hungry) <= rate:
            granted.update({want.model: lines[want.model].ceiling for want in hungry})
            return
        share = max(rate, 0) // len(hungry)
        for want in hungry:
            part = min(want.replicas, share // want.price) if want.price else want.replicas
            wakes = not granted[want.model] and want.price <= rate
            granted[want.model] += max(part, 1 if wakes else 0)
