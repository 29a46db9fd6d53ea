"""Divide a rate among models that want replicas: nobody gets more than it wants, all together no more than the rate. Called by `pots.py`.

    all fits           ──▶ everybody gets what he wants
    it does not        ──▶ each the same part of it, in whole replicas; what is left over goes to the largest remainders, then by name

The result depends on the wants alone, not on their order (tests/properties/test_budget_allocation.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """Replicas that a model wants beyond what it was granted."""

    model: str
    replicas: int
    price: int
    """Per replica and hour, in billionths."""

    @property
    def cost(self) -> int:
        """Per hour."""
        return self.replicas * self.price


def divide(rate: int, wants: Iterable[Want]) -> Mapping[str, int]:
    """Return the replicas that each model gets of `rate`, an amount per hour. What costs nothing is granted."""
    wanted = [want for want in wants if want.replicas > 0]
    granted = {want.model: want.replicas for want in wanted if want.price == 0}
    priced = [want for want in wanted if want.price > 0]
    total = sum(want.cost for want in priced)
    if total <= rate:
        return granted | {want.model: want.replicas for want in priced}
    rate = max(rate, 0)
    granted |= {want.model: want.replicas * rate // total for want in priced}
    rest = rate - sum(granted[want.model] * want.price for want in priced)
    for want in sorted(priced, key=lambda want: (-(want.replicas * rate % total), want.model)):
        if granted[want.model] < want.replicas and want.price <= rest:
            granted[want.model] += 1
            rest -= want.price
    return granted
