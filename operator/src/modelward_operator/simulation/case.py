"""What is simulated: each ModelDeployment of a file, with the PriceBooks, CostBudgets and Nodes that stand beside it.

A replica's price is the one that budgets set aside for it: the dearest of the nodes in the file that could take it, or of the PriceBook's
entries where no node is given (`pricing/quote.py`). Called by `command.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from modelward_operator.api.costbudget import COST_BUDGET_KIND, CostBudgetSpec
from modelward_operator.api.crd import NAME_RULE, costbudget_crd, is_model_name, modeldeployment_crd, pricebook_crd
from modelward_operator.api.modeldeployment import KIND, ModelDeploymentSpec
from modelward_operator.api.parse import Invalid, parse, parse_book, parse_budget
from modelward_operator.api.pricebook import BOOK_KIND
from modelward_operator.api.scaling import Autoscaler
from modelward_operator.api.unknown import unknown_fields
from modelward_operator.facts import Given, Installation, Json, Key
from modelward_operator.plan.pod import pod_template
from modelward_operator.pricing.facts import Node, PriceBook, Rate, Unpriced
from modelward_operator.pricing.manifest import node_in_file
from modelward_operator.pricing.quote import quote
from modelward_operator.pricing.requests import requests_of
from modelward_operator.rulings import Ruling

S = TypeVar("S")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SIMULATED: Final = frozenset({Autoscaler.CONCURRENCY, Autoscaler.NONE})


class BadCase(ValueError):
    """The file cannot be simulated; the message says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model under its budgets."""

    name: str
    given: Given
    """The facts with which the rooms are asked, but for demand and cost."""
    spec: ModelDeploymentSpec
    labels: Mapping[str, str]
    rate: Rate | None
    """What a replica costs; None where it is not known."""
    price: str
    """Where the rate comes from, or why there is none."""
    budgets: Mapping[str, CostBudgetSpec]
    """Those that select it, by name."""


def read_cases(documents: Iterable[Any]) -> list[Case]:
    """Return a case for each ModelDeployment, in the file's order. Raises BadCase."""
    found = [
        document for document in documents if isinstance(document, dict) and isinstance(document.get("metadata"), dict)
    ]
    books = [
        PriceBook(_name(one), _valid(one, parse_book(one), pricebook_crd()))
        for one in found
        if one.get("kind") == BOOK_KIND
    ]
    try:
        nodes = [node_in_file(one) for one in found if one.get("kind") == "Node"]
    except ValueError as wrong:
        raise BadCase(str(wrong)) from wrong
    budgets = [one for one in found if one.get("kind") == COST_BUDGET_KIND]
    cases = [_case(one, books, nodes, budgets) for one in found if one.get("kind") == KIND]
    if not cases:
        raise BadCase(f"no {KIND} in it")
    if len({case.name for case in cases}) < len(cases):
        raise BadCase("two ModelDeployments have one name: each needs its own, they are compared by it")
    return cases


def left_out(documents: Iterable[Any]) -> list[str]:
    """Return the kinds in the file that the simulation does not look at, so that nobody takes them to count."""
    kinds = {str(one.get("kind", "a document without a kind")) for one in documents if isinstance(one, dict)}
    return sorted(kinds - {KIND, BOOK_KIND, COST_BUDGET_KIND, "Node"})


def _case(raw: Json, books: Sequence[PriceBook], nodes: Sequence[Node], budgets: Sequence[Json]) -> Case:
    if not is_model_name(raw["metadata"].get("name")):  # files are called by it
        raise BadCase(f"{NAME_RULE['message']}; it is {_name(raw)!r}")
    spec, name, namespace = _valid(raw, parse(raw), modeldeployment_crd()), _name(raw), _namespace(raw)
    if spec.scaling.chosen not in SIMULATED:
        raise BadCase(
            f"{name}: autoscaler {spec.scaling.chosen} decides outside of the operator, which cannot be simulated; "
            "Concurrency and None can"
        )
    if spec.suspend:
        raise BadCase(f"{name}: it is suspended, so that there is nothing to simulate: set suspend to false")
    given = Given(Key(namespace, name), raw, (), (), (), Installation("modelward-system", "runtime"), EPOCH)
    requests = requests_of(pod_template(given, spec, Ruling(), "runtime", "boot")["spec"])
    answer = quote(requests, spec.scheduling.node_selector, nodes, books)
    rate, price = (None, str(answer)) if isinstance(answer, Unpriced) else (answer.rate, answer.source)
    mine = {
        _name(one): _valid(one, parse_budget(one), costbudget_crd()) for one in budgets if _namespace(one) == namespace
    }
    labels = raw["metadata"].get("labels") or {}
    if not isinstance(labels, dict):
        raise BadCase(f"{name}: metadata.labels must be a map; it is {labels!r}")
    return Case(name, given, spec, labels, rate, price, {key: it for key, it in mine.items() if it.selects(labels)})


def _valid(document: Json, spec: S | Invalid, crd: Json) -> S:
    """Return the spec, or say all that is wrong, fields that the kind does not have among it."""
    errors = unknown_fields(document, crd)
    if isinstance(spec, Invalid):
        errors = (*errors, *spec.errors)
    if errors or isinstance(spec, Invalid):
        raise BadCase(f"{document.get('kind')} {_name(document)}: {'; '.join(map(str, errors))}")
    return spec


def _name(document: Json) -> str:
    return str(document["metadata"].get("name", ""))


def _namespace(document: Json) -> str:
    return str(document["metadata"].get("namespace", "default"))
