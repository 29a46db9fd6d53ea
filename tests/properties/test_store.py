"""The store ends with the newest state of each object, however events, listings and answers are reordered, doubled or dropped."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.cluster.store import REMEMBERED, Store, ref_of
from modelward_operator.facts import Key
from modelward_operator.plan.names import MODEL_LABEL

Json = dict[str, Any]
Change = tuple[str, Json]


def service(name: str, version: int, uid: str = "u", model: str = "m", **spec: Any) -> Json:
    labels = {MODEL_LABEL: model} if model else {}
    meta = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {**spec, "version": version}}


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """What happened on the API server, in order: objects made, changed, deleted, made anew with another UID."""
    changes: list[Change] = []
    alive: dict[str, Json] = {}
    for version in range(1, draw(st.integers(min_value=1, max_value=25)) + 1):
        name = draw(st.sampled_from("abc"))
        if name in alive and draw(st.integers(min_value=0, max_value=3)) == 0:
            gone = {**alive.pop(name)}
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(version)}}
            changes.append(("DELETED", gone))
        else:
            uid = alive[name]["metadata"]["uid"] if name in alive else f"{name}-{version}"
            alive[name] = service(name, version, uid, draw(st.sampled_from(["m", "n"])))
            changes.append(("MODIFIED", alive[name]))
    return changes


def final(changes: list[Change]) -> dict[str, Json]:
    state: dict[str, Json] = {}
    for event, obj in changes:
        if event == "DELETED":
            state.pop(obj["metadata"]["name"], None)
        else:
            state[obj["metadata"]["name"]] = obj
    return state


def take(store: Store, change: Change) -> None:
    event, obj = change
    if event == "DELETED":
        store.drop(obj)
    else:
        store.feed(obj)


def check(store: Store, expected: dict[str, Json]) -> None:
    for name in "abc":
        assert store.read("Service", "ns", name) == expected.get(name, {})
    for model in "mn":
        mine = [o["metadata"]["name"] for o in store.of_model(Key("ns", model), ["Service"])]
        assert mine == sorted(n for n, o in expected.items() if o["metadata"]["labels"][MODEL_LABEL] == model)


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_order_and_duplicates_end_in_the_newest_state(changes: list[Change], random: Any) -> None:
    shuffled = changes * 2
    random.shuffle(shuffled)
    store = Store()
    for change in shuffled:
        take(store, change)
    check(store, final(changes))


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_dropped_events_are_made_up_for_by_a_listing(changes: list[Change], random: Any) -> None:
    store = Store()
    for change in random.sample(changes, random.randint(0, len(changes))):
        take(store, change)
    listed = final(changes)
    for obj in listed.values():
        store.feed(obj)
    store.replace("Service", "", [ref_of(obj) for obj in listed.values()], len(changes))
    check(store, listed)


def test_what_is_newer_than_a_listing_stays() -> None:
    store = Store()
    store.feed(service("a", 9))
    assert store.replace("Service", "", [], 8) == []
    assert store.read("Service", "ns", "a")


def test_a_listing_of_one_namespace_or_kind_leaves_the_others() -> None:
    store = Store()
    store.feed(service("a", 1))
    store.feed({**service("b", 1), "kind": "ServiceAccount"})
    store.replace("Service", "elsewhere", [], 5)
    store.replace("Deployment", "", [], 5)
    assert store.sizes() == {"Service": 1, "ServiceAccount": 1}
    assert store.replace("Service", "ns", [], 5) == [(("Service", "ns", "a"), Key("ns", "m"))]


def test_only_news_is_news() -> None:
    store = Store()
    assert store.feed(service("a", 5))
    assert not store.feed(service("a", 5)), "the event of our own write"
    assert not store.feed(service("a", 4)), "an older event"
    assert store.drop(service("a", 6))
    assert not store.drop(service("a", 6))
    assert not store.feed(service("a", 5)), "a deletion is not undone by an older event"
    assert store.feed(service("a", 7, uid="another")), "but by a newer object"
    assert not store.drop(service("a", 6)), "nor is that one dropped by the old deletion"


def test_an_object_whose_label_changes_is_the_business_of_both_models() -> None:
    store = Store()
    assert store.keys_of(service("a", 5)) == {Key("ns", "m")}
    store.feed(service("a", 5))
    assert store.keys_of(service("a", 6, model="n")) == {Key("ns", "m"), Key("ns", "n")}
    assert store.keys_of(service("a", 6, model="")) == {Key("ns", "m")}, "the label was taken away"
    store.feed(service("a", 6, model=""))
    assert store.keys_of(service("a", 7, model="")) == set(), "nobody's"


def test_what_the_api_said_is_gone_stays_gone_whatever_the_version() -> None:
    store = Store()
    store.feed(service("a", 5, uid="one"))
    assert not store.forget(("Service", "ns", "a"), "two"), "another object"
    assert store.forget(("Service", "ns", "a"), "one")
    assert not store.feed(service("a", 6, uid="one")), "an event that was under way"
    assert store.feed(service("a", 7, uid="two"))


def test_an_object_that_leaves_the_selector_may_come_back() -> None:
    store = Store()
    store.feed(service("a", 5))
    store.drop(service("a", 6))
    assert store.feed(service("a", 7))


def test_readers_share_nothing() -> None:
    store = Store()
    store.feed(service("a", 1, ports=[1]))
    store.read("Service", "ns", "a")["spec"]["ports"].append(2)
    assert store.read("Service", "ns", "a")["spec"]["ports"] == [1]


def test_deletions_are_forgotten_in_time() -> None:
    now = 0.0
    store = Store(clock=lambda: now)
    for number in range(100):
        store.drop(service(f"s{number}", number))
    now = REMEMBERED + 1
    store.drop(service("last", 1000))
    assert len(store._gone) == 1


def test_equal_names_are_one_string_and_names_of_what_is_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any version of Python: of one of them, `sys.intern` never forgets."""
    monkeypatch.setattr("modelward_operator.cluster.store.SPARE", 10)
    store = Store()
    for number in range(3):
        store.feed(json.loads(json.dumps(service(f"model-{number}", 1))))
    namespaces = {id(ref[1]) for ref in store._records}
    assert (3, 1) == (len(store._records), len(namespaces))
    for number in range(1000):
        gone = service(f"gone-{number}", 2 * number + 1)
        store.feed(gone)
        store.drop(gone)
    assert len(store._words._known) <= 30
    assert {id(word) for word in store._words._known} >= {id(ref[1]) for ref in store._records}


def test_the_store_is_complete_once_everything_expected_was_listed() -> None:
    store = Store()
    store.expect("Service", "a")
    store.expect("Service", "b")
    assert (store.complete, store.missing) == (False, ["Service"])
    store.replace("Service", "a", [], 1)
    assert not store.complete
    store.replace("Service", "b", [], 1)
    assert store.complete


def test_managed_fields_and_the_bulk_of_pods_are_left_out() -> None:
    pod = service("a", 1)
    pod["kind"] = "Pod"
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    pod["spec"] = {
        "nodeName": "n",
        "containers": [
            {"name": "runtime", "image": "i:1", "env": [{"name": "SECRET"}], "resources": {"limits": {"memory": "1Gi"}}}
        ],
        "volumes": [{"name": "boot", "configMap": {"name": "m-boot-1"}}, {"name": "cache", "emptyDir": {}}],
    }
    store = Store()
    store.feed(pod)
    kept = store.read("Pod", "ns", "a")
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"] == {
        "nodeName": "n",
        "volumes": [{"name": "boot", "configMap": {"name": "m-boot-1"}}],
        "containers": [{"name": "runtime", "image": "i:1", "resources": {"limits": {"memory": "1Gi"}}}],
    }
