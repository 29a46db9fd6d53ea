"""What one more replica of a model costs, for the evaluator: cheap enough to ask for thousands of models every few seconds.

    pods that cost something ─▶ the dearest of their rates, from the book
    one of them has no price ─▶ why; remembered for a while after they are gone
    no pods ─────────────────▶ a quote, kept for a while and shared by all models that need the same

A model that was taken away because its node has no price would be priced by a quote, start on that node again, and be taken away again: so
what its pods have shown holds for `HELD` seconds.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import Invalid, parse
from modelward_operator.cluster.kinds import MODEL, POD
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Json, Key
from modelward_operator.ledger.book import Book
from modelward_operator.policies.cost.members import Price
from modelward_operator.pricing.facts import Rate, Unpriced

K = TypeVar("K")
V = TypeVar("V")

KEPT: Final = 30.0
"""Seconds for which a quote is believed: nodes and PriceBooks change seldom."""
HELD: Final = 600.0
"""Seconds for which a model whose pods had no price counts as one without."""
MOST: Final = 20_000
"""Answers that are kept; beyond, all are forgotten and asked for again."""


class PriceSource(Protocol):
    """Who knows prices."""

    def replica(self, key: Key, spec: ModelDeploymentSpec, pods: Iterable[Json]) -> Rate | Unpriced:
        """Return what one replica costs: the dearest of the pods, or of the nodes that could take one."""

    def shown(self, key: Key) -> str:
        """Return what a quote depends on besides the spec: what the model's last pods took."""


@dataclass
class ReplicaPrices:
    """Asks one source about the models of one store."""

    store: Store
    source: PriceSource
    clock: Callable[[], float] = time.monotonic
    _quotes: dict[str, tuple[float, Price]] = field(default_factory=dict)
    """By what is needed: when it was asked for, and the answer."""
    _shown: dict[Key, tuple[float, Price]] = field(default_factory=dict)
    """By model: when its pods last had no price, and why."""

    def of(self, key: Key, needs: str, book: Book) -> Price:
        """Return the price of a replica. `needs` says what a quote depends on: what one requests, and of which nodes."""
        rates = [pod.rate for pod in book.open_pods(key.name)]
        known = [rate for rate in rates if rate is not None]
        if rates and (len(known) < len(rates) or len({rate.currency for rate in known}) > 1):
            return self._unpriced(key)
        if known:
            self._shown.pop(key, None)
            return Price(max(known, key=lambda rate: rate.nano))
        at, shown = self._shown.get(key, (float("-inf"), Price()))
        return shown if self.clock() - at < HELD else self._quote(key, needs + self.source.shown(key))

    def _unpriced(self, key: Key) -> Price:
        at, shown = self._shown.get(key, (float("-inf"), Price()))
        if self.clock() - at < KEPT:
            return shown
        answer = self._ask(key, self.store.of_model(key, [POD.kind]))
        if answer.rate is None:
            _put(self._shown, key, (self.clock(), answer))
            return answer
        return shown if shown.unpriced else Price(unpriced="the price of its pods is not known yet")

    def _quote(self, key: Key, needs: str) -> Price:
        at, quote = self._quotes.get(needs, (float("-inf"), Price()))
        if self.clock() - at < KEPT:
            return quote
        answer = self._ask(key, ())
        _put(self._quotes, needs, (self.clock(), answer))
        return answer

    def _ask(self, key: Key, pods: Iterable[Json]) -> Price:
        spec = parse(self.store.read(MODEL.kind, key.namespace, key.name))
        if isinstance(spec, Invalid):
            return Price(unpriced="its spec cannot be read")
        answer = self.source.replica(key, spec, pods)
        return Price(unpriced=str(answer)) if isinstance(answer, Unpriced) else Price(answer)


def _put(kept: dict[K, V], key: K, value: V) -> None:
    """Keep an answer."""
    if len(kept) >= MOST:
        kept.clear()
    kept[key] = value
