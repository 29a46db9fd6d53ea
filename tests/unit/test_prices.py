"""Prices from the store, the accountant's looks, the clock that may be charged until, and what users read of them."""

from dataclasses import replace
from email.utils import formatdate
from typing import Any, cast

import pytest

from modelward_operator.cluster.accountant import Accountant
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.budgets import Budgets
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.evaluator import Evaluator
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.lease import LeaseLost
from modelward_operator.cluster.ledgers import Ledgers
from modelward_operator.cluster.prices import HELD, Prices
from modelward_operator.cluster.replicaprice import ReplicaPrices
from modelward_operator.cluster.serverclock import ServerClock
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Applied, Cost, Json, Key
from modelward_operator.ledger.book import Book
from modelward_operator.metrics import Metrics
from modelward_operator.plan.names import selector
from modelward_operator.policies.rooms import rule
from modelward_operator.pricing.facts import Rate, Unpriced
from modelward_operator.pricing.reasons import Why
from modelward_operator.status.summarise import summarise
from tests.makers import drawn, make_given, parsed

SPEC = {"resources": {"requests": {"cpu": "1"}}}
KEY = Key("risk", "fraud")
T0 = 1_700_000_000
USD = {"currency": "USD", "nodes": [{"name": "gpu", "matchLabels": {"kind": "gpu"}, "price": {"node": "3.6"}}]}


def obj(kind: str, name: str, version: int, **body: Any) -> Json:
    meta = {"name": name, "uid": f"{kind}-{name}", "resourceVersion": str(version), **body.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **body}


def node(version: int = 1, kind: str = "gpu", cpu: str = "2") -> Json:
    status = {"allocatable": {"cpu": cpu, "memory": "8Gi"}, "images": [{"names": ["large"]}], "conditions": []}
    return obj(
        "Node", "n", version, metadata={"labels": {"kind": kind}}, spec={"podCIDR": "10.0.0.0/24"}, status=status
    )


def price_book(version: int = 2, spec: Json | None = None, name: str = "cloud") -> Json:
    return obj("PriceBook", name, version, metadata={"creationTimestamp": "2023-11-14T22:00:00Z"}, spec=spec or USD)


