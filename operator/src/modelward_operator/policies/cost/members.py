"""What budgets look at of the models of a namespace, and the lines that one budget makes of it. Pure.

    ModelDeployment, its Deployment ─▶ Member ┐
    Book ─▶ what was spent in the period      ├─▶ Line
    pods' rates, or a quote ─▶ Price          ┘

A model that was deleted has no Member any more; its row in the book counts all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelward_operator.api.costbudget import CostBudgetSpec
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scaling import BOUNDED, MOST_REPLICAS, Autoscaler
from modelward_operator.ledger.book import Book
from modelward_operator.policies.cost.lines import Line
from modelward_operator.policies.cost.periods import Span
from modelward_operator.pricing.facts import Rate
from modelward_operator.pricing.money import charge


@dataclass(frozen=True, slots=True)
class Member:
    """A ModelDeployment as it is now."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    in_use: int = 0
    asked: int = 0
    ceiling: int = 1


@dataclass(frozen=True, slots=True)
class Price:
    """What a replica of a model costs, or why that is not known."""

    rate: Rate | None = None
    unpriced: str = ""


def ceiling_of(spec: ModelDeploymentSpec) -> int:
    """Return the most replicas that a spec lets anybody ask for, at least one: a floor may be paid for a model that is at zero."""
    scaling = spec.scaling
    if scaling.chosen is Autoscaler.EXTERNAL and scaling.replicas is None:
        return MOST_REPLICAS
    return max(scaling.maximum if scaling.chosen in BOUNDED else scaling.replicas or 1, 1)


@dataclass(frozen=True, slots=True)
class Account:
    """The book, asked for one period as of now."""

    book: Book
    span: Span
    now: datetime

    def spent(self, model: str, currency: str) -> int:
        """Return what a model has cost in the period: what was charged, and what its pods have cost since."""
        start, end, now = (int(moment.timestamp()) for moment in (self.span.start, self.span.end, self.now))
        charged = self.book.spent(model, start, end).get(currency, 0)
        pods = [pod for pod in self.book.open_pods(model) if pod.rate and pod.rate.currency == currency]
        return charged + sum(
            charge(pod.rate.nano, max(pod.through, start), now) for pod in pods if pod.rate and pod.through < now
        )

    def hourly(self, model: str, currency: str) -> int:
        """Return what a model's pods cost per hour."""
        return self.book.hourly(model).get(currency, 0)


def lines_of(
    spec: CostBudgetSpec,
    members: Iterable[Member],
    gone: Mapping[str, Mapping[str, str] | None],
    prices: Mapping[str, Price],
    account: Account,
) -> Sequence[Line]:
    """Return a line for each model that the budget selects, and for each that was deleted and has cost it something.

    `gone` gives the labels that a deleted model had, None where nobody knows them: then it counts, for money must not be spent twice.
    """
    lines = [_line(spec, member, prices[member.name], account) for member in members if spec.selects(member.labels)]
    counting = [name for name, labels in gone.items() if labels is None or spec.selects(labels)]
    former = [Line(name, spent=account.spent(name, spec.currency), exists=False) for name in counting]
    return [*lines, *(line for line in former if line.spent)]


def _line(spec: CostBudgetSpec, member: Member, price: Price, account: Account) -> Line:
    unpriced, rate = price.unpriced, price.rate
    if rate is not None and rate.currency != spec.currency:
        unpriced, rate = f"its nodes have a price in {rate.currency}, and the budget counts {spec.currency}", None
    return Line(
        member.name,
        spent=account.spent(member.name, spec.currency),
        hourly=account.hourly(member.name, spec.currency),
        price=rate.nano if rate else None,
        in_use=member.in_use,
        asked=member.asked,
        ceiling=member.ceiling,
        unpriced=unpriced,
        is_foreign=rate is None and price.rate is not None,
    )
