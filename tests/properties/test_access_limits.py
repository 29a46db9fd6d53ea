"""Whatever subjects do, in whatever order, with whatever table and clock: nobody gets more than the limits say."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime.access.config import Limits
from modelward_runtime.access.limits import Subjects, Turn
from modelward_runtime.errors import SubjectBusy

RATES = ("0.5", "1", "2.5", "7")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.sampled_from(RATES),
    burst=st.integers(1, 6),
    concurrency=st.none() | st.integers(1, 3),
    most=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.floats(-5, 5, allow_nan=False), st.booleans()), min_size=1, max_size=80
    ),
)
def test_no_subject_gets_more_than_its_burst_and_its_rate(
    rate: str, burst: int, concurrency: int | None, most: int, steps: list[tuple[str, float, bool]]
) -> None:
    clock = Clock()
    limits = Limits(requests_per_second=rate, burst=burst, concurrency=concurrency)
    subjects = Subjects(lambda: limits, clock, most)
    granted: dict[str, list[float]] = defaultdict(list)
    open_turns: dict[str, list[Turn]] = defaultdict(list)
    for subject, pause, leave in steps:
        clock.now += max(pause, 0.0)
        if leave and open_turns[subject]:
            open_turns[subject].pop().__exit__(None, None, None)
        try:
            open_turns[subject].append(subjects.enter(subject))
        except SubjectBusy:
            continue
        granted[subject].append(clock.now)
        assert concurrency is None or len(open_turns[subject]) <= concurrency
        assert len(subjects._buckets) <= most
    for times in granted.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                allowed = burst + (times[last] - times[first]) * float(rate)
                assert last - first + 1 <= allowed + 1e-6


@given(rate=st.sampled_from(RATES), burst=st.integers(1, 5), turns=st.integers(1, 5))
def test_who_waits_as_long_as_told_is_let_in(rate: str, burst: int, turns: int) -> None:
    clock = Clock()
    limits = Limits(requests_per_second=rate, burst=burst)
    subjects = Subjects(lambda: limits, clock)
    for _ in range(burst):
        subjects.enter("a")
    for _ in range(turns):
        with pytest.raises(SubjectBusy) as caught:
            [subjects.enter("a") for _ in range(100)]
        assert caught.value.retry_after >= 1
        clock.now += caught.value.retry_after
        subjects.enter("a")


def test_a_clock_that_goes_backwards_gives_nothing_and_takes_nothing() -> None:
    clock = Clock()
    limits = Limits(requests_per_second="1", burst=2)
    subjects = Subjects(lambda: limits, clock)
    subjects.enter("a")
    clock.now -= 50
    subjects.enter("a")
    with pytest.raises(SubjectBusy):
        subjects.enter("a")
    clock.now += 1.5
    subjects.enter("a")


def test_new_limits_hold_at_once_and_forgive_nothing() -> None:
    clock, current = Clock(), [Limits(requests_per_second="1", burst=3)]
    subjects = Subjects(lambda: current[0], clock)
    for _ in range(3):
        subjects.enter("a")
    current[0] = Limits(requests_per_second="10", burst=50)
    with pytest.raises(SubjectBusy):
        subjects.enter("a")
    clock.now += 0.2
    subjects.enter("a")
    current[0] = Limits(concurrency=2)
    turns = [subjects.enter("b"), subjects.enter("b")]
    with pytest.raises(SubjectBusy, match="concurrency-limited"):
        subjects.enter("b")
    turns[0].__exit__(None, None, None)
    subjects.enter("b")


def test_without_limits_nobody_is_counted() -> None:
    subjects = Subjects(lambda: None)
    for number in range(100):
        subjects.enter(str(number))
    assert not subjects._buckets
