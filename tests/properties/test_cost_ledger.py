"""The ledger is what the pods' lives say, however its writer is stopped, repeated, doubled or sent back, between any two writes.

    world of pods ──look──▶ Account ──write──▶ ledger objects (versioned, as the API server keeps them) ──read──▶ Account of the next leader

The account that it is compared with is made apart: each pod's seconds in each quarter hour, times its price.
"""

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.ledger.account import Account
from modelward_operator.ledger.cells import DAY, QUARTER
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.pricing.facts import Rate
from modelward_operator.pricing.money import charge

MIDNIGHT = 20_418 * DAY  # 2025-11-26: neither the first nor the last of a month
HOUR = 3600
Cells = Counter[tuple[str, int]]
"""Nano units by model and quarter hour since the epoch."""


@dataclass(frozen=True)
class Pod:
    uid: str
    model: str
    start: int
    end: int
    per_second: int
    lies_there: bool
    """True for one that stays as Failed and says when it ended; else it vanishes."""

    def sighting(self, now: int) -> Sighting | None:
        over = now >= self.end
        if now < self.start or (over and not self.lies_there):
            return None
        rate = Rate(self.per_second * HOUR, "USD")
        return Sighting(self.uid, self.model, "n", self.start, self.end if over else None, rate, over)


class Conflict(Exception):
    pass


