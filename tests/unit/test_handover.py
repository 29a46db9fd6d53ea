"""Autoscalers of others in the plan: when they stand, within which bounds, paused or not; the steps are in tests/integration."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.facts import Activator, Applied, Given, Json, Plan
from modelward_operator.plan import names
from modelward_operator.plan.draw import draw
from modelward_operator.plan.handover import leaving
from modelward_operator.plan.settled import settled
from modelward_operator.plan.standdown import stand_down
from modelward_operator.rulings import Bounds, Ruling, Verdict
from modelward_operator.status.outside import look_again_after_step, outside
from tests.makers import NOW, make_given, parsed

CRON: Json = {"type": "cron", "metadata": {"start": "0 8 * * *"}}
RESOURCES: Json = {"requests": {"cpu": "1"}}
HPA: Json = {
    "resources": RESOURCES,
    "scaling": {"autoscaler": "HPA", "minReplicas": 2, "maxReplicas": 6, "hpa": {"cpuUtilizationPercent": 70}},
}
KEDA: Json = {"scaling": {"autoscaler": "KEDA", "minReplicas": 2, "maxReplicas": 6, "keda": {"triggers": [CRON]}}}
TO_ZERO: Json = {"scaling": {**KEDA["scaling"], "minReplicas": 0}}
DENIED = Ruling(verdicts=frozenset({Verdict("Ready", "Suspended", "suspended")}))


def at_most(number: int) -> Ruling:
    return Ruling(replicas=Bounds(0, number))


def live(spec: Json, replicas: int = 3, **scaler: Any) -> Given:
    """Return the facts about a model that its autoscaler has long been in charge of; `scaler` is laid over the autoscaler's object."""
    given = make_given(spec)
    objects = settled(given, parsed(given), Ruling()).objects
    children = []
    for planned in objects:
        if planned["kind"] == "Deployment":
            children.append({**planned, "spec": {**planned["spec"], "replicas": replicas}})
        elif planned["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            children.append({**planned, **scaler})
    return replace(given, children=tuple(children))


def planned(given: Given, ruling: Ruling = Ruling()) -> Plan:  # noqa: B008  frozen
    return draw(given, parsed(given), ruling)


def number(plan: Plan) -> tuple[object, int | None]:
    return plan.find("Deployment")["spec"].get("replicas", "left out"), plan.handover_replicas


def pause(plan: Plan) -> str | None:
    metadata = plan.find("ScaledObject")["metadata"]
    said: str | None = metadata["annotations"].get(names.PAUSED_REPLICAS)
    return said


@pytest.mark.parametrize("spec", [HPA, KEDA])
def test_a_new_model_starts_with_its_fewest_under_its_autoscaler_in_one_pass(spec: Json) -> None:
    given = make_given(spec)
    first = planned(given)
    assert number(first) == ("left out", 2)
    assert bool(first.find("HorizontalPodAutoscaler")) != bool(first.find("ScaledObject"))
    assert first.objects == settled(given, parsed(given), Ruling()).objects, "and a second one has nothing to do"
    (finding,) = outside(given, parsed(given), first, Applied(5))
    assert finding == outside(live(spec), parsed(given), planned(live(spec)), Applied())[0], "nor another thing to say"


@pytest.mark.parametrize("spec", [HPA, KEDA])
def test_a_new_model_that_may_not_run_has_no_autoscaler_until_it_may(spec: Json) -> None:
    first = planned(make_given(spec), DENIED)
    assert number(first) == (0, None)
    assert not first.find("HorizontalPodAutoscaler")
    assert not first.find("ScaledObject")
    assert number(planned(make_given(spec), at_most(1))) == ("left out", 1)


def test_a_new_model_that_may_go_to_zero_starts_with_one() -> None:
    assert number(planned(make_given(TO_ZERO))) == ("left out", 1)


@pytest.mark.parametrize(
    ("reason", "ruling", "bounds"),
    [
        ("the spec's own", Ruling(), (2, 6)),
        ("a room allows less", at_most(4), (2, 4)),
        ("less than the fewest", at_most(1), (1, 1)),
        ("nothing: neither takes a maximum of zero, and both are stopped", at_most(0), (1, 1)),
        ("more than the spec", at_most(9), (2, 6)),
    ],
)
def test_an_autoscaler_is_told_what_the_rooms_allow(reason: str, ruling: Ruling, bounds: tuple[int, int]) -> None:
    hpa = planned(live(HPA), ruling).find("HorizontalPodAutoscaler")["spec"]
    keda = planned(live(KEDA), ruling).find("ScaledObject")["spec"]
    assert bounds == (hpa["minReplicas"], hpa["maxReplicas"]), reason
    assert bounds == (keda["minReplicaCount"], keda["maxReplicaCount"]), reason


@pytest.mark.parametrize("ruling", [DENIED, at_most(0)])
@pytest.mark.parametrize("spec", [HPA, KEDA])
def test_while_nothing_may_run_the_number_is_zero_and_remembered(spec: Json, ruling: Ruling) -> None:
    plan = planned(live(spec, replicas=5), ruling)
    assert number(plan) == (0, None)
    assert plan.find("Deployment")["metadata"]["annotations"][names.HELD_REPLICAS] == "5"
    assert plan.find("ScaledObject") == {} or pause(plan) == "0"


def test_keda_is_paused_with_the_number_that_it_is_given_back() -> None:
    given = live(KEDA, replicas=5)
    stopped = planned(given, DENIED)
    objects = [one for one in stopped.objects if one["kind"] in {"Deployment", "ScaledObject"}]
    resumed = planned(replace(given, children=tuple(objects)))
    assert (number(resumed), pause(resumed)) == (("left out", 5), "5")
    assert pause(planned(live(KEDA))) is None


def test_an_hpa_at_zero_would_do_nothing_so_the_number_is_raised_first() -> None:
    stopped = live(HPA, replicas=0).child("Deployment", "fraud")
    assert number(planned(replace(make_given(HPA), children=(stopped,)))) == (2, None)


def test_a_budget_below_the_fewest_keeps_no_autoscaler_from_its_place() -> None:
    one = live(HPA, replicas=1).child("Deployment", "fraud")
    plan = planned(replace(make_given(HPA), children=(one,)), at_most(1))
    assert number(plan) == ("left out", 1)
    assert plan.find("HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 1


def test_what_keda_made_for_another_model_or_without_us_is_not_in_the_way() -> None:
    owner = {"kind": "ScaledObject", "name": "other", "uid": "x", "controller": True}
    foreign = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "keda-hpa-other", "ownerReferences": [owner]}}
    by_hand = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "mine"}}
    given = replace(make_given(), children=(foreign, by_hand))
    assert leaving(given, parsed(given)) == []


