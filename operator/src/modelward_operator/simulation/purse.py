"""Money in the simulation: the operator's own book charges the pods, its own budgets are evaluated, its own room bounds the replicas.

    pods ──▶ ledger.Book ──▶ spent in each budget's period ──▶ policies/cost/budget.evaluate ──▶ Allowances ──▶ rooms: cost

Called by `replay.py` once in `LOOK` seconds, and whenever the number that is asked for changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from modelward_operator.api.timezone import zone
from modelward_operator.facts import Allowance, Cost
from modelward_operator.ledger.book import Book
from modelward_operator.ledger.cells import DAY
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.policies.cost.budget import ACTIONS, Evaluation, evaluate
from modelward_operator.policies.cost.members import Account, Member, Price, ceiling_of, lines_of
from modelward_operator.policies.cost.periods import span_of
from modelward_operator.policies.cost.report import step
from modelward_operator.policies.cost.rule import cost
from modelward_operator.policies.cost.standing import Standing
from modelward_operator.pricing.money import units
from modelward_operator.rulings import Ruling
from modelward_operator.simulation.case import Case
from modelward_operator.simulation.world import Pod, World

LOOK: Final = 15.0
"""Seconds between two evaluations while nothing changes."""
NODE: Final = "simulated"


@dataclass(frozen=True, slots=True)
class Step:
    """A step on a budget's ladder."""

    time: float
    budget: str
    action: str
    spent: str
    """In the budget's period, in its currency."""
    message: str


class Purse:
    """What one case has spent, and what its budgets leave to it."""

    def __init__(self, case: Case, begins: datetime) -> None:
        self._case = case
        self._begins = begins
        self._origin = int(begins.timestamp())
        self._standings = dict.fromkeys(case.budgets, Standing())
        self._ruling = Ruling()
        self.book = Book()
        self.steps: list[Step] = []
        self.due = 0.0
        self._forgotten = 0
        self._day = self._origin // DAY

    def look(self, world: World, asked: int) -> Ruling:
        """Charge the pods until now, ask the budgets about the `asked` replicas, and return the rooms' ruling."""
        now = self.charge(world)
        self.due = world.now + LOOK
        if self._case.budgets:
            self._ruling = self._ask(world, asked, now)
        return self._ruling

    @property
    def total(self) -> int:
        """Charged since the trace's start, in billionths."""
        return self._forgotten + self._charged()

    @property
    def hourly(self) -> int:
        """What the pods cost per hour now, in billionths."""
        return sum(self.book.hourly(self._case.name).values())

    def charge(self, world: World) -> datetime:
        """Charge the pods until now; returns when that is."""
        moment = self._begins + timedelta(seconds=world.now)
        now = int(moment.timestamp())
        pods = [*world.pods, *world.gone]
        self.book.observe(self._case.name, [self._sighting(pod, world.now) for pod in pods], now)
        world.gone.clear()
        if now // DAY > self._day:  # as the accountant does now and then: what no period reaches back to is dropped
            self._day, before = now // DAY, self._charged()
            self.book.forget(now, ())
            self._forgotten += before - self._charged()
        return moment

    def _charged(self) -> int:
        rows = self.book.rows.get(self._case.name, {}).values()
        return sum(sum(row.day(day).values()) for row in rows for day in row.days())

    def _sighting(self, pod: Pod, now: float) -> Sighting:
        start, is_over = self._origin + int(pod.born), pod.gone_at <= now
        end = self._origin + int(pod.gone_at) if is_over else None
        return Sighting(pod.name, self._case.name, NODE, start, end, self._case.rate, is_over)

    def _ask(self, world: World, asked: int, now: datetime) -> Ruling:
        found = [self._evaluate(name, world, asked, now) for name in self._case.budgets]
        allowances = [one for seen in found for one in seen.allowances.values()]
        return cost(replace(self._case.given, now=now, cost=self._cost(allowances)), self._case.spec)

    def _cost(self, allowances: Sequence[Allowance]) -> Cost:
        rate = self._case.rate
        return Cost(currency=rate.currency if rate else "", allowances=allowances)

    def _evaluate(self, name: str, world: World, asked: int, now: datetime) -> Evaluation:
        spec, before = self._case.budgets[name], self._standings[name]
        case, rate = self._case, self._case.rate
        member = Member(case.name, case.labels, world.wanted, asked, max(ceiling_of(case.spec), asked))
        price = Price(rate, "" if rate else case.price)
        account = Account(self.book, span_of(spec.period, zone(spec.time_zone), now), now)
        seen = evaluate(name, spec, lines_of(spec, [member], {}, {case.name: price}, account), now, before)
        self._standings[name] = seen.standing
        if taken := step(seen, before):
            self.steps.append(Step(world.now, name, ACTIONS[seen.standing.peak], units(seen.spent), taken[2]))
        return seen
