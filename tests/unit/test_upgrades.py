"""`upgradePolicy: Rolling`: which models are rolled to a new serving image, how many at once, and what a restart makes of it."""

import json
from dataclasses import replace
from typing import Any

from modelward_operator.cluster.store import Store
from modelward_operator.cluster.upgrades import Upgrades
from modelward_operator.facts import Given, Json, Key
from modelward_operator.plan import names
from modelward_operator.plan.image import image_of
from modelward_operator.plan.upgrade import Upgrade, upgrade_of
from modelward_operator.status.conditions import Type
from tests.makers import INSTALLATION, drawn, live_deployment, make_given, make_pod, parsed
from tests.unit.test_summarise import condition, status_of

ROLLING: Json = {"runtime": {"upgradePolicy": "Rolling"}}
OLD, NEW = "runtime:old", INSTALLATION.runtime_image
COMPLETE: Json = {
    "observedGeneration": 1,
    "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
}
UNDER_WAY: Json = {"observedGeneration": 1, "conditions": [{"type": "Progressing", "reason": "ReplicaSetUpdated"}]}


def serving(spec: Json = ROLLING, *, image: str = OLD, name: str = "fraud", status: Json = COMPLETE) -> Given:
    """The facts about a model that runs `image`, and has said so."""
    workload = live_deployment(make_given(spec), status=status)
    workload["spec"]["template"]["spec"]["containers"][0]["image"] = image
    given = make_given(spec, children=(renamed(workload, name),), status={"effective": {"image": image}})
    return replace(given, key=Key("risk", name))


def renamed(workload: Json, name: str) -> Json:
    metadata = {
        **workload["metadata"],
        "name": name,
        "labels": {**workload["metadata"]["labels"], names.MODEL_LABEL: name},
    }
    return {**workload, "metadata": metadata}


def upgraded(given: Given, status: Json, *, told_image: str = NEW) -> Given:
    """The facts after the upgrade was applied."""
    plan = drawn(replace(given, may_upgrade=True)).find("Deployment")
    live = {**plan, "metadata": {**plan["metadata"], "generation": 1}, "status": status}
    live["spec"] = {"replicas": 1, **plan["spec"]}
    raw = {**given.raw, "status": {"effective": {"image": told_image}}}
    return replace(given, raw=raw, children=(live,))


def planned_image(given: Given) -> str:
    return image_of(drawn(given).find("Deployment"))


def mark(given: Given) -> Any:
    return drawn(given).find("Deployment")["metadata"]["annotations"].get(names.UPGRADED_FROM)


def test_without_the_policy_nothing_is_upgraded_until_the_spec_changes() -> None:
    given = serving({})
    assert upgrade_of(given, parsed(given)) is Upgrade.SETTLED
    assert planned_image(given) == OLD
    assert mark(given) is None


def test_to_begin_to_follow_upgrades_is_to_wait_for_ones_turn_and_to_end_it_keeps_the_image() -> None:
    before = serving({})
    now = replace(before, raw={**before.raw, "spec": {**before.raw["spec"], **ROLLING}})
    assert upgrade_of(now, parsed(now)) is Upgrade.WANTED
    assert planned_image(now) == OLD
    done = upgraded(serving(), COMPLETE)
    after = replace(
        done,
        raw={**done.raw, "spec": serving({}).raw["spec"]},
        installation=replace(INSTALLATION, runtime_image="newer"),
    )
    assert planned_image(after) == NEW
    assert mark(after) is None


def test_a_model_waits_for_its_turn_and_takes_the_image_then() -> None:
    given = serving()
    assert upgrade_of(given, parsed(given)) is Upgrade.WANTED
    assert (planned_image(given), mark(given)) == (OLD, None)
    turn = replace(given, may_upgrade=True)
    assert (planned_image(turn), mark(turn)) == (NEW, OLD)


def test_an_upgrade_runs_until_the_deployment_is_complete_and_is_remembered_until_the_spec_changes() -> None:
    going = upgraded(serving(), UNDER_WAY)
    assert upgrade_of(going, parsed(going)) is Upgrade.RUNNING
    assert (planned_image(going), mark(going)) == (NEW, OLD)
    done = upgraded(serving(), COMPLETE)
    assert upgrade_of(done, parsed(done)) is Upgrade.SETTLED
    assert mark(done) == OLD
    changed = replace(
        done, raw={**done.raw, "spec": {**done.raw["spec"], "runtime": {"upgradePolicy": "Rolling", "threads": 2}}}
    )
    assert mark(changed) is None


def test_a_deployment_that_its_controller_has_not_seen_is_not_complete() -> None:
    unseen = upgraded(serving(), {**COMPLETE, "observedGeneration": 0})
    assert upgrade_of(unseen, parsed(unseen)) is Upgrade.RUNNING


