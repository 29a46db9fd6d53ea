"""Each field of each child that we own is changed by hand, one at a time, and repaired; what is others' stays.

The fields come out of the plan itself, of models that have every child and set what can be set. Of each another value is tried, then its
removal, until the API server takes one; it takes none of what is immutable, or wrong without its neighbours. A round changes one field of
every child at once, and is one pass of each model; a second one then writes nothing.
"""

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.compare import is_superset
from modelward_operator.cluster.kinds import BY_KIND, CHILDREN, DEPLOYMENT, MODEL, SECRET
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule
from tests.integration.every_child import MODELS, make_models
from tests.integration.rig import Rig, make_rig

Json = dict[str, Any]
Route = tuple[str | int, ...]
HAND = "somebody"
GONE = object()
"""Instead of another value: the field is taken away."""
ABSENT = object()

IDENTITY = {"apiVersion", "kind", "metadata.name", "metadata.namespace"}
WORDS = (
    *("Always", "UDP", "HTTPS", "File", "Unconfined", "Recreate", "Exists", "NoExecute", "Egress", "Memory"),
    *("other", "7", "/other", "other.example/thing", "metadata.uid", "198.51.100.0/24", "2001:db8:1::/48", "get"),
    *("30%", "64Gi", "1m", "boot", "policy", "grpc"),
)
"""What a field of text may be, if nothing that is made of its own value is taken."""


@pytest.fixture
async def rig(gateway_api: None, client: Client, namespace: str, home: str) -> AsyncIterator[Rig]:
    """An operator with an activator and every model of the table, at rest."""
    async with make_rig(client, namespace, home=home) as made:
        await make_models(made)
        yield made


async def rest(rig: Rig, *models: str) -> None:
    """Pass until nothing is written any more; what that leaves behind is collected."""
    for turn in range(10):
        if turn > 1:
            await collect(rig)
        rig.writes.clear()
        await asyncio.gather(*(rig.reconcile(name) for name in models or MODELS))
        if not rig.writes:
            return
    pytest.fail(f"it never rests: {rig.writes}")


async def collect(rig: Rig) -> None:
    """Do what the garbage collector would: what has owners, and none of them exists, goes."""
    found = [*(await rig.children()).values()]
    for resource in (MODEL, SECRET):
        async for page, _ in rig.admin.pages(resource, rig.namespace):
            found += page
    for item in sorted(found, key=lambda item: bool(item["kind"] == SECRET.kind)):
        meta, there = item["metadata"], {one["metadata"]["uid"] for one in found}
        owners = {owner["uid"] for owner in meta.get("ownerReferences", ())}
        if owners and not owners & there:
            found.remove(item)
            await rig.admin.delete(BY_KIND.get(item["kind"], SECRET), rig.namespace, meta["name"], uid=meta["uid"])
            if item["kind"] != SECRET.kind:
                await rig.unknown(item["kind"], meta["name"])


async def planned(rig: Rig, model: str) -> dict[str, Json]:
    """The children of a model by their part: the kind, and the name without the model's and without a hash."""
    given = await rig.cluster.gather(rig.key(model))
    assert given is not None
    spec = parse(given.raw)
    assert not isinstance(spec, Invalid)
    objects = [copy.deepcopy(dict(one)) for one in draw(given, spec, rule(given, spec)).objects]
    return {
        f"{one['kind']} {re.sub('-[0-9a-f]{10,}$', '-', one['metadata']['name'].removeprefix(model))}": one
        for one in objects
    }


