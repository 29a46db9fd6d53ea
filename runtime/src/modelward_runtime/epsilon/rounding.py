"""Exact amounts as floats, rounded to the side that reveals less. Used by `mechanism.py`; OpenDP takes floats."""

import math
from fractions import Fraction

from modelward_runtime.epsilon.amount import MICRO


def not_above(micro: int) -> float:
    """The greatest float that is not above the exact amount: what is promised is never rounded up."""
    return floor_to_float(Fraction(micro, MICRO))


def floor_to_float(exact: Fraction) -> float:
    """The greatest float that is not above `exact`."""
    near = float(exact)
    return near if Fraction(near) <= exact else math.nextafter(near, -math.inf)


def ceil_to_float(exact: Fraction) -> float:
    """The least float that is not below `exact`."""
    near = float(exact)
    return near if Fraction(near) >= exact else math.nextafter(near, math.inf)