def test_a_model_without_replicas_is_upgraded_at_once() -> None:
    given = upgraded(serving(), {"observedGeneration": 1})
    (live,) = given.children
    given = replace(given, children=({**live, "spec": {**live["spec"], "replicas": 0}},))
    assert upgrade_of(given, parsed(given)) is Upgrade.SETTLED


def test_a_process_that_ended_before_the_status_was_written_does_not_take_the_image_back() -> None:
    given = upgraded(serving(), UNDER_WAY, told_image=OLD)
    assert upgrade_of(given, parsed(given)) is Upgrade.RUNNING
    assert planned_image(given) == NEW


def test_the_status_says_who_waits() -> None:
    pod = make_pod(is_ready=True, revision=revision_of(serving()))
    given = replace(serving(), pods=(pod,))
    assert f"; the upgrade to {NEW} waits for its turn" in message(given)
    assert "waits for its turn" not in message(replace(serving(image=NEW), pods=(pod,)))


def revision_of(given: Given) -> str:
    return str(drawn(given).find("Deployment")["spec"]["template"]["metadata"]["annotations"][names.REVISION])


def message(given: Given) -> str:
    return str(condition(status_of(given), Type.ROLLOUT_COMPLETE)["message"])


# ── the line ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Line:
    """The places, and what they rang for."""

    def __init__(self, places: int, *live: Json) -> None:
        store = Store(keep=lambda obj: json.dumps(obj).encode())
        for version, workload in enumerate(live, 1):
            meta = {**workload["metadata"], "uid": f"u-{version}", "resourceVersion": str(version)}
            store.feed({**workload, "metadata": meta})
        self.rung: list[str] = []
        self.upgrades = Upgrades(store, places, lambda key: self.rung.append(key.name))

    def look(self, given: Given) -> bool:
        return self.upgrades.look(given, parsed(given))


def test_no_more_are_rolled_at_once_than_there_are_places_and_the_next_is_rung_for() -> None:
    line = Line(2)
    names_of = [f"m{n}" for n in range(5)]
    assert [line.look(serving(name=name)) for name in names_of] == [True, True, False, False, False]
    assert line.upgrades.counts() == {"running": 2, "waiting": 3}
    assert not line.look(upgraded(serving(name="m0"), UNDER_WAY)), "it is rolled already"
    assert line.rung == []
    line.look(upgraded(serving(name="m0"), COMPLETE))
    assert line.rung == ["m2"]
    assert line.look(serving(name="m2"))
    assert not line.look(serving(name="m4"))
    assert line.upgrades.counts() == {"running": 2, "waiting": 2}


def called(given: Given, name: str) -> Given:
    """The same facts about a model of that name."""
    return replace(given, key=Key("risk", name), children=tuple(renamed(child, name) for child in given.children))


def test_hundreds_of_models_are_never_rolled_together() -> None:
    line, most, done = Line(10), 0, 0
    wanting, settled = serving(), upgraded(serving(), COMPLETE)
    spec = parsed(wanting)
    going = [f"m{n}" for n in range(300) if line.upgrades.look(called(wanting, f"m{n}"), spec)]
    while going:
        most = max(most, len(going))
        line.upgrades.look(called(settled, going.pop(0)), spec)
        done += 1
        going += [name for name in line.rung if line.upgrades.look(called(wanting, name), spec)]
        line.rung.clear()
    assert (most, done) == (10, 300)


def test_an_image_that_does_not_start_stops_the_line() -> None:
    line = Line(1)
    assert line.look(serving(name="m0"))
    stuck = upgraded(serving(name="m0"), UNDER_WAY)
    for _ in range(3):
        line.look(stuck)
        assert not line.look(serving(name="m1"))
    assert line.rung == []
    changed = replace(stuck, raw={**stuck.raw, "spec": {**stuck.raw["spec"], "runtime": {"image": "runtime:fixed"}}})
    line.look(changed)
    assert line.rung == ["m1"]


def test_a_model_that_goes_gives_its_place_back() -> None:
    line = Line(1)
    line.look(serving(name="m0"))
    line.look(serving(name="m1"))
    line.upgrades.forget(Key("risk", "m0"))
    assert line.rung == ["m1"]
    line.upgrades.forget(Key("risk", "m1"))
    assert line.upgrades.counts() == {"running": 0, "waiting": 0}


def test_after_a_restart_those_under_way_have_their_places() -> None:
    (going,) = upgraded(serving(name="m0"), UNDER_WAY).children
    (done,) = upgraded(serving(name="m1"), COMPLETE).children
    line = Line(1, renamed(going, "m0"), renamed(done, "m1"))
    assert not line.look(serving(name="m2")), "m0 is being rolled"
    line.look(upgraded(serving(name="m0"), COMPLETE))
    assert line.rung == ["m2"]
