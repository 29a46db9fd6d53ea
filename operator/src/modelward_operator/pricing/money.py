"""Money as integers of 10⁻⁹ of a currency's unit (nano), and its form in the API: decimal strings. No floats, no rounding on the way."""

from typing import Final

NANO: Final = 10**9
"""Nano units in one unit."""
HOUR: Final = 3600
"""Seconds."""


def nano(text: str) -> int:
    """Return a decimal string of at most nine decimals, as `api.pricebook.Price` is, in nano units."""
    whole, _, decimals = text.partition(".")
    return int(whole) * NANO + int(f"{decimals:0<9}")


def units(amount: int) -> str:
    """Return nano units as a decimal string without trailing zeros: 3060000000 is `3.06`."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, decimals = divmod(amount, NANO)
    return f"{sign}{whole}" + (f".{decimals:09}".rstrip("0") if decimals else "")


def charge(per_hour: int, begin: int, end: int) -> int:
    """Return what `per_hour` nano units cost from `begin` to `end`, seconds since the epoch, in whole nano units.

    It telescopes: whatever moments a time is cut at, the parts add up to the whole, so that no restart rounds anything away. Each unbroken
    stretch of one rate is less than one nano unit off.
    """
    return per_hour * end // HOUR - per_hour * begin // HOUR
