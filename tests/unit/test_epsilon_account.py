"""What a reservation does to a shard: tables for the cases that a reader would ask about. What holds for every input: tests/properties."""

from fractions import Fraction
from typing import NamedTuple

import pytest

from modelward_runtime.epsilon import amount, period
from modelward_runtime.epsilon.account import MOST_ROWS, Granted, Held, Refused, Row, Shard, Terms, Turned, reserve
from modelward_runtime.epsilon.period import end_of
from modelward_runtime.epsilon.rounding import not_above
from tests.ledgers import MIDNIGHT, NOON

DAY = Terms(budget=100, period="Day")
EMPTY = Shard(0, "", {})


class Ask(NamedTuple):
    reason: str
    shard: Shard
    cost: int
    held: Held
    expected: Row | Refused


ASKS = [
    Ask("the first call reserves its cost and a share of what is left", EMPTY, 36, Held(), Row(38, MIDNIGHT)),
    Ask("what is held is not reserved again", Shard(NOON, "k", {"a": Row(38, MIDNIGHT)}), 36, Held(2, MIDNIGHT), Row(72, MIDNIGHT)),
    Ask("the last of the budget, with nothing beside it", Shard(NOON, "k", {"a": Row(90, MIDNIGHT)}), 10, Held(), Row(100, MIDNIGHT)),
    Ask("more than is left", Shard(NOON, "k", {"a": Row(91, MIDNIGHT)}), 10, Held(), Refused("Spent", MIDNIGHT)),
    Ask("more than a whole budget", EMPTY, 101, Held(), Refused("TooLarge", MIDNIGHT)),
    Ask("a row whose period has ended begins anew", Shard(NOON, "k", {"a": Row(100, NOON)}), 100, Held(), Row(100, MIDNIGHT)),
    Ask("what was held of an ended period is void", Shard(NOON, "k", {"a": Row(50, NOON)}), 36, Held(50, NOON), Row(38, MIDNIGHT)),
    Ask("a block is void when its row is gone: somebody deleted the ledger", EMPTY, 36, Held(50, MIDNIGHT), Row(38, MIDNIGHT)),
    Ask("a longer period that was begun is not cut short", Shard(NOON, "k", {"a": Row(100, MIDNIGHT + 99)}), 1, Held(),
        Refused("Spent", MIDNIGHT + 99)),
    Ask("a budget that was lowered below what is spent", Shard(NOON, "k", {"a": Row(400, MIDNIGHT)}), 1, Held(),
        Refused("Spent", MIDNIGHT)),
]  # fmt: skip


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.reason)
def test_a_reservation(ask: Ask) -> None:
    found = reserve(ask.shard, "a", ask.cost, ask.held, DAY, NOON)
    if isinstance(ask.expected, Refused):
        assert ask.expected == found
    else:
        assert isinstance(found, Granted)
        assert ask.expected == found.shard.rows["a"]
        assert found.amount + (ask.held.left if found.joins else 0) >= ask.cost


def test_a_full_shard_lets_no_newcomer_in_and_forgets_nobody_who_is_live() -> None:
    rows = {f"{number:032x}": Row(1, MIDNIGHT) for number in range(MOST_ROWS)}
    full = Shard(NOON, "k", rows)
    assert Refused("Full", MIDNIGHT) == reserve(full, "new", 1, Held(), DAY, NOON)
    known = reserve(full, f"{7:032x}", 1, Held(), DAY, NOON)
    assert isinstance(known, Granted)
    assert len(known.shard.rows) == MOST_ROWS


def test_a_full_shard_makes_room_by_what_has_expired() -> None:
    rows = {f"{number:032x}": Row(1, MIDNIGHT) for number in range(MOST_ROWS - 2)}
    full = Shard(NOON, "k", {**rows, "old": Row(9, NOON), "older": Row(9, NOON - 5)})
    found = reserve(full, "new", 1, Held(), DAY, NOON)
    assert isinstance(found, Granted)
    assert {*rows, "new"} == set(found.shard.rows)


@pytest.mark.parametrize("name", ["old", "a"])
def test_who_finds_a_period_ended_writes_that_first_and_takes_nothing_away(name: str) -> None:
    shard = Shard(NOON - 1, "k", {name: Row(100, NOON), "b": Row(5, MIDNIGHT)})
    turned = reserve(shard, "a", 1, Held(), DAY, NOON)
    assert Turned(Shard(NOON, "k", shard.rows)) == turned
    assert isinstance(reserve(turned.shard, "a", 1, Held(), DAY, NOON), Granted)


def test_a_writer_whose_clock_is_behind_does_not_reopen_a_period() -> None:
    shard = Shard(MIDNIGHT + 10, "k", {"a": Row(100, MIDNIGHT + 86_400)})
    assert Refused("Spent", MIDNIGHT + 86_400) == reserve(shard, "a", 1, Held(), DAY, NOON)


@pytest.mark.parametrize(
    ("name", "now", "expected"),
    [
        ("Hour", "2026-11-25T12:00:00Z", "2026-11-25T13:00:00Z"),
        ("Hour", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ("Day", "2026-11-25T23:59:59Z", "2026-11-26T00:00:00Z"),
        ("Week", "2026-11-25T12:00:00Z", "2026-11-30T00:00:00Z"),
        ("Week", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"),
        ("Month", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z"),
        ("Month", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("Month", "9999-12-25T00:00:00Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_periods_are_the_calendars(name: period.Period, now: str, expected: str) -> None:
    assert expected == period.show(end_of(name, period.parse(now)))


@pytest.mark.parametrize(("text", "micro"), [("0.1", 100_000), ("0.000001", 1), ("20", 20_000_000), ("0.3", 300_000)])
def test_amounts_are_exact_and_their_floats_never_above(text: str, micro: int) -> None:
    assert micro == amount.parse(text)
    assert Fraction(not_above(micro)) <= Fraction(micro, amount.MICRO)
    assert amount.parse(amount.show(micro)) == micro
