"""Every hand-over of the number of replicas on a real API server: every state that it ever held is looked at.

Whatever order the operator, KEDA and the garbage collector take turns in: two are never in charge, and the number never falls in between.
"""

import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.cluster.kinds import HPA, SCALED_OBJECT
from modelward_operator.errors import OperatorError
from modelward_operator.facts import Activator, Json
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule
from tests.integration.others import Others
from tests.integration.rig import Rig
from tests.integration.timeline import Moment, Timeline, record

STANDING = 3
BOUNDS = {"minReplicas": 1, "maxReplicas": 5}
NOTHING: Json = dict.fromkeys(("autoscaler", "replicas", "minReplicas", "maxReplicas", "hpa", "keda"))
CRON = {
    "type": "cron",
    "metadata": {"timezone": "UTC", "start": "0 7 * * *", "end": "0 8 * * *", "desiredReplicas": "3"},
}
SCALINGS: dict[str, Json] = {
    "None": {"autoscaler": "None", "replicas": STANDING},
    "External": {"autoscaler": "External"},
    "Concurrency": {"autoscaler": "Concurrency", **BOUNDS},
    "HPA": {"autoscaler": "HPA", **BOUNDS, "hpa": {"cpuUtilizationPercent": 80}},
    "KEDA": {"autoscaler": "KEDA", **BOUNDS, "keda": {"triggers": [CRON]}},
}
IN_CHARGE = {"None": "operator", "External": "", "Concurrency": "operator", "HPA": "HPA", "KEDA": "KEDA"}
PAIRS = list(itertools.permutations(SCALINGS, 2))
RESOURCES: Json = {"requests": {"cpu": "1"}}


async def begin(rig: Rig, others: Others, name: str) -> None:
    """Serve three replicas under this autoscaler."""
    await rig.create({"scaling": SCALINGS[name], "resources": RESOURCES})
    await settle(rig, others)
    await others.scale(STANDING)
    await settle(rig, others)
    assert (await rig.get("Deployment"))["spec"]["replicas"] == STANDING


async def change(rig: Rig, name: str, **spec: Any) -> None:
    await rig.change({"scaling": {**NOTHING, **SCALINGS[name]}, **spec})


async def take_turns(rig: Rig, others: Others, turns: int, chance: random.Random) -> None:
    """Let everybody act, in an order that chance chooses and on what the operator happens to have heard."""
    for _ in range(turns):
        acts: list[Callable[[], Awaitable[object]]] = [others.keda, others.collect, rig.heard_all]
        act = chance.choice([*acts, rig.reconcile, rig.reconcile])
        try:
            await act()
        except OperatorError:
            assert act == rig.reconcile, "the queue tries again"


async def settle(rig: Rig, others: Others) -> None:
    """Let everybody act until nothing changes any more."""
    before: dict[tuple[str, str], str] = {}
    for _ in range(20):
        await rig.heard_all()
        await rig.reconcile()
        await others.keda()
        await others.collect()
        if before == (before := await rig.versions()):
            return
    pytest.fail("it never settles")


def check(timeline: Timeline, *allowed: int) -> Moment:
    """Look at every state; return the last."""
    moments = timeline.moments()
    assert [moment for moment in moments if len(moment.in_charge) > 1] == [], "two were in charge"
    assert {moment.replicas for moment in moments} <= set(allowed)
    return moments[-1]


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=lambda name: name)
async def test_the_number_stands_while_it_changes_hands(rig: Rig, old: str, new: str) -> None:
    others, chance = Others(rig.admin, rig.namespace), random.Random(f"{old} {new}")
    await begin(rig, others, old)
    async with record(rig.admin, rig.namespace) as timeline:
        await change(rig, new)
        await take_turns(rig, others, 12, chance)
        await settle(rig, others)
    assert check(timeline, STANDING) == Moment(STANDING, frozenset({IN_CHARGE[new]} - {""}))
    left = {kind for kind, _ in await rig.children() if kind in {HPA.kind, SCALED_OBJECT.kind}}
    assert left == {"HPA": {HPA.kind}, "KEDA": {HPA.kind, SCALED_OBJECT.kind}}.get(new, set())


@pytest.mark.parametrize("seed", range(12))
async def test_a_change_of_mind_in_the_middle_is_no_different(rig: Rig, seed: int) -> None:
    others, chance = Others(rig.admin, rig.namespace), random.Random(seed)
    path = [chance.choice(list(SCALINGS)) for _ in range(5)]
    await begin(rig, others, path[0])
    async with record(rig.admin, rig.namespace) as timeline:
        for name in path[1:]:
            await change(rig, name)
            await take_turns(rig, others, chance.randint(0, 6), chance)
        await settle(rig, others)
    assert check(timeline, STANDING) == Moment(STANDING, frozenset({IN_CHARGE[path[-1]]} - {""})), path


@pytest.mark.parametrize("old", list(SCALINGS))
@pytest.mark.parametrize("new", list(SCALINGS))
async def test_a_denied_model_is_at_zero_and_has_its_number_back_whoever_counts_then(
    rig: Rig, old: str, new: str
) -> None:
    others, chance = Others(rig.admin, rig.namespace), random.Random(f"{old} {new}")
    await begin(rig, others, old)
    async with record(rig.admin, rig.namespace) as timeline:
        await rig.change({"suspend": True})
        await rig.reconcile()
        assert (await rig.get("Deployment"))["spec"]["replicas"] == 0, "at once, whoever is in charge"
        await take_turns(rig, others, 6, chance)
        await change(rig, new)
        await take_turns(rig, others, 8, chance)
        await settle(rig, others)
        assert (await rig.get("Deployment"))["spec"]["replicas"] == 0
        await rig.change({"suspend": None})
        await take_turns(rig, others, 8, chance)
        await settle(rig, others)
    assert check(timeline, 0, STANDING) == Moment(STANDING, frozenset({IN_CHARGE[new]} - {""}))


async def test_a_held_request_wakes_what_keda_took_to_zero_once_and_leaves_the_number_to_keda(rig: Rig) -> None:
    others = Others(rig.admin, rig.namespace)
    to_zero = {**SCALINGS["KEDA"], "minReplicas": 0}
    await rig.create({"scaling": to_zero})
    await settle(rig, others)
    await others.scale(0)
    await settle(rig, others)
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 0, "a second pass leaves it there"

    async def apply_with(calls: int) -> int:
        given = await rig.cluster.gather(rig.key())
        assert given is not None
        given = replace(given, activator=Activator(calls=calls))
        spec = parse(given.raw)
        assert not isinstance(spec, Invalid)
        writes = (await rig.cluster.apply(draw(given, spec, rule(given, spec)), given)).writes
        await rig.heard_all()
        return writes

    assert await apply_with(calls=1) == 2, "the ScaledObject and the number"
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 1
    assert await apply_with(calls=1) == 0
    await others.scale(2)
    await rig.heard_all()
    assert await apply_with(calls=1) == 1, "a PodDisruptionBudget for two"
    assert await apply_with(calls=0) == 1, "the annotation goes"
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 2