def pod(name: str = "a", version: int = 3, bound_to: str = "n", model: str = "fraud", **status: Any) -> Json:
    metadata = {"namespace": "risk", "labels": selector(model), "creationTimestamp": "2023-11-14T22:13:20Z"}  # T0
    container = {"name": "runtime", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    spec = {"nodeName": bound_to, "containers": [container]}
    return obj("Pod", name, version, metadata=metadata, spec=spec, status=status)


def filled(*objects: Json) -> Store:
    store = Store()
    for item in objects:
        store.feed(item)
    return store


def read_pod(store: Store, name: str = "a") -> Json:
    return store.read("Pod", "risk", name)


def test_a_pod_has_its_nodes_price_and_of_a_node_no_more_is_kept_than_that_takes() -> None:
    store = filled(node(), price_book(), pod())
    prices = Prices(store, clusterwide=True)
    assert Rate(1_800_000_000, "USD") == prices.rate(read_pod(store))
    kept = store.read("Node", "", "n")
    assert {"apiVersion", "kind", "metadata", "status"} == kept.keys()
    assert {"allocatable"} == kept["status"].keys()


@pytest.mark.parametrize(
    ("reason", "more", "hourly"),
    [
        (
            "the proxy of a mesh, as a native sidecar",
            {
                "initContainers": [
                    {"name": "istio-proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}
                ]
            },
            2_700_000_000,
        ),
        (
            "an init container that is larger than what serves",
            {"initContainers": [{"name": "warm", "resources": {"requests": {"cpu": "2"}}}]},
            3_600_000_000,
        ),
        ("the overhead of its RuntimeClass", {"overhead": {"cpu": "250m", "memory": "64Mi"}}, 2_250_000_000),
    ],
)
def test_what_others_put_into_a_pod_is_charged_and_bounded_by_its_budgets(reason: str, more: Json, hourly: int) -> None:
    mine = pod()
    store = filled(node(), price_book(), {**mine, "spec": {**mine["spec"], **more}})
    prices = Prices(store, clusterwide=True)
    assert Rate(hourly, "USD") == prices.rate(read_pod(store)), reason
    spec = parsed(make_given(SPEC))
    assert Rate(hourly, "USD") == prices.replica(KEY, spec, [read_pod(store)])
    assert hourly == prices.cost(KEY, spec, [read_pod(store)]).price


def test_what_its_pods_have_shown_holds_for_a_while_so_that_a_model_is_not_started_again_and_again() -> None:
    sidecar = {"name": "mesh", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}
    mine, now = pod(), [100.0]
    store = filled(node(), price_book(), {**mine, "spec": {**mine["spec"], "initContainers": [sidecar]}})
    prices = Prices(store, clusterwide=True, clock=lambda: now[0])
    plain, more, other = Rate(1_800_000_000, "USD"), Rate(2_700_000_000, "USD"), Key("risk", "other")
    spec, changed = parsed(make_given(SPEC)), parsed(make_given({"resources": {"requests": {"cpu": "500m"}}}))
    assert plain == prices.replica(KEY, spec, [])
    assert more == prices.replica(KEY, spec, [read_pod(store)])
    now[0] += HELD - 1
    assert more == prices.replica(KEY, spec, [])
    assert plain == prices.replica(other, spec, []), "nobody else's"
    assert Rate(900_000_000, "USD") == prices.replica(KEY, changed, []), "nor of another spec"
    assert prices.shown(KEY) != prices.shown(other)
    store.feed(node(9, cpu="4"))
    assert Rate(1_350_000_000, "USD") == prices.replica(KEY, spec, []), "at the prices of now"
    now[0] += 1
    assert Rate(900_000_000, "USD") == prices.replica(KEY, spec, [])
    assert prices.shown(KEY) == prices.shown(other)


def test_a_change_of_the_node_or_the_book_is_seen() -> None:
    store = filled(node(), price_book(), pod())
    prices = Prices(store, clusterwide=True)
    prices.rate(read_pod(store))
    store.feed(node(4, cpu="4"))
    assert prices.has_moved("n")
    assert Rate(900_000_000, "USD") == prices.rate(read_pod(store))
    store.feed(node(5, cpu="4"))
    assert not prices.has_moved("n"), "a kubelet's word that it lives"
    store.feed(price_book(6, {"currency": "EUR", "nodes": [{"name": "a", "price": {"node": "4"}}]}))
    assert Rate(1_000_000_000, "EUR") == prices.rate(read_pod(store))


def test_what_a_replica_would_cost_is_asked_anew_when_nodes_or_books_change() -> None:
    store = filled(node(), price_book())
    prices, spec = Prices(store, clusterwide=True), parsed(make_given(SPEC))
    assert Rate(1_800_000_000, "USD") == prices.replica(KEY, spec, [])
    store.feed(node(4, cpu="1"))
    assert Rate(3_600_000_000, "USD") == prices.replica(KEY, spec, [])
    dear = {"currency": "USD", "nodes": [{"name": "gpu", "matchLabels": {"kind": "gpu"}, "price": {"node": "4"}}]}
    store.feed(price_book(5, dear))
    assert Rate(4_000_000_000, "USD") == prices.replica(KEY, spec, [])
    store.drop(node(9))
    assert Rate(4_000_000_000, "USD") == prices.replica(KEY, spec, []), "of a node to come the whole"


def test_a_node_that_is_gone_keeps_its_price_while_its_pods_linger() -> None:
    store = filled(node(), price_book(), pod())
    prices = Prices(store, clusterwide=True)
    before = prices.rate(read_pod(store))
    store.drop(node(9))
    assert before == prices.rate(read_pod(store))
    unknown = Prices(store, clusterwide=True).rate(read_pod(store))
    assert isinstance(unknown, Unpriced)
    assert Why.NODE_UNKNOWN is unknown.why


@pytest.mark.parametrize(
    ("reason", "objects", "expected"),
    [
        ("no book: nobody asks", [node(), pod()], Cost()),
        ("its pods", [node(), price_book(), pod(), pod("b", 4)], Cost("3.6", "USD", 1_800_000_000)),
        ("no pods: what one would cost", [node(), price_book()], Cost("0", "USD", 1_800_000_000)),
        (
            "one that waits for a node costs nothing",
            [node(), price_book(), pod(bound_to="")],
            Cost("0", "USD", 1_800_000_000),
        ),
        (
            "one that is over costs nothing",
            [node(), price_book(), pod(phase="Failed")],
            Cost("0", "USD", 1_800_000_000),
        ),
    ],
)
def test_what_a_model_costs_now(reason: str, objects: list[Json], expected: Cost) -> None:
    store = filled(*objects)
    pods = store.of_model(Key("risk", "fraud"), ["Pod"])
    assert expected == Prices(store, clusterwide=True).cost(KEY, parsed(make_given(SPEC)), pods), reason


@pytest.mark.parametrize(
    ("reason", "objects", "words"),
    [
        (
            "a node that no entry fits",
            [node(kind="cpu"), price_book(), pod()],
            "PriceMissing: no PriceBook has a price for node n",
        ),
        (
            "a book that cannot be read",
            [node(), price_book(spec={"currency": "usd"}), pod()],
            "PriceInvalid: PriceBook cloud",
        ),
        (
            "pods in two currencies",
            [
                node(),
                obj("Node", "e", 8, metadata={"labels": {"price": "1"}}, status={"allocatable": {"cpu": "1"}}),
                price_book(),
                price_book(9, {"currency": "EUR", "fallback": {"nodeLabel": "price"}}, "euro"),
                pod(),
                pod("b", 7, bound_to="e"),
            ],
            "CurrenciesDiffer",
        ),
    ],
)
def test_why_a_price_is_not_known_is_said(reason: str, objects: list[Json], words: str) -> None:
    store = filled(*objects)
    pods = store.of_model(Key("risk", "fraud"), ["Pod"])
    cost = Prices(store, clusterwide=True).cost(KEY, parsed(make_given(SPEC)), pods)
    assert cost.unpriced.startswith(words), reason
    assert ("", "", None) == (cost.hourly, cost.currency, cost.price)


def test_who_may_not_read_nodes_says_so_to_a_budget_and_bothers_nobody_else() -> None:
    prices = Prices(filled(pod()), clusterwide=False)
    unknown = prices.replica(KEY, parsed(make_given(SPEC)), [])
    assert isinstance(unknown, Unpriced)
    assert (Why.UNREADABLE, True) == (unknown.why, "watchNamespaces" in unknown.message)
    assert Cost() == prices.cost(KEY, parsed(make_given(SPEC)), [])


def test_the_status_says_what_a_model_costs_and_nothing_where_nobody_asks() -> None:
    given = make_given(SPEC)
    spec = parsed(given)

    def told(cost: Cost) -> Json | None:
        priced = replace(given, cost=cost)
        answer: Json | None = summarise(priced, spec, rule(priced, spec), drawn(priced), Applied()).get("cost")
        return answer

    assert told(Cost()) is None
    assert {"hourly": "3.6", "currency": "USD"} == told(Cost("3.6", "USD", 1))
    assert {"unknown": "PriceMissing: x"} == told(Cost(unpriced="PriceMissing: x"))


class NoLedgers:
    """Where nothing was ever written, and nothing is."""

    async def read(self, _now: int, _namespace: str = "") -> dict[str, list[Json]]:
        return {}

    async def store(self, *_: object) -> None:
        return None

    async def prune(self, _now: int) -> None:
        return None


def accountant(store: Store, now: list[int], *, deaf: bool = False) -> tuple[Accountant, list[Key]]:
    rung: list[Key] = []
    made = Accountant(
        cast("Ledgers", NoLedgers()),
        store,
        Prices(store, clusterwide=True),
        ring=rung.append,
        deaf=lambda: deaf,
        now=lambda: now[0],
    )
    return made, rung


async def test_nothing_is_known_before_the_ledgers_were_read() -> None:
    keeper, _ = accountant(filled(), [T0])
    with pytest.raises(Unreadable, match="not read yet"):
        keeper.book("risk")
    await keeper.read()
    assert [] == keeper.book("risk").models()


async def test_a_look_rings_for_a_model_whose_price_changed_and_for_no_other() -> None:
    store, now = filled(node(), price_book(), pod()), [T0 + 100]
    keeper, rung = accountant(store, now)
    await keeper.read()
    await keeper.look()
    assert [Key("risk", "fraud")] == rung
    await keeper.look()
    keeper.prices_changed()
    await keeper.look()
    assert 1 == len(rung)
    store.feed(node(9, cpu="4"))
    keeper.prices_changed()
    await keeper.look()
    assert 2 == len(rung)
    (figure,) = keeper.figures()
    assert ("risk", "fraud", "USD", 900_000_000, 100 * 500_000) == tuple(figure)


async def test_nothing_had_a_price_before_the_first_book() -> None:
    late = price_book()
    late["metadata"]["creationTimestamp"] = "2023-11-14T22:14:00Z"  # 40 s after the pod was bound
    keeper, _ = accountant(filled(node(), late, pod()), [T0 + 100])
    await keeper.read()
    await keeper.look()
    assert [60 * 500_000] == [figure.spent for figure in keeper.figures()]


async def test_without_a_book_nothing_is_kept() -> None:
    keeper, rung = accountant(filled(node(), pod()), [T0 + 100])
    await keeper.read()
    await keeper.look()
    assert ([], []) == (keeper.figures(), rung)


async def test_nothing_is_concluded_from_pods_that_were_not_heard_of_for_long() -> None:
    keeper, _ = accountant(filled(node(), price_book(), pod()), [T0 + 100], deaf=True)
    await keeper.read()
    await keeper.look()
    assert [] == keeper.figures()


async def test_a_pods_end_is_taken_when_it_rings() -> None:
    store, now = filled(node(), price_book(), pod()), [T0 + 100]
    keeper, _ = accountant(store, now)
    bells = Bells(store, lambda _key, _live: None, pods_changed=keeper.pods_changed)
    await keeper.read()
    await keeper.look()
    now[0] += 7
    store.drop(pod(version=8))
    bells.ring(Key("risk", "fraud"), live=True)
    await keeper.look()
    now[0] += 1000
    await keeper.look()
    assert [107 * 500_000] == [figure.spent for figure in keeper.figures()]


def test_a_price_book_rings_for_every_model_and_a_node_only_when_its_price_may_be_another() -> None:
    model = obj("ModelDeployment", "fraud", 1, metadata={"namespace": "risk"}, spec={})
    store, rung, repriced = filled(model, node(), price_book(), pod()), list[Key](), list[int]()
    prices = Prices(store, clusterwide=True)
    bells = Bells(store, lambda key, _live: rung.append(key), prices=prices, prices_changed=lambda: repriced.append(1))
    prices.rate(read_pod(store))
    bells.ring(Key("", "n", "Node"), live=True)
    assert ([], []) == (rung, repriced)
    store.feed(node(9, cpu="4"))
    bells.ring(Key("", "n", "Node"), live=True)
    assert ([], [1]) == (rung, repriced)
    bells.ring(Key("", "cloud", "PriceBook"), live=True)
    assert ([Key("risk", "fraud")], [1, 1]) == (rung, repriced)


def test_costs_are_exported_in_units() -> None:
    metrics = Metrics()
    metrics.watch_costs(lambda: [("risk", "fraud", "USD", 3_600_000_000, 1_500_000_000)])
    text = metrics.text().decode()
    labels = '{currency="USD",model="fraud",namespace="risk"}'
    assert f"modelward_model_cost_per_hour{labels} 3.6\n" in text
    assert f"modelward_model_spent{labels} 1.5\n" in text


def date(second: int) -> str:
    return formatdate(second, usegmt=True)


@pytest.mark.parametrize(
    ("reason", "said", "expected"),
    [
        ("the server said nothing", None, T0),
        ("the server's word cannot be read", "yesterday", T0),
        ("both agree", date(T0), T0),
        ("our clock is ahead", date(T0 - 500), T0 - 500),
        ("the server's clock is ahead", date(T0 + 500), T0),
    ],
)
def test_of_two_clocks_the_one_behind_counts(reason: str, said: str | None, expected: int) -> None:
    clock = ServerClock(wall=lambda: T0, steady=lambda: 1000.0)
    clock.note(said)
    assert expected == clock.now(), reason


def test_the_servers_time_goes_on_between_its_answers_and_does_not_waver_by_its_whole_seconds() -> None:
    steady = [1000.0]
    clock = ServerClock(wall=lambda: T0 + 10_000, steady=lambda: steady[0])
    clock.note(date(T0))
    steady[0] += 30.9
    clock.note(date(T0 + 30))
    assert T0 + 30 == clock.now()
    steady[0] += 0.2
    assert T0 + 31 == clock.now()
    assert 9000 < clock.apart()


def test_a_clock_that_is_set_back_charges_as_if_it_were_not_and_one_that_is_set_ahead_charges_nothing() -> None:
    wall, steady = [float(T0)], [1000.0]
    clock = ServerClock(wall=lambda: wall[0], steady=lambda: steady[0])
    clock.note(date(T0))
    steady[0] += 60
    for jump in (-3600, 3600, 0):
        wall[0] = T0 + 60 + jump
        assert T0 + 60 == clock.now(), jump
    steady[0] += 10
    wall[0] = T0 - 3600
    assert T0 + 70 == clock.now(), "it goes on"


def test_a_first_look_at_a_wrong_clock_counts_no_more_once_it_is_set_right() -> None:
    """Else a server's clock that jumps ahead later would be held against one that is a day ahead for good."""
    day = 86_400
    wall, steady = [float(T0 + day)], [1000.0]
    clock = ServerClock(wall=lambda: wall[0], steady=lambda: steady[0])
    clock.note(date(T0))
    assert T0 == clock.now()
    wall[0], steady[0] = T0 + 60, 1060.0
    assert T0 + 60 == clock.now(), "both clocks agree"
    clock.note(date(T0 + 60 + day))
    assert T0 + 60 == clock.now(), "the server's jumps"
    wall[0] = T0 - day
    assert T0 + 60 == clock.now(), "ours is set back"


BY_RESOURCE = {
    "currency": "USD",
    "nodes": [{"name": "any", "matchLabels": {"kind": "gpu"}, "price": {"cpu": "1", "memoryGiB": "999999"}}],
}


@pytest.mark.parametrize("asked", ["1e99", "10e399", "10e99999", "9" * 400, "9E", "8Ei"])
@pytest.mark.parametrize("says_what_it_has", [True, False])
async def test_a_pod_that_asks_for_more_than_there_is_stops_nobodys_account(asked: str, says_what_it_has: bool) -> None:
    """Who may make pods may bind them by hand, and the API server takes any number."""
    greedy = pod("greedy")
    greedy["metadata"]["namespace"] = "evil"
    greedy["spec"]["containers"][0]["resources"]["requests"] = {"cpu": asked, "memory": asked}
    bare = node() if says_what_it_has else {**node(), "status": {}}
    keeper, _ = accountant(filled(bare, price_book(spec=BY_RESOURCE), greedy, pod()), [T0 + 100])
    await keeper.read()
    await keeper.look()
    await keeper.write()
    spent = {figure.namespace: figure.spent for figure in keeper.figures()}
    assert 27_777_778 == spent["risk"], "100 s of one core"
    assert 0 < spent["evil"] < 10**19, "it fits into a CostLedger"
    (node_price,) = (figure.hourly for figure in keeper.figures() if figure.namespace == "evil")
    assert not says_what_it_has or 2 * 10**9 + 8 * 999_999 * 10**9 == node_price, "no more than the whole node"


async def test_what_goes_wrong_with_one_model_is_no_other_ones_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    other = pod("b", model="spam")
    other["metadata"]["namespace"] = "evil"
    keeper, _ = accountant(filled(node(), price_book(), pod(), other), [T0 + 100])
    rate = Prices.rate

    def fail(prices: Prices, live: Json) -> Rate | Unpriced:
        if live["metadata"]["namespace"] == "evil":
            raise RuntimeError("a bug")
        return rate(prices, live)

    monkeypatch.setattr(Prices, "rate", fail)
    await keeper.read()
    await keeper.look()
    await keeper.write()
    assert ["risk"] == [figure.namespace for figure in keeper.figures()]


async def test_a_budget_that_cannot_be_evaluated_keeps_no_other_namespaces_from_it() -> None:
    failed = list[str]()

    def book(namespace: str) -> Book:
        raise {"evil": RuntimeError("a bug"), "lost": LeaseLost("another leads")}[namespace]

    spec = {"limit": "1", "currency": "USD"}
    raw = [obj("CostBudget", "b", 5, metadata={"namespace": name}, spec=spec) for name in ("evil", "lost")]
    store = filled(*raw)
    evaluator = Evaluator(
        store,
        Budgets(store),
        book,
        cast("ReplicaPrices", None),
        cast("Client", None),
        cast("Teller", None),
        lambda _key: None,
        failed=lambda: failed.append("budget"),
    )
    await evaluator.look("evil")
    assert ["budget"] == failed
    with pytest.raises(LeaseLost):
        await evaluator.look("lost")
