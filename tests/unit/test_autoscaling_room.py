"""What is proposed: by the manifest, by the load, by nobody that is heard."""

from dataclasses import replace

import pytest

from modelward_operator.api.scaling import Autoscaler
from modelward_operator.facts import Demand, Given, Json
from modelward_operator.plan import names
from modelward_operator.policies.autoscaling.rule import asked, proposed
from tests.makers import NOW, drawn, live_deployment, make_given, parsed

LOADED: Json = {"scaling": {"minReplicas": 2, "maxReplicas": 6}}
CRON: Json = {"triggers": [{"type": "cron", "metadata": {"start": "0 8 * * *"}}]}
ROOM: Json = {"resources": {"requests": {"cpu": "1"}}}
TO_ZERO: Json = {"scaling": {"minReplicas": 0, "maxReplicas": 6}}


def demanding(given: Given, wanted: int) -> Given:
    return replace(given, demand=Demand(wanted, "because", NOW))


def asks(given: Given) -> int | None:
    return proposed(given, parsed(given))


@pytest.mark.parametrize(
    ("reason", "scaling", "chosen"),
    [
        ("nothing said", {}, "None"),
        ("bounds that differ", {"minReplicas": 0, "maxReplicas": 1}, "Concurrency"),
        ("what is written holds", {"autoscaler": "KEDA", "maxReplicas": 2, "keda": CRON}, "KEDA"),
        ("External", {"autoscaler": "External"}, "External"),
    ],
)
def test_who_decides_follows_from_the_bounds_where_it_is_not_written(reason: str, scaling: Json, chosen: str) -> None:
    assert parsed(make_given({"scaling": scaling, **ROOM})).scaling.chosen is Autoscaler(chosen), reason


@pytest.mark.parametrize(("spec", "number"), [(LOADED, 2), (TO_ZERO, 1)])
def test_a_new_model_starts_with_its_fewest_but_with_one(spec: Json, number: int) -> None:
    assert asks(make_given(spec)) == number


@pytest.mark.parametrize(("live", "number"), [(0, 2), (1, 2), (4, 4), (9, 6)])
def test_while_nobody_knows_the_load_the_number_that_stands_holds_within_the_bounds(live: int, number: int) -> None:
    given = make_given(LOADED, children=(live_deployment(make_given(LOADED), replicas=live),))
    assert asks(given) == number


def test_at_zero_missing_data_wakes_nobody() -> None:
    assert asks(make_given(TO_ZERO, children=(live_deployment(make_given(TO_ZERO), replicas=0),))) == 0


@pytest.mark.parametrize(("wanted", "number"), [(0, 2), (3, 3), (50, 6)])
def test_what_the_load_wants_is_kept_within_the_bounds(wanted: int, number: int) -> None:
    assert asks(demanding(make_given(LOADED), wanted)) == number


def test_a_denial_remembers_the_measured_number_and_gives_it_back() -> None:
    suspended = {**LOADED, "suspend": True}
    workload = drawn(demanding(make_given(suspended), 5)).find("Deployment")
    assert workload["spec"]["replicas"] == 0
    assert workload["metadata"]["annotations"][names.HELD_REPLICAS] == "5"
    held = live_deployment(make_given(suspended), replicas=0, annotations={names.HELD_REPLICAS: "5"})
    resumed = drawn(make_given(LOADED, children=(held,))).find("Deployment")
    assert resumed["spec"]["replicas"] == 5
    assert names.HELD_REPLICAS not in resumed["metadata"]["annotations"]


def test_a_denial_of_what_is_at_zero_for_want_of_calls_brings_nothing_up_when_it_ends() -> None:
    suspended = {**TO_ZERO, "suspend": True}
    idle = live_deployment(make_given(TO_ZERO), replicas=0)
    assert (
        names.HELD_REPLICAS
        not in drawn(make_given(suspended, children=(idle,))).find("Deployment")["metadata"]["annotations"]
    )


@pytest.mark.parametrize(
    ("reason", "limited", "target", "number"),
    [
        ("it is held at its maximum, and wants more", "True TooManyReplicas", "fraud", 3),
        ("it is held at its minimum", "True TooFewReplicas", "fraud", None),
        ("it has what it wants", "False DesiredWithinRange", "fraud", None),
        ("it has not looked yet", "", "fraud", None),
        ("it is another model's", "True TooManyReplicas", "churn", None),
    ],
)
@pytest.mark.parametrize("name", ["fraud", "keda-hpa-fraud"])
def test_an_hpa_that_is_held_asks_for_one_more_than_it_has(
    reason: str, limited: str, target: str, number: int | None, name: str
) -> None:
    status, _, why = limited.partition(" ")
    conditions = [{"type": "ScalingLimited", "status": status, "reason": why}] if limited else []
    hpa: Json = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": target}},
        "status": {"conditions": conditions},
    }
    scaling: Json = {"autoscaler": "KEDA", "maxReplicas": 9, "keda": CRON}
    if name == "fraud":
        scaling = {"autoscaler": "HPA", "maxReplicas": 9, "hpa": {"cpuUtilizationPercent": 80}}
    given = replace(make_given({"scaling": scaling, **ROOM}), children=(hpa,))
    assert number == asked(given, parsed(given)), reason
    most = replace(make_given({"scaling": {**scaling, "maxReplicas": 2}, **ROOM}), children=(hpa,))
    assert asked(most, parsed(most)) in {2, None}, "never more than the spec itself allows"
    suspended = replace(make_given({"scaling": scaling, "suspend": True, **ROOM}), children=(hpa,))
    assert asked(suspended, parsed(suspended)) == 0