def leaves(value: object, route: Route = ()) -> Iterator[Route]:
    """The way to every value that holds no other."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*route, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*route, index))
    else:
        yield route


def at(value: Any, route: Route) -> Any:
    for step in route:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return value


def words(route: Route) -> str:
    return ".".join(map(str, route))


def changed(whole: Any, route: Route, value: object) -> Any:
    """The same with another value there, or without one; what lies beside the way is shared."""
    step, *way = route
    result = copy.copy(whole)
    if way:
        result[step] = changed(whole[step], tuple(way), value)
    elif value is GONE:
        del result[step]
    else:
        result[step] = value
    return result


SHAPES = [re.compile(shape) for shape in (r"[0-9.]+/[0-9]+", r"[0-9a-f:]+/[0-9]+", r"[0-9]+(m|Mi|Gi)?", r"[0-9]+%")]
"""Of networks, quantities and percentages."""
SUPPORTED = re.compile(r'Unsupported value: "(?P<value>[^"]*)": supported values: (?P<all>("[^"]*"(, )?)+)')


def others(value: object) -> Iterator[object]:
    """What a field may be instead, what is alike first."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, 1, 0)
    elif isinstance(value, str):
        alike = [word for shape in SHAPES if shape.fullmatch(value) for word in WORDS if shape.fullmatch(word)]
        yield from (word for word in dict.fromkeys([*alike, f"{value}x", f"x{value}", *WORDS]) if word != value)


class Candidates:
    """What is tried on one field, until the API server says that it is immutable, or what it supports."""

    def __init__(self, values: Iterable[object]) -> None:
        self._left = [*values]
        self._is_told = False

    def __iter__(self) -> Iterator[object]:
        while self._left:
            yield self._left.pop(0)

    def refuse(self, value: object, refusal: str) -> None:
        """Take the API server's word on a value that was tried."""
        told = SUPPORTED.search(refusal)
        if "immutable" in refusal:
            self._left = []
        elif told and told["value"] == value and not self._is_told:
            self._left, self._is_told = re.findall('"([^"]*)"', told["all"]), True


@dataclass
class Drifts:
    """All that is tried on one child, a field a turn."""

    rig: Rig
    model: str
    part: str
    wanted: Json
    """As it was planned when nothing had drifted."""
    turns: list[tuple[Route, bool]]
    """Which field, and whether it is taken away."""
    taken: dict[str, object]
    """Of all children: to what fields were changed, by `_like`."""
    refused: set[str] = field(default_factory=set)
    """Fields of which the API server takes no other value, or does not let go."""
    unrepaired: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    """Fields after whose repair something of the other hand is there beside it."""
    now: tuple[Route, bool] | None = None
    version: int = 0
    """Of the child after the change."""

    @property
    def words(self) -> str:
        assert self.now is not None
        route, is_removed = self.now
        return f"{self.part} {words(route)}{' gone' if is_removed else ''}"

    @property
    def name(self) -> str:
        return str(self.wanted["metadata"]["name"])

    async def current(self) -> Json:
        """As it is planned. A certificate's record that was changed is no record any more, and another certificate is issued."""
        if "-tls-" not in self.name:
            return self.wanted
        for _ in range(5):
            if found := (await planned(self.rig, self.model)).get(self.part):
                return found
            await collect(self.rig)
            await self.rig.reconcile(self.model)
        pytest.fail(f"{self.part} does not come back")

    async def drift(self, turn: int) -> bool:
        """Change the field of this turn by hand; False when there is none, or the API server lets nobody."""
        self.now = None
        if turn >= len(self.turns):
            return False
        self.now = self.turns[turn]
        self.wanted = await self.current()
        route, is_removed = self.now
        live = await self.rig.get(self.wanted["kind"], self.name)
        tried = Candidates([GONE] if is_removed else self._likely(live, route))
        for value in tried:
            try:
                answer = await self.rig.admin.update(BY_KIND[live["kind"]], changed(live, route, value), manager=HAND)
            except Rejected as refusal:
                tried.refuse(value, str(refusal))
                continue
            if at(answer, route) != at(live, route):
                self.taken[self._like(route)] = value
                self.version = int(answer["metadata"]["resourceVersion"])
                return True
        self.refused.add(self.words)
        return False

    def _like(self, route: Route) -> str:
        """The name of a field and of those like it: the same one of the other items of a list."""
        return words((self.wanted["kind"], *("#" if isinstance(step, int) else step for step in route)))

    def _likely(self, live: Json, route: Route) -> Iterator[object]:
        """What the field may be: first what one like it was changed to."""
        value, before = at(live, route), self.taken.get(self._like(route), GONE)
        yield from () if before in (GONE, value) else (before,)
        yield from others(value)

    async def heard(self) -> None:
        """Wait until the operator knows of the change, or that the child does not carry its labels any more."""

        def known() -> bool:
            live = self.rig.live(self.wanted["kind"], self.name)
            return not live or int(live["metadata"]["resourceVersion"]) >= self.version

        await self.rig.until(known)

    async def check(self) -> bool:
        """See what became of it; True when it must begin anew, because something of the other hand is left."""
        wanted = self.wanted
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        live = await self.rig.get(kind, name)
        as_planned = all(at(live, route) == at(wanted, route) for route in leaves(wanted) if at(wanted, route) != {})
        if as_planned and all(len(at(live, way)) == len(at(wanted, way)) for way in lists(wanted)):
            return False
        (self.left if is_superset(live, wanted) else self.unrepaired).add(self.words)
        await self.rig.admin.delete(BY_KIND[kind], self.rig.namespace, name, uid=live["metadata"]["uid"])
        await self.rig.unknown(kind, name)
        return True


