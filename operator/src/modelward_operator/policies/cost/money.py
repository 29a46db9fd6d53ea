"""What budgets do with money beside counting it (`pricing/money.py`): promise it ahead, and say it to people."""

from modelward_operator.pricing.money import HOUR, NANO


def over(per_hour: int, seconds: int) -> int:
    """Return what a rate comes to in so many seconds, rounded up: money is never promised twice."""
    return -(-per_hour * seconds // HOUR)


def words(amount: int, currency: str) -> str:
    """Return an amount for people: two decimals, or four where it is less than one unit."""
    places = 2 if abs(amount) >= NANO or amount == 0 else 4
    return f"{amount / NANO:.{places}f} {currency}"
