"""What CostBudgets leave to each model, as the last evaluation said. Written by evaluator.py, read by gather.py once a pass.

    pass of a model ──note what it asks for──▶ Budgets ──wake──▶ evaluator ──put──▶ Budgets ──ring──▶ pass of a model

A budget that holds for a model and was not evaluated since it changed, or since this process began, is Unreadable: the last ruling holds.
One that cannot be parsed lets nothing grow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from modelward_operator.api.costbudget import budget_may_select
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Allowance, Given, Json, Key
from modelward_operator.policies.cost.budget import Evaluation
from modelward_operator.policies.cost.reasons import BUDGET_INVALID

Wake = Callable[[str], None]
"""Takes a namespace whose budgets should be evaluated soon."""


def _nobody(_namespace: str) -> None:
    """Wake nobody."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One budget as it was evaluated last."""

    uid: str
    generation: int
    found: Evaluation | None
    """None: it cannot be parsed."""
    error: str = ""

    def speaks_of(self, raw: Json) -> bool:
        """True when it was evaluated as it is now."""
        meta = raw["metadata"]
        return (self.uid, self.generation) == (meta["uid"], int(meta.get("generation", 0)))


class BudgetFigure(NamedTuple):
    """One budget in the metrics; money in nano units."""

    namespace: str
    budget: str
    currency: str
    limit: int
    spent: int
    forecast: int


@dataclass(slots=True)
class Budgets:
    """The evaluations of every namespace, and what models ask for."""

    store: Store
    wake: Wake = _nobody
    """Set by the evaluator; in a process that does not lead nobody evaluates."""
    asked: dict[Key, int] = field(default_factory=dict)
    """By model, as its last pass said; nothing for one whose replicas somebody outside decides."""
    _evaluated: dict[str, Mapping[str, Evaluated]] = field(default_factory=dict)
    """By namespace and budget."""

    def put(self, namespace: str, evaluated: Mapping[str, Evaluated]) -> set[str]:
        """Take the evaluations of a namespace; return the models that may have another number than before."""
        before = _effects(self._evaluated.get(namespace, {}))
        self._evaluated[namespace] = evaluated
        if not evaluated:
            del self._evaluated[namespace]
        after = _effects(evaluated)
        return {model for model in before.keys() | after.keys() if before.get(model) != after.get(model)}

    def last(self, namespace: str, budget: str) -> Evaluation | None:
        """Return the last evaluation of a budget."""
        known = self._evaluated.get(namespace, {}).get(budget)
        return known.found if known else None

    def namespaces(self) -> set[str]:
        """Return the namespaces whose budgets were evaluated."""
        return set(self._evaluated)

    def figures(self) -> list[BudgetFigure]:
        """Return what each budget came to, for the metrics."""
        return [
            BudgetFigure(namespace, name, seen.spec.currency, seen.limit, seen.spent, seen.forecast)
            for namespace, evaluated in sorted(self._evaluated.items())
            for name, known in sorted(evaluated.items())
            if (seen := known.found)
        ]

    def allowances(self, given: Given, asked: int | None) -> tuple[Allowance, ...]:
        """Return what each budget leaves to a model that asks for so many replicas. Raises Unreadable."""
        key = given.key
        budgets = self.store.budgets_in(key.namespace)
        if not budgets:
            self.asked.pop(key, None)
            return ()
        self._note(key, asked)
        labels = given.raw["metadata"].get("labels") or {}
        found = (self._allowance(key, raw, labels, given) for raw in budgets)
        return tuple(allowance for allowance in found if allowance)

    def _note(self, key: Key, asked: int | None) -> None:
        if self.asked.get(key) == asked:
            return
        if asked is None:
            self.asked.pop(key, None)
        else:
            self.asked[key] = asked
        self.wake(key.namespace)

    def _allowance(self, key: Key, raw: Json, labels: Mapping[str, str], given: Given) -> Allowance | None:
        name = raw["metadata"]["name"]
        known = self._evaluated.get(key.namespace, {}).get(name)
        if known is None or not known.speaks_of(raw):
            if not budget_may_select(raw, labels):
                return None
            self.wake(key.namespace)
            raise Unreadable(f"CostBudget {name} was not evaluated yet")
        if known.found is None:
            return _as_it_is(name, known.error, given) if budget_may_select(raw, labels) else None
        if not known.found.spec.selects(labels):
            return None
        if key.name not in known.found.allowances:
            self.wake(key.namespace)
            raise Unreadable(f"CostBudget {name} was not evaluated since the model came under it")
        if known.found.bounds and self.asked.get(key, 0) > known.found.ceilings[key.name]:
            self.wake(key.namespace)
            raise Unreadable(f"CostBudget {name} was not evaluated since the model may ask for more")
        return known.found.allowances[key.name]


def _as_it_is(name: str, error: str, given: Given) -> Allowance:
    """Return the allowance of a budget that says nothing: what stands, stands."""
    stands = int(given.child("Deployment", given.key.name).get("spec", {}).get("replicas", 0))
    message = f"CostBudget {name} cannot be read, so that nothing under it grows: {error}; correct it"
    return Allowance(name, stands, reason=BUDGET_INVALID, message=message)


def _effects(evaluated: Mapping[str, Evaluated]) -> dict[str, set[tuple[str, object, object, str]]]:
    """Return, by model, what of its allowances makes a difference."""
    effects: dict[str, set[tuple[str, object, object, str]]] = {}
    for name, known in evaluated.items():
        for model, allowance in known.found.allowances.items() if known.found else ():
            ceiling = known.found.ceilings[model] if known.found else 0
            effect = (name, (allowance.maximum, ceiling), allowance.is_suspended, allowance.message)
            effects.setdefault(model, set()).add(effect)
    return effects