def lists(value: object, route: Route = ()) -> Iterator[Route]:
    """The way to every list."""
    if isinstance(value, dict | list):
        if isinstance(value, list):
            yield route
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from lists(inner, (*route, step))


async def every_field(rig: Rig) -> list[Drifts]:
    """What is to be tried: every field of every child once. Where several models have it, the one that has the least to do."""
    found: dict[tuple[str, str], Drifts] = {}
    fields: dict[tuple[str, str], list[tuple[str, Route]]] = {}
    taken: dict[str, object] = {}
    for model in MODELS:
        for part, wanted in (await planned(rig, model)).items():
            live = await rig.get(wanted["kind"], wanted["metadata"]["name"])
            found[model, part] = Drifts(rig, model, part, wanted, [], taken)
            for route in leaves(wanted):
                value = at(wanted, route)
                assert at(live, route) == value or value in ({}, []), (part, words(route))
                is_standing = words(route) == "spec.replicas" and model != "full"  # what stands is what is wanted
                if words(route) not in IDENTITY and at(live, route) is not ABSENT and not is_standing:
                    fields.setdefault((part, words(route)), []).append((model, route))
    for (part, _), having in fields.items():
        model, route = min(having, key=lambda one: len(found[one[0], part].turns))
        is_empty = at(found[model, part].wanted, route) in ({}, [])
        found[model, part].turns += [(route, True)] if is_empty else [(route, False), (route, True)]
    return [one for one in found.values() if one.turns]


@pytest.mark.timeout(900)  # hundreds of rounds
async def test_each_field_that_is_ours_is_repaired_when_it_is_changed_by_hand(rig: Rig) -> None:
    tried = await every_field(rig)
    assert {one.wanted["kind"] for one in tried} == {one.kind for one in CHILDREN}
    repaired = 0
    for turn in range(max(len(one.turns) for one in tried)):
        done = await asyncio.gather(*(one.drift(turn) for one in tried))
        drifted = [one for one, is_changed in zip(tried, done, strict=True) if is_changed]
        await asyncio.gather(*(one.heard() for one in drifted))
        if any("ownerReferences" in one.words for one in drifted):
            await collect(rig)
        models = sorted({one.model for one in drifted})
        await rest(rig, *models)
        for one in drifted:
            one.wanted = await one.current()
        if any(await asyncio.gather(*(one.check() for one in drifted))):
            await rest(rig, *models)
        repaired += len(drifted)
    assert set.union(*(one.unrepaired for one in tried)) == set()
    left = set.union(*(one.left for one in tried))
    assert {name for name in left if not BESIDE_OURS.fullmatch(name)} == set()
    refused = set.union(*(one.refused for one in tried))
    fields = {words(route) for one in tried for route, _ in one.turns}
    assert len({name for name in refused if f"{name} gone" in refused}) < len(fields) / 4, sorted(refused)
    assert repaired > 300


BESIDE_OURS = re.compile(
    r"Deployment  spec\.template\.spec\.containers\.0\.(name|env\.\d+\.name|volumeMounts\.\d+\.mountPath)"
)
"""Who renames an item of a list has ours back, and the renamed one beside it: it is as good as a sidecar's."""


