"""The simulator keeps every request and every second of every pod, waits as queueing theory says, and always tells the same."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.pricing.money import charge, nano
from modelward_operator.simulation import replay as replaying
from modelward_operator.simulation.purse import LOOK
from modelward_operator.simulation.replay import MONDAY, Options, replay
from modelward_operator.simulation.trace import ServiceTime, Trace, arrivals
from modelward_operator.simulation.world import Pod, Shape, World
from tests.simulations import book, budget, case, rows, steady

PARTS = st.tuples(st.floats(1.0, 900.0), st.integers(0, 60), st.sampled_from([0.05, 0.7, 4.0, 40.0]))
TRACES = st.lists(PARTS, min_size=1, max_size=12).map(lambda parts: rows(*parts))
SCALINGS = st.fixed_dictionaries(
    {
        "minReplicas": st.integers(0, 2),
        "maxReplicas": st.integers(3, 6),
        "targetConcurrency": st.sampled_from(["1", "4"]),
        "scaleDownSeconds": st.sampled_from([0, 60, 300]),
    }
)
BUDGETS = st.sampled_from(
    [
        [],
        [budget(limit="0.5", onExceeded="ClampMaxReplicas")],
        [budget(limit="1", period="Hour", onExceeded="ScaleToFloor")],
        [budget(limit="0.2", period="Hour", floor=0, burnWindowSeconds=60, onExceeded="ScaleToZero")],
        [budget(limit="0.1", floor=0, onExceeded="Suspend")],
    ]
)
CHOICES = st.builds(
    Options,
    parallel=st.integers(1, 4),
    start_seconds=st.sampled_from([1.0, 30.0, 200.0]),
    service=st.sampled_from(ServiceTime),
    seed=st.integers(0, 9),
)


@settings(max_examples=40, deadline=None)
@given(trace=TRACES, scaling=SCALINGS, budgets=BUDGETS, options=CHOICES)
def test_every_request_has_one_fate_and_every_second_of_a_pod_one_price(
    trace: Trace, scaling: dict[str, Any], budgets: list[Any], options: Options
) -> None:
    made: list[Pod] = []

    class Watched(World):
        def _make(self, ready_at: float) -> Pod:
            made.append(super()._make(ready_at))
            return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "World", Watched)
        outcome = replay(case(scaling, book("3.06"), *budgets), trace, options)
    assert trace.requests == outcome.requests == sum(outcome.fates.values())
    assert (outcome.fates["answered"] > 0) == bool(outcome.latency)
    begins, end = int(MONDAY.timestamp()), int((MONDAY + timedelta(seconds=trace.length)).timestamp())
    lives = [(begins + int(pod.born), min(begins + int(min(pod.gone_at, 1e9)), end)) for pod in made]
    assert sum(charge(nano("3.06"), *life) for life in lives) == nano(outcome.cost)
    assert outcome.peak <= scaling["maxReplicas"]


@settings(max_examples=10, deadline=None)
@given(trace=TRACES, scaling=SCALINGS, budgets=BUDGETS, options=CHOICES)
def test_the_same_input_gives_the_same_outcome_to_the_last_digit(
    trace: Trace, scaling: dict[str, Any], budgets: list[Any], options: Options
) -> None:
    one, two = (replay(case(scaling, book(), *budgets), trace, options) for _ in range(2))
    assert one == two


@settings(max_examples=15, deadline=None)
@given(trace=TRACES, limit=st.sampled_from(["0.1", "0.4", "2"]), options=CHOICES)
def test_a_budget_that_goes_to_zero_is_never_passed_by_more_than_one_look(
    trace: Trace, limit: str, options: Options
) -> None:
    spec = budget(limit=limit, period="Week", floor=0, burnWindowSeconds=60, onExceeded="ScaleToZero")
    outcome = replay(
        case({"minReplicas": 0, "maxReplicas": 6, "targetConcurrency": "1"}, book("3.06"), spec), trace, options
    )
    # Pods that leave work on what they have: up to 40 s of service, several times over where it is exponential.
    leaving = 6 * max(row.seconds for row in trace.rows) * (15 if options.service is ServiceTime.EXPONENTIAL else 1)
    assert nano(outcome.cost) <= nano(limit) + charge(nano("3.06"), 0, int(6 * LOOK + leaving) + 6)


def waits(servers: int, rate: float, service: float, kind: ServiceTime) -> float:
    """The mean seconds before service, of many requests at so many servers."""
    world, requests = World(Shape(queue=1 << 30), servers), 150_000
    for at, seconds in arrivals(steady(requests / rate, rate, service), 7, kind):
        world.advance(at)
        world.arrive(seconds)
    world.advance(1e12)
    assert requests == len(world.tally.latencies)
    return (sum(world.tally.latencies) - world.tally.work_seconds) / requests


def erlang(servers: int, load: float) -> float:
    """Erlang's C: the chance to wait at M/M/c (Gross, Harris: Fundamentals of Queueing Theory)."""
    below = sum(load**k / math.factorial(k) for k in range(servers))
    at = load**servers / math.factorial(servers) * servers / (servers - load)
    return at / (below + at)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.7), (4, 0.8), (8, 0.85)])
def test_waits_are_those_of_the_m_m_c_queue(servers: int, use: float) -> None:
    rate = use * servers / 0.5
    expected = erlang(servers, use * servers) / (servers / 0.5 - rate)
    assert expected == pytest.approx(waits(servers, rate, 0.5, ServiceTime.EXPONENTIAL), rel=0.06)


@pytest.mark.parametrize("use", [0.5, 0.8])
def test_waits_are_those_of_the_m_d_1_queue(use: float) -> None:
    expected = use * 0.5 / (2 * (1 - use))  # Pollaczek and Khinchine, without variance
    assert expected == pytest.approx(waits(1, use / 0.5, 0.5, ServiceTime.CONSTANT), rel=0.05)
