"""Two clocks must agree before a period is judged."""

import pytest

from modelward_runtime.epsilon.clock import ClocksDisagree, Instant, agree
from tests.ledgers import NOON

DATE = "Wed, 25 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("reason", "own", "expected"),
    [
        ("the same", NOON + 0.5, Instant(NOON, NOON + 1)),
        ("the node is behind: its clock judges the period", NOON - 200.0, Instant(NOON - 200, NOON + 1)),
        ("the node is ahead: its clock bounds the block", NOON + 200.0, Instant(NOON, NOON + 201)),
    ],
)
def test_both_bounds_err_towards_spending_less(reason: str, own: float, expected: Instant) -> None:
    assert expected == agree(DATE, own), reason


@pytest.mark.parametrize("own", [NOON - 301.0, NOON + 301.0, NOON + 86_400.0, 0.0])
def test_clocks_that_disagree_decide_nothing(own: float) -> None:
    with pytest.raises(ClocksDisagree, match="s from the API server's"):
        agree(DATE, own)


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Nov 2026 12:00:00 GMT"])
def test_an_answer_without_a_date_decides_nothing(date: str) -> None:
    with pytest.raises(ClocksDisagree):
        agree(date, float(NOON))
