"""What the store keeps of objects: no megabyte of somebody who only labelled it as ours, and still enough to write and to prune."""

import json
from dataclasses import replace
from typing import Any, cast

import aiohttp
import pytest

from modelward_operator.cluster.apply import Applier, superfluous
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.compact import LARGEST, compact, is_outline
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.kinds import CONFIG_MAP, POD, Resource
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Given, Json, Key, Plan
from modelward_operator.plan import names
from tests.makers import INSTALLATION, NOW, drawn, make_given, make_model

KEY = Key("risk", "fraud")
MEGABYTE = "x" * 1_000_000
LEFT = {names.APPLIED: "0123"}


def config_map(name: str, text: str, *, model: str = "", owner: str = "", **more: Any) -> dict[str, Any]:
    """Return a ConfigMap that is labelled as ours, as the API server holds it."""
    labels = {names.MANAGED_BY: names.MANAGER} | ({names.MODEL_LABEL: model} if model else {})
    owners = (
        [
            {
                "apiVersion": "modelward.dev/v1alpha1",
                "kind": "ModelDeployment",
                "name": model,
                "uid": owner,
                "controller": True,
            }
        ]
        if owner
        else []
    )
    meta = {"name": name, "namespace": "risk", "uid": name, "resourceVersion": "7", "labels": labels, **more}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**meta, "ownerReferences": owners},
        "data": {"x": text},
    }


def _of_unknown_group(made: Json) -> Json:
    """Return it with an owner that the garbage collector cannot look up, and so never takes for absent."""
    (owner,) = made["metadata"]["ownerReferences"]
    return {**made, "metadata": {**made["metadata"], "ownerReferences": [{**owner, "apiVersion": "no.such/v1"}]}}


class Api:
    """An API server with these objects; counts what it is asked for and what is written."""

    def __init__(self, *objects: Json) -> None:
        self.objects = {obj["metadata"]["name"]: obj for obj in objects}
        self.read, self.written = list[str](), list[str]()

    async def get(self, _resource: Resource, _namespace: str, name: str) -> Json:
        self.read.append(name)
        if name not in self.objects:
            raise NotFound("no")
        return self.objects[name]

    async def apply(self, _resource: Resource, body: Json, **_: object) -> Json:
        self.written.append(body["metadata"]["name"])
        return body


