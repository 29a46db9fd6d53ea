"""Evaluate one CostBudget: what was spent, how far the ladder has gone, and what each model may have. Pure.

    lines of its models ─▶ pots (Shared: one; PerModel: one each) ─▶ maxima ─▶ rung, allowances, words

Called by cluster/evaluator.py every few seconds, and by the simulator: the same code, so that what was tried before paying holds after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelward_operator.api.costbudget import Allocation, CostBudgetSpec
from modelward_operator.api.timezone import zone
from modelward_operator.facts import Allowance
from modelward_operator.policies.cost import reasons
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.money import over, words
from modelward_operator.policies.cost.periods import Span, span_of
from modelward_operator.policies.cost.pots import RUNGS, Pot, Rung
from modelward_operator.policies.cost.standing import UNKNOWN, Standing, calm_of, stand
from modelward_operator.pricing.money import nano

MORE: Final = "raise spec.limit of the budget or set its spec.override"
ACTIONS: Final = {
    Rung.NONE: "None",
    Rung.ALERT: "Alert",
    Rung.CLAMP: "ClampMaxReplicas",
    Rung.FLOOR: "ScaleToFloor",
    Rung.ZERO: "ScaleToZero",
    Rung.SUSPEND: "Suspend",
}
"""The rungs, as a status says them."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One CostBudget at one moment. Money is in billionths of the currency's unit."""

    name: str
    spec: CostBudgetSpec
    now: datetime
    span: Span
    limit: int
    spent: int
    hourly: int
    forecast: int
    set_aside: int
    """What the floors cost until the period's end."""
    standing: Standing
    """What the next evaluation needs to know of this one."""
    allowances: Mapping[str, Allowance]
    """By model, of those that exist."""
    ceilings: Mapping[str, int]
    """By model, of those that exist: up to how many replicas it was evaluated. Who asks for more since is not allowed it yet."""
    unknown: Sequence[Line] = ()
    """Models that cannot be counted."""

    @property
    def left(self) -> int:
        """Of the limit; negative when more was spent."""
        return self.limit - self.spent

    @property
    def rung(self) -> Rung:
        """How far the ladder has gone."""
        return self.standing.rung

    @property
    def calms(self) -> datetime | None:
        """When an alert whose cause is gone ends; None where there is none, or where its cause holds."""
        is_over = self.rung is Rung.ALERT and not self.warns and self.forecast <= self.limit
        return self.standing.reached + calm_of(self.span) if is_over and self.standing.reached else None

    @property
    def bounds(self) -> bool:
        """True when its ladder goes further than words."""
        return RUNGS[self.spec.on_exceeded] > Rung.ALERT

    @property
    def warns(self) -> bool:
        """True from the share of the limit on that the spec says."""
        return self.spent * 100 >= self.limit * self.spec.warn_percent

    @property
    def terms(self) -> str:
        """The limit and the period in words: what does not move while money is spent, so that a model's status need not either."""
        until = self.span.end.strftime("%Y-%m-%d %H:%M UTC")
        return f"{words(self.limit, self.spec.currency)} in the {self.spec.period.lower()} that ends {until}"


def limit_of(spec: CostBudgetSpec, now: datetime) -> int:
    """Return the limit, with the override while it holds."""
    extra = spec.override.extra_limit if spec.override and spec.override.holds(now) else "0"
    return nano(spec.limit) + nano(extra)


def evaluate(
    name: str, spec: CostBudgetSpec, lines: Sequence[Line], now: datetime, before: Standing = UNKNOWN
) -> Evaluation:
    """Return what the budget `name` makes of its models. `lines` in any order, spent in the period that `now` lies in."""
    span, limit = span_of(spec.period, zone(spec.time_zone), now), limit_of(spec, now)
    was_at_zero = before.rung >= Rung.ZERO and before.period == span.start and limit <= before.limit
    pots = [Pot(spec, share, part, span.left(now), was_at_zero) for share, part in _shares(spec, limit, lines)]
    maxima = {model: maximum for pot in pots for model, maximum in pot.maxima().items()}
    bare = Evaluation(
        name=name,
        spec=spec,
        now=now,
        span=span,
        limit=limit,
        spent=sum(line.spent for line in lines),
        hourly=sum(line.hourly for line in lines),
        forecast=sum(line.spent for line in lines) + over(sum(line.hourly for line in lines), span.left(now)),
        set_aside=sum(pot.set_aside for pot in pots),
        standing=stand(max((_rung(pot, maxima) for pot in pots), default=Rung.NONE), limit, span, now, before),
        allowances={},
        ceilings={line.model: line.ceiling for line in lines if line.exists},
        unknown=tuple(
            line for line in sorted(lines, key=lambda line: line.model) if not line.is_counted and line.exists
        ),
    )
    return _with_allowances(bare, pots, maxima)


