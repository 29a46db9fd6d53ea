"""Cost: no more replicas than every budget leaves, and than a ModelPolicy lets a model cost. Asked by `rooms.py`.

The decision was made before, over all models of a budget at once (`budget.py`); here it is held against one. Bounds intersect, so of two
budgets the tighter holds.
"""

from collections.abc import Iterator, Sequence

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Allowance, Given, Policy
from modelward_operator.policies.cost.money import words
from modelward_operator.policies.cost.reasons import PRICE_ABOVE_MAXIMUM
from modelward_operator.policies.governance.reasons import MODEL_POLICY_VIOLATED
from modelward_operator.pricing.money import nano
from modelward_operator.rulings import Bounds, Ruling, Verdict


def cost(given: Given, _spec: ModelDeploymentSpec) -> Ruling:
    """Bound the replicas; deny where a ladder has reached Suspend, or one replica is dearer than a policy allows."""
    allowances = allowances_of(given)
    verdicts = [Verdict("WithinBudget", a.reason, a.message) for a in allowances if a.is_suspended]
    verdicts += [Verdict("Ready", MODEL_POLICY_VIOLATED, words) for words in _too_dear(given)]
    most = min((a.maximum for a in allowances), default=Bounds().maximum)
    return Ruling(frozenset(verdicts), Bounds(maximum=most))


def allowances_of(given: Given) -> Sequence[Allowance]:
    """Return what each budget and each ModelPolicy with a maximum price leaves, the tightest first."""
    found = [*given.cost.allowances, *_by_policies(given)]
    return sorted(found, key=lambda a: (not a.is_suspended, a.maximum, a.budget))


def _by_policies(given: Given) -> Iterator[Allowance]:
    """What several replicas may cost together. A price of nothing bounds nothing."""
    for policy, most in _limits(given):
        if given.cost.price and given.cost.price <= most:
            maximum = most // given.cost.price
            limit, one = words(most, given.cost.currency), words(given.cost.price, given.cost.currency)
            message = f"ModelPolicy {policy.name}: a model may cost {limit} per hour and a replica costs {one}: at most {maximum} may run"
            yield Allowance(f"ModelPolicy {policy.name}", maximum, reason=PRICE_ABOVE_MAXIMUM, message=message)


def _too_dear(given: Given) -> Iterator[str]:
    for policy, most in _limits(given):
        limit = policy.spec.maximum_price_per_hour
        if given.cost.price is None:
            why = given.cost.unpriced or "no PriceBook says"
            yield f"ModelPolicy {policy.name}: what the model costs per hour is not known: {why}"
        elif limit and given.cost.currency != limit.currency:
            yield (
                f"ModelPolicy {policy.name}: maximumPricePerHour is in {limit.currency}, and the model's nodes have a price in "
                f"{given.cost.currency}"
            )
        elif given.cost.price > most:
            costs, allowed = words(given.cost.price, given.cost.currency), words(most, given.cost.currency)
            yield (
                f"ModelPolicy {policy.name}: one replica costs {costs} per hour, and a model may cost {allowed}: choose a cheaper node "
                "with spec.scheduling, or smaller resources"
            )


def _limits(given: Given) -> Iterator[tuple[Policy, int]]:
    for policy in given.around.policies:
        if policy.spec.maximum_price_per_hour is not None:
            yield policy, nano(policy.spec.maximum_price_per_hour.amount)
