"""Quantities are as much as Kubernetes says they are."""

from fractions import Fraction

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
        ("less than a billionth rounds up", "0.1n", "0.000000001"),
        ("between two billionths, the higher", "1.1n", "0.000000002"),
        ("a fraction of a byte, below a billionth", "0.0000000000001Ki", "0.000000001"),
        ("nothing stays nothing", "0.0n", "0"),
        ("a binary quantity ends at 63 bits", "9Ei", "9223372036854775807"),
        ("a decimal one does not", "99E", "99000000000000000000"),
        ("every digit counts", "12345678901234567890123456789012", "12345678901234567890123456789012"),
        ("an exponent far below", "1e-99", "0.000000001"),
    ],
)
def test_amount(reason: str, quantity: str, expected: str) -> None:
    assert Fraction(expected) == amount(quantity), reason
