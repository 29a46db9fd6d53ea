"""Which ports of the activator are whose."""

from typing import Any

from modelward_operator.cluster.ports import Ports
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Json, Key
from modelward_operator.plan import names

VERSIONS = iter(range(1, 1_000_000))


def stored(kind: str, namespace: str, name: str, model: str, **metadata: Any) -> Json:
    labels = names.selector(model)
    meta = {"namespace": namespace, "name": name, "resourceVersion": str(next(VERSIONS)), "labels": labels, **metadata}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}


def add_model(store: Store, name: str, ports: str = "", made: str = "2026-11-25T12:00:00Z", owner: str = "") -> Key:
    store.feed(stored("ModelDeployment", "risk", name, name, uid=f"uid-{name}"))
    if ports:
        told = {
            "uid": f"slice-{name}",
            "creationTimestamp": made,
            "annotations": {names.ACTIVATOR_PORTS: ports},
            "ownerReferences": [{"kind": "ModelDeployment", "uid": owner or f"uid-{name}", "controller": True}],
        }
        store.feed(stored("EndpointSlice", "risk", names.activator_slice_name(name), name, **told))
    return Key("risk", name)


def test_each_model_has_two_of_its_own_and_keeps_them() -> None:
    store = Store()
    first, second = add_model(store, "a"), add_model(store, "b")
    ports = Ports(store)
    assert ((20000, 20001), (20002, 20003)) == (ports.allot(first), ports.allot(second))
    assert ports.allot(first) == (20000, 20001)


def test_a_new_leader_goes_on_from_what_the_slices_say() -> None:
    store = Store()
    kept, fresh = add_model(store, "a", "20010,20011"), add_model(store, "b")
    ports = Ports(store)
    assert ((20012, 20013), (20010, 20011)) == (ports.allot(fresh), ports.allot(kept))


def test_of_two_that_claim_the_same_the_older_has_it() -> None:
    store = Store()
    young = add_model(store, "a", "20000,20001", "2026-11-25T12:00:01Z")
    old = add_model(store, "b", "20000,20001", "2026-11-25T12:00:00Z")
    ports = Ports(store)
    assert ((20002, 20003), (20000, 20001)) == (ports.allot(young), ports.allot(old))


def test_a_slice_that_somebody_edited_gets_nobody_anothers_port() -> None:
    store = Store()
    forger = add_model(store, "a", "20010,20011", "2026-11-25T12:00:00Z")  # the older one, and the port is b's
    victim = add_model(store, "b", "20010,20011", "2026-11-25T12:00:01Z")
    stranger = add_model(store, "c", "20020,20021")  # not in the table yet: its slice is all that is known
    ports = Ports(store, lambda: {forger: 20000, victim: 20010})
    assert ((20000, 20001), (20010, 20011)) == (ports.allot(forger), ports.allot(victim))
    assert ports.allot(stranger) == (20020, 20021)


def test_a_model_that_is_gone_holds_no_port_because_the_table_still_has_it() -> None:
    store = Store()
    fresh = add_model(store, "a")
    ports = Ports(store, lambda: {Key("risk", "gone"): 20000})
    assert ports.allot(fresh) == (20000, 20001)


def test_a_claim_that_is_none_is_not_believed() -> None:
    wrong = ("8080,8081", "20001,20002", "60000,60001", "20000,20002", "20000", "twenty,21", "²0000,20001")
    for text in wrong:
        store = Store()
        claimant = add_model(store, "a", text)
        assert Ports(store).allot(claimant) == (20000, 20001), text
    store = Store()
    strangers = add_model(store, "a", "20500,20501", owner="another")
    assert Ports(store).allot(strangers) == (20000, 20001)


def test_numbers_go_round_so_that_nobody_soon_answers_at_a_port_of_somebody_who_is_gone() -> None:
    store = Store()
    first, second = add_model(store, "a"), add_model(store, "b")
    ports = Ports(store)
    ports.allot(first)
    ports.release(first)
    assert ports.allot(second) == (20002, 20003)


def test_when_all_are_taken_the_next_gets_none_until_a_model_is_gone() -> None:
    store = Store()
    keys = [add_model(store, name) for name in "abc"]
    ports = Ports(store, numbers=range(20000, 20004, 2))
    assert [(20000, 20001), (20002, 20003), None] == [ports.allot(key) for key in keys]
    store.drop(stored("ModelDeployment", "risk", "a", "a", uid="uid-a"))
    assert ports.allot(keys[2]) == (20000, 20001)
