"""How much a Kubernetes quantity is, for comparing requests with limits.

Used by the rules of `modeldeployment.py` and by `plan/quantity.py`; the API server does the same in CEL with `quantity()`, and the two
must be of one mind: a spec that only the API server takes cannot be ruled on.
"""

import functools
from fractions import Fraction
from math import ceil
from typing import Final

BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
MOST: Final = 2**63 - 1
"""What the API server makes of a binary quantity above it; a decimal one has no end."""
_NANO: Final = 10**9


@functools.lru_cache(maxsize=4096)  # models ask for the same few amounts
def amount(quantity: str) -> Fraction:
    """Return the value of a valid quantity, in cores or bytes: `1500m` is 1.5, `1Ki` is 1024, `1E` is 10**18, `1E3` is 1000.

    What lies between two billionths counts as the higher one.
    """
    if quantity[-2:] in BINARY:
        return min(_rounded(Fraction(quantity[:-2]) * BINARY[quantity[-2:]]), Fraction(MOST))
    if quantity[-1:] in DECIMAL:
        return _rounded(Fraction(quantity[:-1]) * Fraction(10) ** DECIMAL[quantity[-1:]])
    return _rounded(Fraction(quantity))


def _rounded(value: Fraction) -> Fraction:
    return Fraction(ceil(value * _NANO), _NANO)
