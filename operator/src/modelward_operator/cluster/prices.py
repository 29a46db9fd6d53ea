"""What pods cost, from the Nodes and PriceBooks in the store. Called by gather.py and accountant.py.

    pod ──▶ its node ──▶ pricing/ ──▶ Rate, or why it is not known
    model without pods ──▶ the nodes that could take it ──▶ pricing/quote.py

Without a PriceBook nobody asks what anything costs, and nothing is computed. An operator that serves some namespaces only may read neither
Nodes nor PriceBooks, which are the cluster's: then no price is known, and it says so to who asks (a CostBudget does).
A node that is gone keeps its price while its pods linger: they hold it for as long as they are there.

What others put into a model's pods (sidecars, a RuntimeClass's overhead) only pods show. A model that was taken away because they made it
too dear would be quoted by its spec alone, start again, and be taken away again: so what its pods have shown holds for `HELD` seconds.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import Invalid, parse_book
from modelward_operator.cluster.kinds import NODE, PRICES
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Cost, Json, Key
from modelward_operator.ledger.sighting import bound_at, is_over, seconds
from modelward_operator.plan.names import canonical_json
from modelward_operator.plan.pod import resources_of
from modelward_operator.pricing.facts import Node, PriceBook, Rate, Requests, Unpriced, node_of
from modelward_operator.pricing.money import units
from modelward_operator.pricing.price import price_of
from modelward_operator.pricing.quote import quote
from modelward_operator.pricing.reasons import Why
from modelward_operator.pricing.requests import requests_of

REMEMBERED: Final = 50_000
"""Nodes whose last state is kept, and models whose pods are remembered; beyond, all are forgotten and read again."""
HELD: Final = 600.0
"""Seconds for which a model without pods is quoted by what its last ones took of their nodes."""


class Prices:
    """Reads prices from one store. `clock` is injected for tests."""

    def __init__(self, store: Store, *, clusterwide: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clusterwide, self._clock = store, clusterwide, clock
        self._shown: dict[
            Key, tuple[float, str, Requests]
        ] = {}  # when, of a spec that asks for what, and what the pods took
        self._nodes: dict[str, tuple[int, Node]] = {}
        self._versions: dict[str, int] = {}
        self._books: tuple[PriceBook, ...] = ()
        self._invalid = ""
        self._since = 0
        self._changes = 0
        self._quotes: dict[str, Rate | Unpriced] = {}
        self._quoted: tuple[object, ...] = ()

    @property
    def is_off(self) -> bool:
        """True while there is no PriceBook, so that nobody asks."""
        return not self._store.versions(PRICES.kind)

    @property
    def since(self) -> int:
        """When the oldest PriceBook was made, in seconds since the epoch: before it nothing had a price."""
        self._read_books()
        return self._since

    def rate(self, pod: Json) -> Rate | Unpriced:
        """Return what a pod that is bound to a node costs per hour."""
        if unknown := self._unknown():
            return unknown
        name = pod["spec"]["nodeName"]
        node = self.node(name)
        if node is None:
            return Unpriced(Why.NODE_UNKNOWN, f"node {name} is not known")
        return price_of(requests_of(pod["spec"]), node, self._books)

    def replica(self, key: Key, spec: ModelDeploymentSpec, pods: Iterable[Json]) -> Rate | Unpriced:
        """Return what one replica costs: the dearest of the pods there are, or of the nodes that could take one."""
        if unknown := self._unknown():
            return unknown
        rates = [(self.rate(pod), pod) for pod in costing(pods)]
        known = [(rate, pod) for rate, pod in rates if isinstance(rate, Rate)]
        if len(known) < len(rates):
            return next(rate for rate, _ in rates if isinstance(rate, Unpriced))
        if not known:
            return self._quote(spec, self._remembered(key, spec))
        if not _one_currency(rate for rate, _ in known):
            return _DIFFER
        dearest, pod = max(known, key=lambda one: one[0].nano)
        self._remember(key, spec, pod)
        return dearest

    def shown(self, key: Key) -> str:
        """Return what a quote for this model depends on besides its spec: models for which it is the same have the same quote."""
        at, _, took = self._shown.get(key, _NOTHING)
        return repr(took) if self._clock() - at < HELD else ""

    def cost(self, key: Key, spec: ModelDeploymentSpec, pods: Sequence[Json]) -> Cost:
        """Return what a model's pods cost now, for its status and its budgets; an empty value where nobody asks."""
        if self.is_off:
            return Cost()
        replica = self.replica(key, spec, pods)
        rates = [self.rate(pod) for pod in costing(pods)]
        known = [rate for rate in rates if isinstance(rate, Rate)]
        unpriced = next((str(rate) for rate in rates if isinstance(rate, Unpriced)), "")
        if not unpriced and not _one_currency(known):
            unpriced = str(_DIFFER)
        if not unpriced and isinstance(replica, Unpriced):
            unpriced = str(replica)
        if unpriced or isinstance(replica, Unpriced):
            return Cost(unpriced=unpriced)
        return Cost(units(sum(rate.nano for rate in known)), replica.currency, replica.nano)

    def node(self, name: str) -> Node | None:
        """Return a node, as it is or was last."""
        version, known = self._nodes.get(name, (0, None))
        now = self._store.version(NODE.kind, "", name)
        if now in {0, version}:
            return known
        if len(self._nodes) >= REMEMBERED:
            self._nodes.clear()
        node = node_of(self._store.read(NODE.kind, "", name))
        self._nodes[name] = (now, node)
        self._changes += node != known
        return node

    @property
    def clusterwide(self) -> bool:
        """True when Nodes can be read at all."""
        return self._clusterwide

    def nodes(self) -> tuple[list[Node], object]:
        """Return all nodes, and a value that is another one whenever one of them is."""
        found = [node for name in self._store.versions(NODE.kind) if (node := self.node(name))]
        return found, (self._changes, len(found))

    def has_moved(self, name: str) -> bool:
        """True when a node of which somebody has asked the price is another than then."""
        _, before = self._nodes.get(name, (0, None))
        return before is not None and before != self.node(name)

    def _remember(self, key: Key, spec: ModelDeploymentSpec, pod: Json) -> None:
        if len(self._shown) >= REMEMBERED:
            self._shown.clear()
        self._shown[key] = self._clock(), _asked(spec), requests_of(pod["spec"])

    def _remembered(self, key: Key, spec: ModelDeploymentSpec) -> Requests:
        at, asked, took = self._shown.get(key, _NOTHING)
        if asked == _asked(spec) and self._clock() - at < HELD:
            return took
        return requests_of({"containers": [{"resources": resources_of(spec)}]})

    def _quote(self, spec: ModelDeploymentSpec, requests: Requests) -> Rate | Unpriced:
        """Return what a replica would cost on the nodes that could take it: the same for each model that takes the same."""
        nodes, state = self.nodes()
        now = (self._versions, state)
        if now != self._quoted:
            self._quotes.clear()
            self._quoted = now
        selector = spec.scheduling.node_selector
        asked = canonical_json([repr(requests), selector])
        if asked not in self._quotes:
            answer = quote(requests, selector, nodes, self._books)
            self._quotes[asked] = answer if isinstance(answer, Unpriced) else answer.rate
        return self._quotes[asked]

    def _unknown(self) -> Unpriced | None:
        if not self._clusterwide:
            return _UNREADABLE
        self._read_books()
        return Unpriced(Why.INVALID, self._invalid) if self._invalid else None

    def _read_books(self) -> None:
        versions = self._store.versions(PRICES.kind)
        if versions == self._versions:
            return
        raw = self._store.of_cluster(PRICES.kind)
        parsed = [(item["metadata"]["name"], parse_book(item)) for item in raw]
        self._invalid = "; ".join(f"PriceBook {name}: {spec}" for name, spec in parsed if isinstance(spec, Invalid))
        self._books = tuple(PriceBook(name, spec) for name, spec in parsed if not isinstance(spec, Invalid))
        self._since = min((seconds(item["metadata"]["creationTimestamp"]) for item in raw), default=0)
        self._versions = versions


def costing(pods: Iterable[Json]) -> list[Json]:
    """Return the pods that cost something now: bound to a node and not over."""
    return [pod for pod in pods if bound_at(pod) is not None and not is_over(pod)]


def _asked(spec: ModelDeploymentSpec) -> str:
    return canonical_json([resources_of(spec), spec.scheduling.node_selector])


def _one_currency(rates: Iterable[Rate]) -> bool:
    return len({rate.currency for rate in rates}) <= 1


_NOTHING: Final = (float("-inf"), "", Requests())
_DIFFER: Final = Unpriced(Why.CURRENCIES_DIFFER, "the nodes of the model's pods are priced in several currencies")
_UNREADABLE: Final = Unpriced(
    Why.UNREADABLE,
    "the operator serves some namespaces only (watchNamespaces), and may read neither the cluster's nodes nor its PriceBooks",
)