def test_without_keda_the_number_stands_and_nothing_is_made() -> None:
    given = replace(live(KEDA, replicas=4), unserved=frozenset({"ScaledObject"}))
    given = replace(given, children=tuple(one for one in given.children if one["kind"] == "Deployment"))
    plan = planned(given)
    assert (number(plan), plan.find("ScaledObject")) == ((4, None), {})
    (finding,) = outside(given, parsed(given), plan, Applied())
    assert (finding.status, finding.reason, finding.blocks) == ("False", "KedaNotInstalled", False)
    assert number(planned(replace(make_given(TO_ZERO), unserved=given.unserved))) == (1, None), "nobody would wake it"


def test_a_spec_that_cannot_be_read_and_a_denial_pause_keda() -> None:
    plan = stand_down(live(KEDA))
    assert (number(plan), pause(plan), plan.partial) == ((0, None), "0", True)


def conditions(*told: tuple[str, str, str]) -> Json:
    return {"status": {"conditions": [{"type": t, "status": s, "reason": r, "message": "words"} for t, s, r in told]}}


@pytest.mark.parametrize(
    ("reason", "given", "expected", "message"),
    [
        ("it has not looked", live(HPA), "Unknown", "has not looked yet"),
        (
            "it scales",
            live(HPA, status={"conditions": [{"type": "ScalingActive", "status": "True"}], "desiredReplicas": 3}),
            "True",
            "wants 3 of 2 to 6",
        ),
        (
            "no metrics-server",
            live(HPA, **conditions(("ScalingActive", "False", "FailedGetResourceMetric"))),
            "False",
            "FailedGetResourceMetric: words",
        ),
        (
            "scaled to zero by hand",
            live(HPA, replicas=0, **conditions(("ScalingActive", "False", "ScalingDisabled"))),
            "False",
            "ScalingDisabled",
        ),
        (
            "it was at zero until now",
            live(HPA, **conditions(("ScalingActive", "False", "ScalingDisabled"))),
            "Unknown",
            "has not looked yet",
        ),
        ("KEDA does not run", live(KEDA), "Unknown", "is it running?"),
        ("KEDA takes it up", live(KEDA, **conditions(("Ready", "True", "R"))), "True", "2 to 6 replicas; none of its"),
        ("its trigger is wrong", live(KEDA, **conditions(("Ready", "False", "Bad"))), "False", "Bad: words"),
    ],
)
def test_the_condition_says_what_the_autoscaler_says(reason: str, given: Given, expected: str, message: str) -> None:
    (finding,) = outside(given, parsed(given), planned(given), Applied())
    assert (finding.type, finding.status) == ("Autoscaling", expected), reason
    assert message in finding.message, reason


def test_while_an_old_one_leaves_the_condition_names_it_and_the_next_look_is_soon() -> None:
    given = live(KEDA)
    scaled = given.child("ScaledObject", "fraud")
    ending = {"deletionTimestamp": NOW.isoformat(), "finalizers": ["finalizer.keda.sh"]}
    children = (given.child("Deployment", "fraud"), {**scaled, "metadata": {**scaled["metadata"], **ending}})
    given = replace(make_given({"scaling": {"autoscaler": "None", "replicas": 3}}), children=children)
    plan = planned(given)
    assert number(plan) == ("left out", 3)
    (finding,) = outside(given, parsed(given), plan, Applied())
    assert (finding.status, finding.reason) == ("Unknown", "HandingOver")
    assert finding.message == "waits until ScaledObject fraud is gone; its deletion waits for finalizer.keda.sh"
    status = {"conditions": [{"reason": "HandingOver"}]}
    assert [look_again_after_step(given, status, Applied(writes)) for writes in (1, 0)] == [0.2, 5.0]
    assert look_again_after_step(given, {"conditions": []}, Applied(1)) is None


def test_a_held_request_wakes_what_keda_took_to_zero_and_keda_is_told() -> None:
    asleep = live(TO_ZERO, replicas=0)
    assert number(planned(asleep)) == ("left out", 0)
    called = replace(asleep, activator=Activator(calls=1))
    awake = planned(called)
    assert number(awake) == ("left out", 1)
    assert awake.find("ScaledObject")["metadata"]["annotations"][names.FORCE_ACTIVATION] == "true"
    assert number(planned(called, DENIED)) == (0, None), "never one that is denied"
    assert number(planned(replace(live(TO_ZERO, replicas=3), activator=Activator(calls=1)))) == ("left out", 3)
    assert look_again_after_step(called, {"conditions": []}, Applied()) == 5.0