@pytest.mark.parametrize(
    ("reason", "made"),
    [
        ("it says that it is controlled", config_map("a", MEGABYTE, model="fraud", owner="u-1")),
        ("it may have been left behind", config_map("a", MEGABYTE, model="fraud", annotations=LEFT)),
        ("it is all metadata", config_map("a", "", model="fraud", annotations=LEFT, finalizers=[MEGABYTE])),
        ("it is all one annotation", config_map("a", "", model="fraud", annotations={names.APPLIED: MEGABYTE})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_a_config_map_of_others_that_looks_like_ours_an_outline_is_kept(reason: str, made: Json) -> None:
    assert len(compact(made)) < 2_000, reason
    assert is_outline(json.loads(compact(made)))


@pytest.mark.parametrize(
    ("reason", "made"),
    [
        ("of no model", config_map("a", MEGABYTE, annotations=LEFT)),
        ("of a model that nobody controls it for", config_map("a", MEGABYTE, model="fraud")),
        ("a kind of that name that nobody serves", _of_unknown_group(config_map("a", "x", model="fraud", owner="u-1"))),
    ],
)
def test_of_a_config_map_that_is_nobodys_business_nothing_is_kept_and_nobody_hears_of_it(
    reason: str, made: Json
) -> None:
    store, ours = Store(), config_map("a", "x", model="fraud", owner="u-1", resourceVersion="6")
    assert not store.feed({**made, "metadata": {**made["metadata"], "name": "b"}}), reason
    assert store.feed(ours)
    assert store.feed(made), "one that was ours is not any more: that is news"
    assert not store.sizes()
    assert not store.feed(ours), "and not undone by what was under way"
    assert not store.feed(made)


def test_three_hundred_megabytes_of_a_stranger_take_a_few_hundred_kilobytes() -> None:
    kept = [compact(config_map(f"c{number}", MEGABYTE, model="fraud", annotations=LEFT)) for number in range(300)]
    assert 0 < sum(map(len, kept)) < 300_000


def test_what_a_model_controls_is_kept_as_it_is() -> None:
    made = config_map("a", "x" * (LARGEST // 2), model="fraud", owner="u-1")
    assert made == json.loads(compact(made))


def child(kind: str, name: str, *, model: str = "fraud", owner: Json | None = None, text: str = MEGABYTE) -> Json:
    """Return an object of another kind that carries a model's label, as the API server holds it."""
    labels = {names.MANAGED_BY: names.MANAGER, names.MODEL_LABEL: model}
    meta = {"name": name, "namespace": "risk", "uid": name, "resourceVersion": "7", "labels": labels}
    owners = [owner] if owner else []
    return {"apiVersion": "v1", "kind": kind, "metadata": {**meta, "ownerReferences": owners}, "spec": {"x": text}}


OWNER = {
    "apiVersion": "modelward.dev/v1alpha1",
    "kind": "ModelDeployment",
    "name": "fraud",
    "uid": "u",
    "controller": True,
}


@pytest.mark.parametrize(
    ("reason", "made", "is_kept"),
    [
        ("nobody controls it", child("Deployment", "fraud"), False),
        ("it is large and of a stranger", child("Role", "fraud-predict", owner={**OWNER, "kind": "Job"}), False),
        ("not a name that a child has", child("Role", "fraud-2", owner=OWNER), False),
        ("of another model than it says", child("Deployment", "a", model="a", owner=OWNER), False),
        ("the model's own, which a hand has filled", child("Deployment", "fraud", owner=OWNER), True),
        ("small, and of nobody", child("Deployment", "fraud", text="x"), True),
        ("endpoints, of which there may be a thousand", child("EndpointSlice", "fraud-x", text="x" * 300_000), True),
        ("more than a thousand", child("EndpointSlice", "fraud-x"), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_other_kinds_what_is_large_is_kept_of_the_models_own_child_alone(
    reason: str, made: Json, is_kept: bool
) -> None:
    kept = json.loads(compact(made))
    assert (is_kept, not is_kept) == (kept == made, is_outline(kept)), reason
    assert is_kept or len(compact(made)) < 2_000


@pytest.mark.parametrize("kind", ["Pod", "ReplicaSet"])
def test_of_annotations_of_pods_ours_are_kept(kind: str) -> None:
    made = child(kind, "fraud-1", text="x")
    annotations = {names.REVISION: "r1", "k8s.v1.cni.cncf.io/network-status": MEGABYTE}
    kept = json.loads(compact({**made, "metadata": {**made["metadata"], "annotations": annotations}}))
    assert {names.REVISION: "r1"} == kept["metadata"]["annotations"]


def test_a_route_that_asks_for_more_than_any_of_ours_asks_for_nothing() -> None:
    hosts = [f"h{number}.example.com" for number in range(64)]
    for count, claimed in ((1, 64), (32, 0)):
        paths = [{"path": {"value": f"/{number}"}} for number in range(count)]
        route = {
            **child("HTTPRoute", "fraud", owner=OWNER),
            "spec": {"hostnames": hosts, "rules": [{"matches": paths}]},
        }
        store = Store()
        store.feed(route)
        assert claimed == len(store._claimed), count


def test_a_page_of_config_maps_is_small() -> None:
    assert CONFIG_MAP.page * 1.5 < 50 < POD.page  # megabytes at most


def planned_policy() -> tuple[Given, Json]:
    """Return a model, and its policy.json as it stands and is too large to be kept."""
    given = make_given()
    planned = next(o for o in drawn(given).objects if o["metadata"]["name"] == "fraud-policy")
    meta = {**planned["metadata"], "uid": "p", "resourceVersion": "7"}
    return given, {**planned, "metadata": meta, "data": {**planned["data"], "more": MEGABYTE}}


async def test_a_large_child_that_is_planned_is_compared_in_full() -> None:
    given, live = planned_policy()
    seen = replace(given, children=(json.loads(compact(live)),))
    assert is_outline(seen.children[0])
    planned = {**live, "metadata": {k: v for k, v in live["metadata"].items() if k not in {"uid", "resourceVersion"}}}
    api = Api(live)
    applied = await Applier(cast("Client", api), Store()).apply(Plan([planned]), seen)
    assert (applied.writes, applied.refusals, api.read, api.written) == (0, (), ["fraud-policy"], [])


def test_a_large_child_that_is_not_planned_is_still_pruned() -> None:
    given = make_given()
    forged = json.loads(compact(config_map("forged", MEGABYTE, model="fraud", owner=given.uid)))
    assert [forged] == superfluous(Plan([]), replace(given, children=(forged,)))


async def test_a_large_policy_is_fetched_for_the_room_that_reads_it() -> None:
    _, live = planned_policy()
    other = config_map("fraud-other", MEGABYTE, model="fraud", owner="u-1")
    store, api = Store(), Api(live)
    for obj in (make_model(resourceVersion="1"), live, other):
        store.feed(obj)
    async with aiohttp.ClientSession() as session:
        reader = Gatherer(cast("Client", api), store, INSTALLATION, session, now=lambda: NOW)
        found = await reader.gather(KEY)
    assert found is not None
    assert live == found.child("ConfigMap", "fraud-policy")
    assert is_outline(found.child("ConfigMap", "fraud-other"))
