"""What holds for the autoscaler whatever the load, the pods and the order of things."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.autoscaler.decide import SLACK, Past, Reading, Settings, decide
from modelward_operator.autoscaler.load import Load
from modelward_operator.autoscaler.track import Track
from modelward_operator.autoscaler.window import SECONDS, Window
from tests.loads import Pods

loads = st.floats(0, 5000)
numbers = st.integers(0, 40)
specs = st.builds(
    lambda low, more, target, share, down, idle, fallback: Settings(
        low, max(low, 1) + more, target, share / 100, down, idle, min(fallback, max(low, 1) + more)
    ),
    st.integers(0, 5),
    st.integers(0, 30),
    st.floats(0.001, 1000),
    st.integers(10, 100),
    st.floats(0, 3600),
    st.floats(1, 604_800),
    st.integers(0, 40),
)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    serving = draw(st.integers(0, 40))
    silent = draw(st.integers(0, serving))
    return Reading(
        stable=draw(loads),
        panic=draw(loads),
        observed=draw(st.floats(0, 7200)),
        serving=serving,
        silent=silent,
        lost=draw(st.integers(0, silent)),
        idle=draw(st.floats(0, 1e6)),
        is_fresh=draw(st.booleans()),
        held=draw(st.integers(0, 100)),
        startup=draw(st.floats(0, 3600)),
    )


@given(specs, st.lists(st.tuples(readings(), st.floats(0, 500)), min_size=1, max_size=20), numbers)
def test_the_bounds_hold_and_zero_is_never_reached_without_data(
    spec: Settings, steps: Sequence[tuple[Reading, float]], start: int
) -> None:
    past, now = Past(min(max(start, spec.minimum), spec.maximum)), 0.0
    for reading, passed in steps:
        now += passed
        decision = decide(spec, reading, past, now)
        assert spec.minimum <= decision.wanted <= spec.maximum
        assert decision.again >= 0
        if reading.silent or not reading.serving:
            assert decision.wanted >= min(past.wanted, 1), "not to zero"
        if reading.serving and reading.silent > reading.lost:
            assert decision.wanted >= min(past.wanted, spec.maximum), "nothing goes"
        if past.wanted and not decision.wanted:
            assert reading.idle >= spec.idle
            assert reading.is_fresh
            assert not reading.held
        past = decision.past


@given(specs, readings(), numbers, loads, loads)
def test_more_load_never_asks_for_fewer(
    spec: Settings, reading: Reading, start: int, more: float, burst: float
) -> None:
    past = Past(min(max(start, spec.minimum), spec.maximum))
    busier = replace(reading, stable=reading.stable + more, panic=reading.panic + burst)
    assert decide(spec, reading, past, 0.0).wanted <= decide(spec, busier, past, 0.0).wanted


@settings(max_examples=12, deadline=None)
@given(st.floats(0, 100), st.floats(0.5, 20), st.integers(10, 100), st.floats(0, 60), st.integers(1, 12))
def test_a_constant_load_comes_to_rest_at_what_it_needs(
    load: float, target: float, share: int, startup: float, start: int
) -> None:
    spec = Settings(1, 50, target, share / 100)
    pods = Pods(Track(spec, start), lambda _: load, startup=startup)
    pods.run(500)
    settled = len(pods.numbers)
    pods.run(300)
    assert settled == len(pods.numbers), pods.numbers
    needed = max(1, min(50, ceil(load / spec.aim - 1e-6)))
    assert needed <= pods.track.wanted <= max(needed, min(50, ceil(load / (spec.aim * SLACK) + 1e-6)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 60), st.floats(0, 30)), max_size=60))
def test_a_replay_decides_the_same(events: list[tuple[int, float, float]]) -> None:
    def replay() -> list[object]:
        track, now, busy = Track(Settings(0, 9, 4.0, idle=20.0), 1), 0.0, 0.0
        told: list[object] = []
        for kind, value, passed in events:
            now, busy = now + passed, busy + value * passed
            match kind:
                case 0:
                    track.meet([f"pod-{n}" for n in range(int(value) % 4)], now)
                case 1:
                    track.hear(f"pod-{int(value) % 4}", Load(now, value, busy, busy, 0.0), now)
                case 2:
                    track.hold(int(value) % 3, 0, now)
                case _:
                    track.start(value)
            told.append((track.decide(now), track.last_reading))
        return told

    assert replay() == replay()


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 90), st.floats(0, 100)), min_size=1, max_size=20),
    st.floats(1, SECONDS - 3),
)
def test_a_window_gives_back_what_was_put_into_whole_seconds(
    parts: list[tuple[float, float, float]], span: float
) -> None:
    window, now, true = Window(), 100.0, 0.0
    spans: list[tuple[float, float, float]] = []
    for gap, length, level in parts:
        start = float(int(now + gap))
        now = start + float(int(length))
        window.add(start, now, level)
        spans.append((start, now, level))
    begin = now - float(int(span))
    true = sum(level * max(end - max(start, begin), 0.0) for start, end, level in spans)
    assert abs(window.busy(begin, now) - true) <= 1e-6 * max(1.0, true)
