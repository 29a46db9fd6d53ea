"""BF16 for numpy, which has no such type: bit patterns (uint16, as `model.py` has them) to numbers and back, exactly.

Called by `tensors.py` for JSON, and wherever a rule or a record speaks of numbers (`privacy/`, `epsilon/`, `payloads/`). BF16 is the
upper half of IEEE 754's single precision. The package ml_dtypes would bring the type, and is left out: 24 MB in the image and 10 ms
of every start, ONNX Runtime takes no array of it (1.32: "Numpy_type 256 can't be converted"), and it makes BF16 of FP64 by way of
FP32, which rounds twice.
"""

import math

import numpy as np

from modelward_runtime.model import Array

LARGEST = math.nextafter((2 - 2**-8) * 2.0**127, 0)
"""The largest FP64 that rounds to a number and not to infinity."""


MOST = (2 - 2**-7) * 2.0**127
"""The largest BF16."""


def widen(bits: Array) -> Array:
    """The same numbers in FP32, which holds them all; NaN and infinities stay what they are."""
    return np.asarray(bits.astype(np.uint32) << 16, np.uint32).view(np.float32)


def doubles(bits: Array) -> Array:
    """The same numbers in FP64, for arithmetic that is to be rounded once."""
    with np.errstate(invalid="ignore"):  # a NaN that signals becomes one that does not
        return widen(bits).astype(np.float64)


def narrow(numbers: Array) -> Array:
    """FP64 rounded to the nearest BF16, halves to even (IEEE 754), in one step; beyond `LARGEST` it is an infinity.

    By way of FP32 rounded to odd: cut towards zero, the last bit set where anything was cut, so that the second rounding still sees it
    (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        singles = numbers.astype(np.float32)
        patterns = np.asarray(singles.view(np.uint32) - (np.abs(singles) > np.abs(numbers)), np.uint32)
    patterns = patterns | (singles != numbers)
    rounded = (patterns + 0x7FFF + ((patterns >> 16) & 1)) >> 16
    quiet = (patterns >> 16) | 0x40
    return np.asarray(np.where(np.isnan(numbers), quiet, rounded), np.uint16)
