"""Where one pass does not get to all of what somebody planted: what the API server refuses holds up nothing, and rings for no pass."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from modelward_operator.cluster.adoption import AT_ONCE, Adopter
from modelward_operator.cluster.apply import PRUNED_AT_ONCE, Applier
from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Given, Json, Key, Plan
from modelward_operator.plan import names
from tests.makers import make_given


class Refusing:
    """An API server that refuses to change or delete objects of these names, and remembers what it did."""

    def __init__(self, given: Given, refuses: Sequence[str], error: type[Exception] = Rejected) -> None:
        self.given, self.refuses, self.error, self.done = given, frozenset(refuses), error, list[str]()

    async def delete(self, _: Resource, _namespace: str, name: str, *, uid: str) -> Json:
        self._do(name)
        return {"kind": "Status", "uid": uid}

    async def patch(self, _: Resource, _namespace: str, name: str, body: Json, **__: Any) -> Json:
        self._do(name)
        return {**self._child(name), "metadata": {**self._child(name)["metadata"], **body["metadata"]}}

    async def get(self, resource: Resource, _: str, name: str) -> Json:
        return self.given.raw if resource.kind == "ModelDeployment" else self._child(name)

    def _do(self, name: str) -> None:
        if name in self.refuses:
            raise self.error("no")
        self.done.append(name)

    def _child(self, name: str) -> Json:
        return self.given.child("ConfigMap", name)


def planted(count: int, *, is_owned: bool) -> Given:
    """Return a model with so many ConfigMaps that look like its own."""
    given = make_given()
    owners = [names.owner_reference(given)] if is_owned else []
    children = []
    for number in range(count):
        name = f"fraud-boot-{number:010x}"
        meta = {"name": name, "namespace": "risk", "uid": name, "resourceVersion": "1", "ownerReferences": owners}
        labels = {"labels": names.selector("fraud"), "annotations": {names.APPLIED: "planted"}}
        children.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, **labels}})
    given.raw["metadata"].setdefault("resourceVersion", "1")
    return replace(given, children=tuple(children))


def named(given: Given, numbers: slice) -> list[str]:
    return [child["metadata"]["name"] for child in given.children[numbers]]


async def test_children_that_cannot_be_deleted_hold_up_no_others_and_ring_for_no_pass() -> None:
    for error in (Rejected, Unreadable):
        given, rung = planted(PRUNED_AT_ONCE + 3, is_owned=True), list[Key]()
        api = Refusing(given, named(given, slice(PRUNED_AT_ONCE)), error)
        applier = Applier(cast("Client", api), Store(), ring=rung.append)
        first = await applier.apply(Plan(()), given)
        assert (PRUNED_AT_ONCE, [], []) == (len(first.refusals), api.done, rung), "the refusals say when to look again"
        await applier.apply(Plan(()), given)
        assert named(given, slice(PRUNED_AT_ONCE, None)) == api.done
        assert [given.key] == rung, "something went on"


async def test_children_that_can_be_deleted_ring_for_the_rest() -> None:
    given, rung = planted(PRUNED_AT_ONCE + 1, is_owned=True), list[Key]()
    await Applier(cast("Client", Refusing(given, ())), Store(), ring=rung.append).apply(Plan(()), given)
    assert [given.key] == rung


async def test_orphans_that_cannot_be_taken_back_hold_up_no_others() -> None:
    given, rung = planted(AT_ONCE + 3, is_owned=False), list[Key]()
    api = Refusing(given, named(given, slice(AT_ONCE)))
    adopter = Adopter(cast("Client", api), Store(), ring=rung.append)
    assert [0, 3] == [await adopter.take_back(given) for _ in range(2)]
    assert named(given, slice(AT_ONCE, None)) == api.done
    assert [given.key] == rung, "only where something went on"
