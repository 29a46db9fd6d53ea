"""The autoscaler of all models: what a pass shows it, what it asks for, when it rings."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from modelward_operator.autoscaler.autoscaler import Autoscaler
from modelward_operator.autoscaler.explain import STANDING
from modelward_operator.autoscaler.load import Load
from modelward_operator.autoscaler.pods import startup_seconds
from modelward_operator.autoscaler.track import Track
from modelward_operator.facts import Demand, Given, Json, Key, Pod
from modelward_operator.metrics import Metrics
from tests.makers import NOW, READY_REPORT, live_deployment, make_given, make_pod, parsed

SPEC: Json = {"scaling": {"minReplicas": 0, "maxReplicas": 6, "idleSeconds": 60}}
KEY = Key("risk", "fraud")


class House:
    """An autoscaler whose time and pods are the test's."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.rung: list[Key] = []
        self.asked: dict[Key, Mapping[str, str]] = {}
        self.tracks: dict[Key, Track] = {}
        self.metrics = Metrics()
        self.autoscaler = Autoscaler(
            self._follow, self.rung.append, self.metrics, clock=lambda: self.seconds, now=self.now
        )
        self.metrics.watch_replicas(self.autoscaler.wanted)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000.0)

    def _follow(self, key: Key, track: Track, addresses: Mapping[str, str], _heard: Any) -> None:
        self.asked[key], self.tracks[key] = addresses, track

    def meet(self, given: Given) -> Demand | None:
        return self.autoscaler.meet(given, parsed(given))

    def demand(self, given: Given) -> Demand:
        demand = self.meet(given)
        assert demand is not None
        return demand

    def say(self, level: float, *, seconds: float = 0.0) -> None:
        """Every pod has had so many requests in flight for so long."""
        for step in range(int(seconds) + 1):
            self.seconds += 1.0 if step else 0.0
            for pod in self.asked[KEY]:
                load = Load(self.seconds, level, self.seconds * level, self.seconds * level, 0.0)
                self.tracks[KEY].hear(pod, load, self.seconds)
        self.autoscaler.heard(KEY)

    async def turn(self) -> None:
        """Let the loop decide once."""
        running = asyncio.create_task(self.autoscaler.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def house() -> House:
    return House()


def serving(name: str = "fraud-a", **status: Any) -> Pod:
    return make_pod(name, is_ready=True, podIP="10.0.0.1", **status)


def test_a_model_of_another_autoscaler_has_no_demand_and_nobody_is_asked(house: House) -> None:
    assert house.meet(make_given({"scaling": {"autoscaler": "External"}}, pods=(serving(),))) is None
    assert not house.asked


def test_a_new_model_wants_one_and_an_old_one_what_stood(house: House) -> None:
    assert house.demand(make_given(SPEC)) == Demand(1, STANDING, NOW)
    other = House()
    live = live_deployment(make_given(SPEC), replicas=4)
    assert other.demand(make_given(SPEC, children=(live,))) == Demand(4, STANDING, NOW)


def test_after_a_restart_the_status_says_what_was_wanted_and_since_when(house: House) -> None:
    told = {"scaling": {"wanted": 5, "why": "so it was", "since": "2026-11-20T08:00:00Z"}}
    live = live_deployment(make_given(SPEC), replicas=2)  # a budget held it lower
    demand = house.demand(make_given(SPEC, children=(live,), status=told))
    assert demand == Demand(5, "so it was", datetime(2026, 11, 20, 8, tzinfo=UTC))
    assert house.rung == []


async def test_after_a_restart_zero_that_was_only_decided_is_decided_anew_by_what_the_pods_say(house: House) -> None:
    told = {"scaling": {"wanted": 0, "why": "idle", "since": "2026-11-20T08:00:00Z"}}
    live = live_deployment(make_given(SPEC), replicas=1)  # it was to go, or a call has just brought it
    given = make_given(SPEC, children=(live,), status=told, pods=(serving(),))
    assert house.demand(given) == Demand(1, STANDING, NOW), "nobody has asked the pod yet"
    house.say(3.0, seconds=3)
    await house.turn()
    assert house.demand(given).wanted == 1
    gone = live_deployment(make_given(SPEC), replicas=0)
    assert House().demand(make_given(SPEC, children=(gone,), status=told)).wanted == 0


def test_ready_pods_with_an_address_are_asked_and_those_that_end_are_not(house: House) -> None:
    ending = make_pod("fraud-b", is_ready=True, is_ending=True, podIP="10.0.0.2")
    house.meet(make_given(SPEC, pods=(serving(), ending, make_pod("fraud-c", podIP="10.0.0.3"))))
    assert house.asked[KEY] == {"uid-fraud-a@10.0.0.1": "10.0.0.1"}


async def test_a_burst_rings_once_and_the_next_pass_reads_the_number(house: House) -> None:
    given = make_given(SPEC, pods=(serving(),))
    house.meet(given)
    house.say(20.0, seconds=7)
    await house.turn()
    assert house.rung == [KEY]
    demand = house.demand(given)
    assert (4, NOW + timedelta(seconds=7)) == (demand.wanted, demand.since)
    assert demand.why == "20.0 requests at a time over 6 s, 5.6 aimed at for each replica"
    house.say(20.0, seconds=1)
    await house.turn()
    assert house.rung == [KEY], "nothing new, nobody is told"
    text = house.metrics.text().decode()
    assert 'modelward_replicas_wanted{model="fraud",namespace="risk"} 4.0' in text
    causes = [line for line in text.splitlines() if line.startswith("modelward_replicas_wanted_cause{")]
    assert causes == ['modelward_replicas_wanted_cause{cause="Panic",model="fraud",namespace="risk"} 1.0'], "and why"
    assert 'modelward_scaling_decisions_total{direction="up",model="fraud",namespace="risk"} 1.0' in text


async def test_time_alone_takes_the_last_replica_when_the_pods_have_said_so(house: House) -> None:
    given = make_given(SPEC, pods=(serving(),))
    house.meet(given)
    for second in range(70):
        load = Load(float(second), 0.0, 0.0, 0.0, float(second))
        house.tracks[KEY].hear("uid-fraud-a@10.0.0.1", load, 1000.0 + second)
    house.seconds = 1069.0
    house.autoscaler.heard(KEY)
    await house.turn()
    assert house.demand(given).wanted == 0


async def test_a_request_that_waits_at_zero_wakes_at_once_and_the_cold_start_is_measured(house: House) -> None:
    given = make_given(SPEC, status={"scaling": {"wanted": 0, "why": "idle", "since": "2026-11-20T08:00:00Z"}})
    assert house.demand(given).wanted == 0
    house.autoscaler.note_activator(KEY, 2, 0)
    await house.turn()
    assert house.rung == [KEY]
    demand = house.demand(given)
    assert (1, "2 requests wait for a first replica") == (demand.wanted, demand.why)
    house.seconds += 4.0
    house.meet(replace(given, pods=(serving(),)))
    assert "modelward_cold_start_seconds_sum 4.0" in house.metrics.text().decode()


async def test_a_request_that_waited_before_the_model_was_known_is_not_lost(house: House) -> None:
    house.autoscaler.note_activator(KEY, 1, 0)
    await house.turn()
    given = make_given(SPEC, status={"scaling": {"wanted": 0, "why": "idle", "since": "2026-11-20T08:00:00Z"}})
    assert house.demand(given).wanted == 1
    assert house.rung == [], "the pass that is under way applies it"


async def test_pods_that_fall_silent_are_told_of_once_and_nothing_goes(house: House) -> None:
    given = make_given(SPEC, pods=(serving(),))
    house.meet(given)
    house.say(5.0, seconds=3)
    house.seconds += 300
    house.autoscaler.heard(KEY)
    await house.turn()
    demand = house.demand(given)
    assert (1, 1) == (demand.wanted, demand.lost)
    assert house.rung == [KEY]
    house.autoscaler.heard(KEY)
    await house.turn()
    assert house.rung == [KEY]


async def test_a_model_that_cannot_be_decided_about_keeps_no_other_from_it(house: House) -> None:
    house.meet(make_given(SPEC, pods=(serving(),)))
    house.say(20.0, seconds=7)
    broken = Key("risk", "broken")
    house.autoscaler._models[broken] = cast("Any", object())
    house.autoscaler.heard(broken)
    await house.turn()
    assert house.rung == [KEY]
    del house.autoscaler._models[broken]
    assert 'modelward_errors_total{where="autoscaler"} 1.0' in house.metrics.text().decode()


def test_new_bounds_hold_in_the_same_pass(house: House) -> None:
    live = live_deployment(make_given(SPEC), replicas=5)
    assert house.demand(make_given(SPEC, children=(live,))).wanted == 5
    assert house.demand(make_given({"scaling": {"minReplicas": 1, "maxReplicas": 3}})).wanted == 3
    assert house.rung == []


def test_a_model_that_is_gone_is_forgotten_with_its_series(house: House) -> None:
    house.meet(make_given(SPEC, pods=(serving(),)))
    house.autoscaler.note_activator(KEY, 1, 0)
    house.autoscaler.forget(KEY)
    house.autoscaler.forget(KEY)
    assert house.asked[KEY] == {}
    assert 'model="fraud"' not in house.metrics.text().decode()


CREATED = {"metadata": {"creationTimestamp": "2026-11-23T11:59:00Z"}}
STARTED: Json = {**READY_REPORT, "startedAt": "2026-11-23T11:59:05.500Z", "stageSeconds": {"fetch": 10.0, "load": 2.5}}


@pytest.mark.parametrize(
    ("reason", "pod", "report", "seconds"),
    [
        ("from the creation to a warm model", CREATED, STARTED, 18.0),
        ("not loaded yet", CREATED, {**STARTED, "state": "Loading"}, 0.0),
        ("nothing said", CREATED, {}, 0.0),
        ("said otherwise", CREATED, {**STARTED, "stageSeconds": {"fetch": "long"}}, 0.0),
        ("no time", CREATED, {**STARTED, "startedAt": "yesterday"}, 0.0),
        ("a zone left out", CREATED, {**STARTED, "startedAt": "2026-11-23T11:59:05"}, 0.0),
        ("no number at all", CREATED, {**STARTED, "stageSeconds": {"fetch": "nan"}}, 0.0),
        ("longer than is believed", CREATED, {**STARTED, "stageSeconds": {"fetch": 1e9}}, 3600.0),
        (
            "a container's second life",
            {**CREATED, "status": {"containerStatuses": [{"restartCount": 1}]}},
            STARTED,
            0.0,
        ),
    ],
)
def test_how_long_a_pod_took_to_start(reason: str, pod: Json, report: Json, seconds: float) -> None:
    assert startup_seconds(pod, report) == pytest.approx(seconds), reason


def test_the_slowest_start_makes_the_window_of_going_down(house: House) -> None:
    report = {**STARTED, "startedAt": "2026-11-23T11:59:45Z"}  # five seconds after the pod was made
    quick, slow = (replace(serving(name), report=report) for name in ("fraud-a", "fraud-b"))
    house.meet(make_given(SPEC, pods=(quick, replace(slow, report={}))))
    assert house.tracks[KEY].startup == pytest.approx(17.5)
    slow = replace(slow, report={**report, "stageSeconds": {"fetch": 300.0}})
    house.meet(make_given(SPEC, pods=(quick, slow)))
    assert house.tracks[KEY].startup == pytest.approx(305.0), "what a report did not say at first is asked again"
