"""Amounts of epsilon: whole millionths, so that sums are exact and never a float's.

Used by everything in `epsilon/`. Decimal strings exist only in policy.json and in what people read.
"""

from decimal import Decimal
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
