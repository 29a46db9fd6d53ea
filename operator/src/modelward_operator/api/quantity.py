"""How much a Kubernetes quantity is, for comparing requests with limits.

Used by the rules of `modeldeployment.py`; the API server does the same in CEL with `quantity()`.
"""

from decimal import Decimal
from typing import Final

BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def amount(quantity: str) -> Decimal:
    """Return the value of a valid quantity, in cores or bytes: `1500m` is 1.5, `1Ki` is 1024, `1E` is 10**18, `1E3` is 1000."""
    if quantity[-2:] in BINARY:
        return Decimal(quantity[:-2]) * BINARY[quantity[-2:]]
    if quantity[-1:] in DECIMAL:
        return Decimal(quantity[:-1]).scaleb(DECIMAL[quantity[-1:]])
    return Decimal(quantity)
