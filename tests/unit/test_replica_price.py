"""What a replica costs, asked for thousands of models: from the book where pods run, by a quote that is shared where none does."""

from dataclasses import dataclass, field

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.cluster.replicaprice import HELD, KEPT, ReplicaPrices
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Json, Key
from modelward_operator.ledger.book import Book
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.policies.cost.members import Price
from modelward_operator.pricing.facts import Rate, Unpriced
from modelward_operator.pricing.reasons import Why
from tests.makers import make_model

KEY = Key("risk", "fraud")
CHEAP, DEAR = Rate(1, "USD"), Rate(3, "USD")
MISSING = Unpriced(Why.MISSING, "no PriceBook has a price for node a")


@dataclass
class Source:
    """Prices that the test says, and how often they were asked for."""

    answer: Rate | Unpriced = CHEAP
    asked: int = 0
    now: float = 1000.0
    took: dict[str, str] = field(default_factory=dict)

    def replica(self, _key: Key, _spec: ModelDeploymentSpec, pods: object) -> Rate | Unpriced:
        self.asked += 1
        return self.answer

    def shown(self, key: Key) -> str:
        return self.took.get(key.name, "")


def prices(source: Source) -> ReplicaPrices:
    store = Store()
    for name in ("fraud", "other"):
        model: Json = make_model(name=name, resourceVersion="1")
        store.feed(model)
    return ReplicaPrices(store, source, lambda: source.now)


def book(*rates: Rate | None) -> Book:
    made = Book()
    made.observe("fraud", [Sighting(f"u{n}", "fraud", "a", 0, None, rate) for n, rate in enumerate(rates)], 1)
    return made


def test_the_dearest_pod_is_the_price_and_nobody_is_asked() -> None:
    source = Source()
    assert Price(DEAR) == prices(source).of(KEY, "", book(CHEAP, DEAR))
    assert source.asked == 0


def test_a_quote_is_shared_by_all_that_need_the_same_and_asked_for_again_after_a_while() -> None:
    source = Source()
    asking = prices(source)
    for key in (KEY, Key("risk", "other"), KEY):
        assert Price(CHEAP) == asking.of(key, "2 cores", book())
    assert source.asked == 1
    asking.of(KEY, "4 cores", book())
    assert source.asked == 2
    source.now += KEPT
    source.answer = DEAR
    assert Price(DEAR) == asking.of(KEY, "2 cores", book())


def test_a_quote_is_not_shared_with_a_model_whose_pods_took_more_than_their_spec_says() -> None:
    source = Source()
    asking = prices(source)
    assert Price(CHEAP) == asking.of(Key("risk", "other"), "2 cores", book())
    source.took, source.answer = {"fraud": "and a sidecar"}, DEAR
    assert Price(DEAR) == asking.of(KEY, "2 cores", book())
    assert Price(CHEAP) == asking.of(Key("risk", "other"), "2 cores", book())


def test_what_pods_have_shown_holds_after_they_are_gone_so_that_nothing_starts_again_and_again() -> None:
    source = Source(MISSING)
    asking = prices(source)
    assert Price(unpriced=str(MISSING)) == asking.of(KEY, "", book(None))
    source.answer = CHEAP
    assert Price(unpriced=str(MISSING)) == asking.of(KEY, "", book())
    source.now += HELD
    assert Price(CHEAP) == asking.of(KEY, "", book())


def test_once_pods_have_a_price_again_it_is_theirs() -> None:
    source = Source(MISSING)
    asking = prices(source)
    asking.of(KEY, "", book(None, CHEAP))
    assert Price(CHEAP) == asking.of(KEY, "", book(CHEAP))
    assert Price(unpriced=str(MISSING)) == asking.of(KEY, "", book(None))


def test_pods_in_several_currencies_have_no_price() -> None:
    source = Source(Unpriced(Why.CURRENCIES_DIFFER, "USD and EUR"))
    assert Price(unpriced="CurrenciesDiffer: USD and EUR") == prices(source).of(KEY, "", book(CHEAP, Rate(1, "EUR")))
