"""BF16: every bit pattern is the number that it should be, and every FP64 is rounded to the nearest one, once."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_runtime import bfloat16

EVERY = np.arange(1 << 16, dtype=np.uint16)


def test_every_pattern_is_the_number_that_others_say_it_is() -> None:
    """ml_dtypes is at hand in tests, and an independent witness."""
    with np.errstate(invalid="ignore"):
        theirs = EVERY.view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(theirs, bfloat16.widen(EVERY))
    np.testing.assert_array_equal(np.signbit(theirs), np.signbit(bfloat16.widen(EVERY)))


def test_every_pattern_is_found_again_and_nan_stays_nan() -> None:
    numbers = bfloat16.doubles(EVERY)
    back = bfloat16.narrow(numbers)
    odd = np.isnan(numbers)
    np.testing.assert_array_equal(EVERY[~odd], back[~odd])
    assert np.isnan(bfloat16.widen(back[odd])).all()
    np.testing.assert_array_equal(np.signbit(numbers[odd]), (back[odd] >> 15).astype(bool))


def nearest(number: float) -> float:
    """By exact arithmetic: the BF16 with the smallest distance, of two the one whose last bit is 0."""
    place = int(bfloat16.narrow(np.array([abs(number)]))[0])
    near = [bits for bits in (place - 1, place, place + 1) if 0 <= bits <= 0x7F7F]
    exact = [
        (abs(Fraction(float(bfloat16.widen(np.array([bits], np.uint16))[0])) - Fraction(abs(number))), bits & 1, bits)
        for bits in near
    ]
    found = float(bfloat16.widen(np.array([min(exact)[2]], np.uint16))[0])
    return found if number >= 0 else -found


@settings(max_examples=400, deadline=None)
@given(st.floats(-bfloat16.LARGEST, bfloat16.LARGEST))
@example(1 + 2**-8 + 2**-40)  # FP32 on the way would make a tie of it, and round it down
@example(1 + 3 * 2**-8 - 2**-40)
@example(2.0**-134)  # half of the smallest
@example(2.0**-134 * (1 + 2**-50))
@example(5e-324)
@example(bfloat16.LARGEST)
def test_rounded_to_the_nearest_halves_to_even(number: float) -> None:
    got = float(bfloat16.widen(bfloat16.narrow(np.array([number])))[0])
    assert nearest(number) == got


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1)])
def test_shapes_stay(shape: tuple[int, ...]) -> None:
    bits = bfloat16.narrow(np.ones(shape))
    assert (shape, np.dtype(np.uint16)) == (bits.shape, bits.dtype)
    numbers = bfloat16.widen(bits)
    assert (shape, np.dtype(np.float32)) == (numbers.shape, numbers.dtype)
    assert (numbers == 1).all()


def test_what_is_too_large_is_an_infinity() -> None:
    sent = np.array([np.nextafter(bfloat16.LARGEST, np.inf), 1e39, -1e308, np.inf])
    assert [np.inf, np.inf, -np.inf, np.inf] == bfloat16.widen(bfloat16.narrow(sent)).tolist()
    assert [bfloat16.MOST] == bfloat16.widen(bfloat16.narrow(np.array([bfloat16.LARGEST]))).tolist()
