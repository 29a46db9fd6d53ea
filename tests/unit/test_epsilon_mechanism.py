"""The mechanisms keep the epsilon that they are built for: measured over thousands of runs, and the measurement can fail.

False alarms: tests/epsilon_audit.py, at most one run in a million for each case here. Half the noise was seen at 1.4 times the claimed
epsilon or more, with a standard deviation of 0.05: that it goes unseen by chance is rarer still.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modelward_runtime.bfloat16 import widen
from modelward_runtime.epsilon.amount import MICRO
from modelward_runtime.epsilon.mechanism import BoundedLaplace, Mechanism, OnBits, RandomisedResponse
from modelward_runtime.model import Array
from tests.epsilon_audit import Event, Outputs, measure

RUNS = 4_000
LABELS = np.array([10, 20, 30], np.int64)


def response(epsilon: float) -> RandomisedResponse:
    return RandomisedResponse(LABELS, round(epsilon * MICRO))


def laplace(epsilon: float, values: int = 1) -> BoundedLaplace:
    return BoundedLaplace(-1.0, 1.0, values, round(epsilon * MICRO))


def run(mechanism: Mechanism, answers: Array, runs: int = RUNS) -> Outputs:
    """Many runs on the same answers at once: rows are randomised one by one, so that a call of many rows is as many runs."""
    repeated = np.concatenate([answers] * runs)
    return mechanism.randomise(repeated).reshape(runs, *answers.shape)


def every(test: Callable[[Outputs, float], Any], bound: float) -> Event:
    """The event that the answers of all rows of a call pass the test."""
    return lambda outputs: np.all(test(outputs, bound).reshape(len(outputs), -1), axis=1)


LABEL_EVENTS = {f"every answer is {label}": every(operator.eq, label) for label in (10, 20, 30)}
NUMBER_EVENTS = {
    **{f"every answer <= {bound:g}": every(operator.le, bound) for bound in np.linspace(-1, 0.9, 9)},
    **{f"every answer >= {bound:g}": every(operator.ge, bound) for bound in np.linspace(-0.9, 1, 9)},
}


def labels(*rows: int) -> Array:
    return np.array(rows, np.int64)


def numbers(*rows: float) -> Array:
    return np.array(rows, np.float32).reshape(-1, 1)


CASES = [
    ("a label, one row", response, LABEL_EVENTS, labels(10), labels(20), 1),
    ("a label, one row of two differs", response, LABEL_EVENTS, labels(10, 10), labels(10, 20), 1),
    ("a label, two rows differ", response, LABEL_EVENTS, labels(10, 10), labels(20, 20), 2),
    ("a number, one row", laplace, NUMBER_EVENTS, numbers(-1), numbers(1), 1),
    ("a number, one row of two differs", laplace, NUMBER_EVENTS, numbers(-1, -1), numbers(-1, 1), 1),
    ("a number, two rows differ", laplace, NUMBER_EVENTS, numbers(-1, -1), numbers(1, 1), 2),
    ("numbers beyond the bounds", laplace, NUMBER_EVENTS, numbers(-1e30), numbers(math.inf), 1),
]


@pytest.mark.parametrize(("reason", "build", "events", "one", "other", "rows"), CASES, ids=[case[0] for case in CASES])
def test_measured_epsilon_is_under_the_claimed_one_and_half_the_noise_is_caught(
    reason: str, build: Callable[[float], Mechanism], events: dict[str, Event], one: Array, other: Array, rows: int
) -> None:
    claimed = 1.0 if rows == 1 else 0.6
    honest, event = measure(run(build(claimed), one), run(build(claimed), other), events)
    assert honest <= rows * claimed, f"{reason}: {event}"
    cheating, event = measure(run(build(2 * claimed), one), run(build(2 * claimed), other), events)
    assert cheating > rows * claimed, f"{reason}: half the noise goes unseen by {event}"


def test_values_of_one_row_share_its_epsilon() -> None:
    one, other = np.full((1, 2), -1.0, np.float64), np.full((1, 2), 1.0, np.float64)
    mechanism = laplace(1.0, values=2)
    assert 4.0 == mechanism.sensitivity <= mechanism.scale <= 4.0 * (1 + 1e-9)
    measured, event = measure(run(mechanism, one), run(mechanism, other), NUMBER_EVENTS)
    assert measured <= 1.0, event
    shared = laplace(1.0, values=1)  # as if each value had the row's whole epsilon
    measured, event = measure(run(shared, one), run(shared, other), NUMBER_EVENTS)
    assert measured > 1.0, event


@pytest.mark.parametrize("odd", [[99], [-1]])
def test_a_label_that_was_not_declared_is_one_that_was(odd: list[int]) -> None:
    found = response(0.5).randomise(np.array(odd * 200, np.int64))
    assert set(found.tolist()) == set(LABELS.tolist())


def test_answers_keep_type_and_shape_and_stay_within_what_was_declared() -> None:
    texts = np.array(["a", "b"], np.object_)
    found = RandomisedResponse(texts, MICRO).randomise(np.array([["a"], ["b"], ["c"]], np.object_))
    assert (np.dtype(np.object_), (3, 1)) == (found.dtype, found.shape)
    for dtype in (np.float16, np.float32, np.float64):
        noisy = laplace(0.01).randomise(np.array([[0.5], [math.nan], [math.inf], [-math.inf]], dtype))
        assert (np.dtype(dtype), (4, 1)) == (noisy.dtype, noisy.shape)
        assert np.all((noisy >= -1) & (noisy <= 1))


def test_answers_in_bf16_are_noisy_numbers_and_not_noisy_bits() -> None:
    ones = np.full((300, 1), 0x3F80, np.uint16)
    released = OnBits(laplace(20.0)).randomise(ones)
    assert (np.dtype(np.uint16), (300, 1)) == (released.dtype, released.shape)
    assert 0.9 < np.median(widen(released)) <= 1.0


def test_no_rows_are_no_answers() -> None:
    assert (0,) == response(1.0).randomise(np.empty(0, np.int64)).shape
    assert (0, 1) == laplace(1.0).randomise(np.empty((0, 1), np.float32)).shape


@pytest.mark.parametrize("micro", [1, 100_000, 333_333, 1_000_000, 20_000_000])
def test_no_epsilon_is_rounded_up(micro: int) -> None:
    """OpenDP's own word, asked with what the policy promises; building raises where it does not fit."""
    RandomisedResponse(LABELS, micro)
    RandomisedResponse(np.arange(1024), micro)
    BoundedLaplace(0.1, 0.7, 3, micro)
    BoundedLaplace(-1e9, 1e9, 1, micro)
