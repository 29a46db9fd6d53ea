"""Quantities are as much as Kubernetes says they are."""

from decimal import Decimal

import pytest

from modelward_operator.api.quantity import amount


@pytest.mark.parametrize(
    ("reason", "quantity", "expected"),
    [
        ("plain", "2", "2"),
        ("a fraction", "0.5", "0.5"),
        ("no digit before the point", ".5", "0.5"),
        ("no digit after the point", "5.", "5"),
        ("thousandths", "1500m", "1.5"),
        ("millionths", "7u", "0.000007"),
        ("billionths", "7n", "0.000000007"),
        ("decimal kilo", "1k", "1000"),
        ("binary kilo", "1Ki", "1024"),
        ("binary giga with a fraction", "1.5Gi", "1610612736"),
        ("E alone is exa", "1E", "1000000000000000000"),
        ("E with digits is an exponent", "1E3", "1000"),
        ("e with digits is an exponent", "15e-1", "1.5"),
        ("binary exa", "1Ei", "1152921504606846976"),
        ("a plus sign", "+1", "1"),
    ],
)
def test_amount(reason: str, quantity: str, expected: str) -> None:
    assert Decimal(expected) == amount(quantity), reason