@dataclass
class Api:
    """Keeps objects as the API server does: by name, each write against the version that it replaces."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: itertools.count = field(default_factory=lambda: itertools.count(1))  # type: ignore[type-arg]  # of integers

    def put(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        name = obj["metadata"]["name"]
        if obj["metadata"].get("resourceVersion", "") != self.objects.get(name, {"metadata": {}})["metadata"].get(
            "resourceVersion", ""
        ):
            raise Conflict
        stored = json.loads(json.dumps(obj))
        stored["metadata"]["resourceVersion"] = str(next(self.versions))
        self.objects[name] = stored
        return {**stored}

    def cells(self) -> Cells:
        found: Cells = Counter()
        for obj in self.objects.values():
            day = Account("ns", [{**obj}], MIDNIGHT).book
            for model, rows in day.rows.items():
                for number in day.days():
                    for quarter, amount in rows["USD"].day(number).items():
                        found[model, number * 96 + quarter] += amount
        return found

    def estimated(self) -> int:
        return sum(int(row.get("estimated", 0)) for obj in self.objects.values() for row in obj["spec"].get("rows", ()))


def lives(pods: list[Pod], now: int) -> Cells:
    """Return what each pod cost until `now`, by arithmetic on its interval alone."""
    cells: Cells = Counter()
    for pod in pods:
        for quarter in range(pod.start // QUARTER, min(pod.end, now) // QUARTER + 1):
            seconds = min(pod.end, now, (quarter + 1) * QUARTER) - max(pod.start, quarter * QUARTER)
            if seconds > 0:
                cells[pod.model, quarter] += seconds * pod.per_second
    return cells


class Leader:
    """A process that looks and writes, as cluster/accountant.py does."""

    def __init__(self, api: Api, pods: list[Pod], now: int) -> None:
        self.api, self.pods = api, pods
        self.account = Account("ns", api.objects.values(), now)

    def look(self, now: int) -> None:
        sightings = [seen for pod in self.pods if (seen := pod.sighting(now))]
        for model in {*self.account.book.models(), *(seen.model for seen in sightings)}:
            self.account.book.observe(model, (seen for seen in sightings if seen.model == model), now)

    def write(self, now: int, stop_after: int = 1000) -> bool:
        """Write what is due, or die after some objects; a conflict is answered by reading again."""
        self.look(now)
        try:
            for obj in self.account.due(now):
                if body := self.account.versioned(obj):
                    if stop_after == 0:
                        return False
                    self.account.stored(self.api.put(body))
                    stop_after -= 1
            self.account.settle(now)
        except Conflict:
            self.account = self.account.again(self.api.objects.values(), now)
            return self.write(now, stop_after)
        self.account.tidy(now, [pod.uid for pod in self.pods if pod.sighting(now)])
        return True


@st.composite
def worlds(draw: st.DrawFn, *, one_pod_a_model: bool = False, lies_there: bool | None = None) -> list[Pod]:
    pods = []
    for number in range(draw(st.integers(1, 6))):
        start = MIDNIGHT + draw(st.integers(-3 * HOUR, 26 * HOUR))
        life = draw(st.one_of(st.integers(1, 3 * HOUR), st.integers(1, 60 * HOUR)))
        model = f"m{number}" if one_pod_a_model else draw(st.sampled_from("ab"))
        lies = draw(st.booleans()) if lies_there is None else lies_there
        pods.append(Pod(f"uid-{number}", model, start, start + life, draw(st.integers(0, 10**9)), lies))
    return pods


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look", "write", "die in a write", "restart", "double", "back in time"]),
        st.one_of(st.integers(0, 300), st.integers(0, 8 * HOUR)),
        st.integers(0, 4),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(pods=worlds(lies_there=True), steps=STEPS)
def test_any_looks_restarts_and_second_leaders_give_the_pods_lives_to_the_nano_unit(
    pods: list[Pod], steps: list[tuple[str, int, int]]
) -> None:
    api, now = Api(), MIDNIGHT - 2 * HOUR
    leader, other, before = Leader(api, pods, now), Leader(api, pods, now), Cells()
    for step, passes, objects in steps:
        now += passes
        match step:
            case "look":
                leader.look(now)
            case "write":
                leader.write(now)
            case "die in a write":
                leader.write(now, stop_after=objects)
                leader = Leader(api, pods, now)
            case "restart":
                leader = Leader(api, pods, now)
            case "double":  # a second leader, who read the ledger long ago
                other.write(now)
                leader, other = other, leader
            case "back in time":
                leader.write(now - passes)
        after = api.cells()
        assert all(after[cell] >= amount for cell, amount in before.items()), "spend never decreases"
        assert after <= lives(pods, now), "nothing is charged before it was used, or twice"
        before = after
    leader.write(now)
    assert lives(pods, now) == api.cells()
    assert 0 == api.estimated()


@settings(max_examples=200, deadline=None)
@given(pods=worlds(lies_there=False), looks=st.lists(st.integers(1, 4 * HOUR), max_size=20))
def test_who_watches_without_a_gap_charges_pods_that_vanish_to_their_end(pods: list[Pod], looks: list[int]) -> None:
    api, now = Api(), MIDNIGHT - 4 * HOUR
    leader = Leader(api, pods, now)
    for passes in looks:
        moments = {moment for pod in pods for moment in (pod.start, pod.end) if now < moment <= now + passes}
        moments |= set(range(now, now + passes, 60))  # it looks every minute, and when a pod comes or goes
        for moment in sorted(moments):
            leader.look(moment)
        now += passes
        leader.write(now)
    assert lives(pods, now) == api.cells()
    assert 0 == api.estimated()


@settings(max_examples=300, deadline=None)
@given(pods=worlds(one_pod_a_model=True), steps=STEPS)
def test_what_nobody_saw_is_charged_and_marked(pods: list[Pod], steps: list[tuple[str, int, int]]) -> None:
    api, now = Api(), MIDNIGHT - 2 * HOUR
    leader = Leader(api, pods, now)
    for step, passes, objects in steps:
        now += passes
        if step in {"die in a write", "restart"}:
            leader.write(now, stop_after=objects)
            leader = Leader(api, pods, now)
        else:
            leader.write(now)
    leader.write(now)
    seen = {model for model, _ in api.cells()}
    truth = sum((lives([pod], now) for pod in pods if pod.model in seen), Cells())
    booked = api.cells()
    assert all(booked[cell] >= amount for cell, amount in truth.items()), "never less than was used"
    assert booked.total() - truth.total() <= api.estimated() + unwatched(pods, now)


def unwatched(pods: list[Pod], now: int) -> int:
    """Return what pods that vanished within the minutes between two looks may have been charged too much."""
    return sum(150 * pod.per_second for pod in pods if pod.end <= now and not pod.lies_there)


@settings(max_examples=200, deadline=None)
@given(
    begin=st.integers(0, 10**10),
    cuts=st.lists(st.integers(0, 10**6), max_size=20),
    rate=st.integers(0, 10**18),
)
def test_parts_of_a_time_cost_what_the_whole_costs(begin: int, cuts: list[int], rate: int) -> None:
    moments = sorted({begin, *(begin + cut for cut in cuts)})
    parts = sum(charge(rate, low, high) for low, high in itertools.pairwise(moments))
    assert charge(rate, moments[0], moments[-1]) == parts
    assert abs(parts * HOUR - rate * (moments[-1] - moments[0])) < HOUR, "less than one nano unit off"


def test_a_part_takes_no_more_models_when_its_pods_are_many() -> None:
    pods = [Pod(f"uid-{n}", f"m{n % 6}", MIDNIGHT, MIDNIGHT + 2 * HOUR, n + 1, lies_there=True) for n in range(2400)]
    api = Api()
    Leader(api, pods, MIDNIGHT).write(MIDNIGHT + HOUR)
    assert [1200, 1200] == [len(obj["spec"]["open"]) for obj in api.objects.values()]
    assert lives(pods, MIDNIGHT + HOUR) == api.cells()


@pytest.mark.parametrize("rows", [1, 249, 250, 251, 1100])
def test_many_models_go_into_parts_and_come_back(rows: int) -> None:
    pods = [Pod(f"uid-{n}", f"m{n:05}", MIDNIGHT, MIDNIGHT + HOUR, n + 1, lies_there=True) for n in range(rows)]
    api = Api()
    Leader(api, pods, MIDNIGHT).write(MIDNIGHT + HOUR)
    assert -(-rows // 250) == len(api.objects)
    assert lives(pods, MIDNIGHT + HOUR) == api.cells()