@pytest.mark.parametrize("mark", ["app.kubernetes.io/managed-by", "modelward.dev/model"])
async def test_a_deployment_that_lost_a_label_keeps_its_number_and_its_autoscaler(rig: Rig, mark: str) -> None:
    before = await rig.get("HorizontalPodAutoscaler", "hpa")
    await rig.admin.patch(
        DEPLOYMENT, rig.namespace, "hpa", {"spec": {"replicas": 4}}, manager="hpa", subresource="scale"
    )
    await rig.admin.patch(DEPLOYMENT, rig.namespace, "hpa", {"metadata": {"labels": {mark: None}}}, manager=HAND)
    await rig.until(lambda: not rig.store.of_model(rig.key("hpa"), [DEPLOYMENT.kind]))
    await rest(rig, "hpa")
    after = await rig.get("Deployment", "hpa")
    assert after["spec"]["replicas"] == 4
    assert mark in after["metadata"]["labels"]
    assert before["metadata"]["uid"] == (await rig.get("HorizontalPodAutoscaler", "hpa"))["metadata"]["uid"]


MARKS: Json = {
    "metadata": {"labels": {"team": "risk"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now", "owner": "us"}}
}
SIDECAR: Json = {"name": "mesh", "image": "mesh/proxy:1", "env": [{"name": "A", "value": "b"}]}
OURS_TOO: Json = {
    "name": "runtime",
    "env": [{"name": "MESH", "value": "on"}],
    "volumeMounts": [{"name": "mesh", "mountPath": "/mesh"}],
}
THEIRS: dict[str, Json] = {
    "ServiceAccount": {"imagePullSecrets": [{"name": "theirs"}]},
    "ConfigMap": {},
    "Service": {
        "spec": {
            "sessionAffinity": "ClientIP",
            "ports": [{"name": "extra", "port": 9000, "targetPort": 9000, "protocol": "TCP"}],
        }
    },
    "PodDisruptionBudget": {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}},
    "HorizontalPodAutoscaler": {"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 7}}}},
    "Deployment": {
        "spec": {
            "minReadySeconds": 3,
            "template": {
                **MARKS,
                "spec": {
                    "containers": [SIDECAR, OURS_TOO],
                    "initContainers": [{"name": "mesh-init", "image": "mesh/init:1"}],
                    "volumes": [{"name": "mesh", "emptyDir": {}}],
                    "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
                },
            },
        }
    },
}
"""What others set by a server-side apply of their own, beside the marks that every child gets."""


async def test_fields_of_others_stay_through_passes_and_changes(rig: Rig) -> None:
    theirs: dict[tuple[str, str], Json] = {}
    for (kind, name), child in (await rig.children()).items():
        if kind == "ConfigMap" and ("-boot-" in name or "-tls-" in name):
            continue  # one that is named by its content goes with it
        head = {"apiVersion": child["apiVersion"], "kind": kind}
        body = {
            **head,
            **THEIRS.get(kind, {}),
            "metadata": {**MARKS["metadata"], "name": name, "namespace": rig.namespace},
        }
        await rig.admin.apply(BY_KIND[kind], body, manager="theirs", force=False)
        theirs[kind, name] = body
    await rig.admin.patch(
        DEPLOYMENT, rig.namespace, "hpa", {"spec": {"replicas": 4}}, manager="hpa", subresource="scale"
    )
    for (kind, name), child in (await rig.children()).items():
        await rig.heard(kind, name, int(child["metadata"]["resourceVersion"]))
    await rest(rig)
    await still(rig, theirs)
    for name in MODELS:
        await rig.change({"runtime": {"threads": 7}}, name)
        await rig.reconcile(name)
    await rest(rig)
    await still(rig, theirs)
    assert (await rig.get("Deployment", "hpa"))["spec"]["replicas"] == 4


async def still(rig: Rig, theirs: dict[tuple[str, str], Json]) -> None:
    """See that everything of theirs is there; ours is as planned, since nothing was left to write."""
    for (kind, name), body in theirs.items():
        live = await rig.get(kind, name)
        again = await rig.admin.apply(BY_KIND[kind], body, manager="theirs", force=False)
        assert again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"], (kind, name)
