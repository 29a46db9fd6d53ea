"""The canonical form of a quantity is as much as the quantity, to the next thousandth."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.api.quantity import amount
from modelward_operator.plan.quantity import canonical


@pytest.mark.parametrize(
    ("reason", "quantity", "expected"),
    [
        ("thousandths that make a whole", "1000m", "1"),
        ("a fraction becomes thousandths", "0.5", "500m"),
        ("half a gibi is a number of mebi", "0.5Gi", "512Mi"),
        ("the largest suffix", "1024Mi", "1Gi"),
        ("below a kibi there is no binary suffix", "0.5Ki", "512"),
        ("a binary number that no suffix divides", "1.0009765625Ki", "1025"),
        ("a binary fraction is decimal", "0.3Ki", "307200m"),
        ("an exponent stays one", "1500E3", "1500e3"),
        ("an exponent that says nothing goes", "7e0", "7"),
        ("less than a thousandth rounds up", "1u", "1m"),
        ("no more than 64 bits hold", "100Ei", "9223372036854775807"),
        ("nothing is nothing", "0.0Gi", "0"),
    ],
)
def test_canonical(reason: str, quantity: str, expected: str) -> None:
    assert canonical(quantity) == expected, reason


@given(
    st.decimals(0, 10**6, places=4, allow_nan=False),
    st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "E-2"]),
)
def test_the_canonical_form_is_worth_the_same(number: Decimal, suffix: str) -> None:
    quantity = f"{number:f}{suffix}"
    rounded = Fraction(ceil(amount(quantity) * 1000), 1000)
    assert amount(canonical(quantity)) == rounded
    assert canonical(canonical(quantity)) == canonical(quantity)
