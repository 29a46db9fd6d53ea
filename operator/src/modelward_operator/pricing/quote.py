"""What one more replica would cost: for a model that has no pod yet, and for `modelward-operator plan`. Pure.

    nodes that could take it ──▶ the dearest of their prices
    none is known ────────────▶ the dearest entry that the model's nodeSelector does not contradict; of a whole node, all of it

A bound, not a forecast: what is set aside for a replica must be enough wherever the scheduler puts it. Taints are not looked at.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from modelward_operator.pricing.facts import Node, PriceBook, Rate, Requests, Unpriced
from modelward_operator.pricing.money import nano
from modelward_operator.pricing.price import price_of, rate_by, tariff
from modelward_operator.pricing.reasons import Why


@dataclass(frozen=True, slots=True)
class Quote:
    """What a replica would cost at most, and by what."""

    rate: Rate
    source: str


def quote(
    requests: Requests, selector: Mapping[str, str], nodes: Iterable[Node], books: Sequence[PriceBook]
) -> Quote | Unpriced:
    """Return what a replica with these requests costs at most on a node that has the selector's labels."""
    fitting = [node for node in nodes if selector.items() <= node.labels.items() and fits(requests, node)]
    if not fitting:
        return _dearest(_by_entries(requests, selector, books), "no node is known that could take it")
    answers = [(node, price_of(requests, node, books)) for node in fitting]
    return _dearest([Quote(rate, node.name) if isinstance(rate, Rate) else rate for node, rate in answers], "")


def fits(requests: Requests, node: Node) -> bool:
    """True when the node, were it empty, could take the pod."""
    devices = all(node.devices.get(name, 0) >= number for name, number in requests.devices.items())
    return devices and requests.cpu <= node.cpu and requests.memory <= node.memory


def _by_entries(requests: Requests, selector: Mapping[str, str], books: Sequence[PriceBook]) -> list[Quote | Unpriced]:
    """Return what each entry would ask of a node that has its labels and the selector's."""
    answers: list[Quote | Unpriced] = []
    sure = _surest(selector, books)
    for book in books:
        for entry in book.spec.nodes:
            labels = entry.match_labels.items()
            if any(selector.get(label, value) != value for label, value in labels) or not sure <= labels:
                continue
            known = tariff(book, entry)
            if entry.price.node is not None:
                answers.append(Quote(Rate(nano(entry.price.node), known.currency), f"{known.source}, a whole node"))
                continue
            rate = rate_by(known, requests, Node("to come", {**selector, **entry.match_labels}))
            answers.append(Quote(rate, known.source) if isinstance(rate, Rate) else rate)
    return answers


def _surest(selector: Mapping[str, str], books: Sequence[PriceBook]) -> Set[tuple[str, str]]:
    """Return the labels of the entry that fits every selected node best: what holds for them has these, and perhaps more."""
    sure = [
        entry.match_labels.items()
        for book in books
        for entry in book.spec.nodes
        if entry.match_labels.items() <= selector.items()
    ]
    return max(sure, key=len, default=set())


def _dearest(answers: Sequence[Quote | Unpriced], nothing: str) -> Quote | Unpriced:
    """Return the highest price; what is not known of some nodes does not hide what others cost."""
    quotes = [answer for answer in answers if isinstance(answer, Quote)]
    if not quotes:
        unpriced = [answer for answer in answers if isinstance(answer, Unpriced)]
        return unpriced[0] if unpriced else Unpriced(Why.MISSING, nothing)
    if len({known.rate.currency for known in quotes}) > 1:
        return Unpriced(Why.CURRENCIES_DIFFER, "the nodes that could take it are priced in several currencies")
    return max(quotes, key=lambda known: (known.rate.nano, known.source))
