"""Amounts of epsilon: whole millionths, so that sums are exact and never a float's.

Used by everything in `epsilon/`. Decimal strings exist only in policy.json and in what people read.
"""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Final

import msgspec

MICRO: Final = 1_000_000
Epsilon = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$")]


def parse(text: str) -> int:
    """Millionths of a decimal string of at most six decimals, as the contract's pattern has let it through."""
    return int(Decimal(text) * MICRO)


def show(micro: int) -> str:
    """The amount as a decimal string."""
    return f"{Decimal(micro) / MICRO:f}"


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
