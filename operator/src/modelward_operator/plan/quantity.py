"""Quantities in a form that the API server gives back unchanged, so that what is applied is what is read back.

Used by `pod.py`. The API server keeps some spellings and rewrites others (a pod's defaults round up to thousandths); the
canonical form it always keeps: no fraction is written, the suffix is the largest that fits, the family of suffixes (binary,
decimal, exponent) stays, except that a binary quantity with a fraction or below 1024 is written in decimal.
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import functools
import re
from math import ceil
from typing import Final

from modelward_operator.api.quantity import BINARY, amount

_EXPONENT: Final = re.compile(r"[eE][+-]?[0-9]")
_DECIMAL: Final = {"E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "": 0, "m": -3}


@functools.lru_cache(maxsize=4096)  # models ask for the same few amounts
def canonical(quantity: str) -> str:
    """Return a valid `quantity` in canonical form: `1000m` is `1`, `0.5Gi` is `512Mi`, `1024Mi` is `1Gi`."""
    value = amount(quantity)
    if quantity[-2:] in BINARY and value.denominator == 1 and value >= BINARY["Ki"]:
        return _binary(int(value))
    thousandths = ceil(value * 1000)
    if thousandths == 0:
        return "0"
    return _exponent(thousandths) if _EXPONENT.search(quantity) else _decimal(thousandths)


def _binary(value: int) -> str:
    unit, suffix = max((unit, suffix) for suffix, unit in {"": 1, **BINARY}.items() if value % unit == 0)
    return f"{value // unit}{suffix}"


def _decimal(thousandths: int) -> str:
    for suffix, power in _DECIMAL.items():
        if thousandths % 10 ** (power + 3) == 0:
            return f"{thousandths // 10 ** (power + 3)}{suffix}"
    raise AssertionError("a thousandth divides every number")


def _exponent(thousandths: int) -> str:
    number, power = thousandths, -3
    while number % 1000 == 0:
        number //= 1000
        power += 3
    return f"{number}e{power}" if power else str(number)
