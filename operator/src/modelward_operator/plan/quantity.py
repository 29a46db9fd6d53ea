"""Quantities in the API server's canonical form, so that what is applied is what is read back.

Used by `pod.py`. The rules are those of Kubernetes' resource.Quantity: no precision is lost, no fraction is written, the suffix
is the largest that fits; the family of suffixes (binary, decimal, exponent) is kept, except that a binary quantity with a
fraction or below 1024 is written in decimal.
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import ROUND_UP, Decimal
from typing import Final

_FORM: Final = re.compile(r"([+-]?[0-9.]+)([a-zA-Z]*|[eE][+-]?[0-9.]+)")
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def canonical(quantity: str) -> str:
    """Return `quantity` as the API server writes it: `1000m` is `1`, `0.5Gi` is `512Mi`, `1024Mi` is `1Gi`."""
    match = _FORM.fullmatch(quantity)
    if match is None:
        raise ValueError(f"not a quantity: {quantity!r}")
    number, suffix = Decimal(match[1]), match[2]
    if suffix in _BINARY:
        value = number * 1024 ** _BINARY[suffix]
        if value == value.to_integral_value() and abs(value) >= 1024:
            return _binary(int(value))
        return _decimal(value, list(_DECIMAL))
    if suffix in _DECIMAL:
        return _decimal(number.scaleb(_DECIMAL[suffix]), list(_DECIMAL))
    exponent = int(suffix[1:])
    return _exponent(number.scaleb(exponent))


def _binary(value: int) -> str:
    for suffix, power in reversed(_BINARY.items()):
        if value % 1024**power == 0:
            return f"{value // 1024**power}{suffix}"
    return str(value)


def _decimal(value: Decimal, suffixes: list[str]) -> str:
    nanos = int(value.scaleb(9).to_integral_value(rounding=ROUND_UP))
    if nanos == 0:
        return "0"
    for suffix in reversed(suffixes):
        unit = 10 ** (_DECIMAL[suffix] + 9)
        if nanos % unit == 0:
            return f"{nanos // unit}{suffix}"
    raise AssertionError("the smallest unit divides every number")


def _exponent(value: Decimal) -> str:
    nanos = int(value.scaleb(9).to_integral_value(rounding=ROUND_UP))
    if nanos == 0:
        return "0"
    power = 0
    while nanos % 1000 == 0:
        nanos //= 1000
        power += 3
    return f"{nanos}e{power - 9}" if power != 9 else str(nanos)
