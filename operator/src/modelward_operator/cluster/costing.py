"""What models cost and what budgets leave to them, made and connected: prices, the accountant, the evaluator of budgets.

    pods, Nodes, PriceBooks ──▶ accountant ──▶ CostLedgers
                                    │ book
    CostBudgets ────────────────▶ evaluator ──▶ budgets ──▶ passes (`Given.cost`)

Called by parts.py. Nothing is decided here.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelward_operator.cluster.accountant import Accountant
from modelward_operator.cluster.budgets import Budgets
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.evaluator import Evaluator
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.ledgers import Ledgers
from modelward_operator.cluster.prices import Prices
from modelward_operator.cluster.replicaprice import ReplicaPrices
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Key
from modelward_operator.ledger.book import Book


@dataclass(frozen=True, slots=True)
class Costing:
    """The parts, connected."""

    prices: Prices
    budgets: Budgets
    accountant: Accountant
    evaluator: Evaluator
    duties: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    """What the leader does for ever, by name."""


def make_costing(
    client: Client,
    store: Store,
    *,
    identity: str,
    ring: Callable[[Key, bool], None],
    clusterwide: bool,
    deaf: Callable[[], bool],
    failed: Callable[[str], None],
) -> Costing:
    """Make the parts. `ring` puts a model on the queue, live or not; `deaf` says that pods have not been heard of for long."""
    prices = Prices(store, clusterwide=clusterwide)
    accountant = Accountant(
        Ledgers(client),
        store,
        prices,
        ring=lambda model: ring(model, False),
        failed=lambda: failed("ledger"),
        deaf=deaf,
        now=client.clock.now,
        clusterwide=clusterwide,
    )
    budgets = Budgets(store)
    evaluator = Evaluator(
        store,
        budgets,
        accountant.book if clusterwide else lambda _namespace: Book(),  # without nodes nothing can be charged
        ReplicaPrices(store, prices),
        client,
        Teller(client, identity),
        lambda model: ring(model, True),
        now=lambda: datetime.fromtimestamp(client.clock.now(), UTC),
        failed=lambda: failed("budget"),
    )
    duties = {"budgets": evaluator.run, **({"accountant": accountant.run} if clusterwide else {})}
    return Costing(prices, budgets, accountant, evaluator, duties)