def _shares(spec: CostBudgetSpec, limit: int, lines: Sequence[Line]) -> Iterator[tuple[int, Sequence[Line]]]:
    """Yield each pot's limit and models."""
    if spec.allocation is Allocation.SHARED:
        yield limit, lines
        return
    gone = sum(line.spent for line in lines if not line.exists)
    share = fair_share(limit, [line.spent for line in lines if line.exists], gone)
    yield from ((share, (line,)) for line in lines if line.exists)


def fair_share(limit: int, spent: Sequence[int], gone: int) -> int:
    """Return the equal share of each model: with what others have spent beyond theirs, all together come to the limit.

    A model that joins makes the shares smaller; what was spent until then cannot be taken back, and comes out of the others'.
    """
    rest, open_ = limit - gone, len(spent)
    for amount in sorted(spent, reverse=True):
        if amount * open_ <= rest:
            break
        rest, open_ = rest - amount, open_ - 1
    return max(rest, 0) // open_ if open_ else 0


def _rung(pot: Pot, maxima: Mapping[str, int]) -> Rung:
    """Return the rung that shows in what one pot's models may have."""
    if pot.is_at_zero:
        return pot.rung
    held = [line for line in pot.lines if line.is_counted and maxima[line.model] < line.asked]
    if any(maxima[line.model] <= pot.floor(line) for line in held):
        return min(Rung.FLOOR, pot.rung)
    if held:
        return Rung.CLAMP
    spent = pot.limit - pot.left
    nears = spent * 100 >= pot.limit * pot.spec.warn_percent or pot.forecast > pot.limit
    return Rung.ALERT if nears and pot.lines else Rung.NONE


def _with_allowances(bare: Evaluation, pots: Sequence[Pot], maxima: Mapping[str, int]) -> Evaluation:
    found = {
        line.model: _allowance(bare, pot, line, maxima[line.model]) for pot in pots for line in pot.lines if line.exists
    }
    return replace(bare, allowances=found)


def _allowance(seen: Evaluation, pot: Pot, line: Line, maximum: int) -> Allowance:
    reason = _reason(pot, line, maximum)
    return Allowance(
        budget=seen.name,
        maximum=maximum,
        is_suspended=pot.rung is Rung.SUSPEND and pot.is_at_zero,
        reason=reason,
        message=f"CostBudget {seen.name} ({seen.terms}): {_consequence(reason, pot, line, maximum)}",
    )


def _reason(pot: Pot, line: Line, maximum: int) -> str:
    """Return why the model gets less than it asks for; empty where it does not."""
    if pot.is_at_zero:
        return reasons.BUDGET_EXCEEDED
    if maximum >= max(line.asked, 1):  # at zero nothing is asked for, and nothing could be
        return ""
    if not line.is_counted:
        return reasons.CURRENCY_MISMATCH if line.is_foreign else reasons.COST_UNKNOWN
    return reasons.BUDGET_AT_FLOOR if maximum <= pot.floor(line) else reasons.BUDGET_CLAMPED


def _consequence(reason: str, pot: Pot, line: Line, maximum: int) -> str:
    """Return what follows for one model, and what to do about it."""
    some = f"{maximum} of the {line.asked} replicas that are asked for may run" if line.asked else "none may be started"
    if reason == reasons.BUDGET_EXCEEDED:
        return f"the limit is reached, none may run until then: {MORE}, which takes the verb relax"
    if reason in {reasons.COST_UNKNOWN, reasons.CURRENCY_MISMATCH}:
        return (
            f"{some}: {line.unpriced}; add the price to a PriceBook, or set spec.onUnknownCost of the budget to Allow"
        )
    if reason == reasons.BUDGET_AT_FLOOR:
        return f"{some}, its floor, for which what is left is set aside; raise spec.limit of the budget, or wait for the next period"
    if reason:
        pace = f"what is left above the floor must last {pot.spec.burn_window_seconds} s"
        return f"{some}: {pace}; raise spec.limit of the budget, ask for fewer, or wait for the next period"
    return "what is asked for may run"
