"""The book's corners: prices that change, clocks that jump, names that return, midnight, gaps, months that end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from modelward_operator.ledger.account import Account, UnreadableLedger
from modelward_operator.ledger.book import OVERRIDES, REMEMBERED, Book, Override
from modelward_operator.ledger.cells import (
    DAY,
    QUARTER,
    Row,
    day_name,
    day_of,
    is_within_months,
    month_floor,
    quarter_name,
    quarter_of,
)
from modelward_operator.ledger.months import kept_months, month_start
from modelward_operator.ledger.shards import CLOSED
from modelward_operator.ledger.sighting import Sighting, ended_at, sighting
from modelward_operator.pricing.facts import Rate

HOUR = 3600
NOON = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp())
MIDNIGHT = NOON + 12 * HOUR
ONE = Rate(HOUR, "USD")
"""A nano unit per second."""
ROW = {"model": "m", "currency": "USD"}


def pod(
    uid: str = "a", start: int = NOON, end: int | None = None, rate: Rate | None = ONE, model: str = "m"
) -> Sighting:
    return Sighting(uid, model, "n", start, end, rate, end is not None)


def total(book: Book, model: str = "m", currency: str = "USD") -> int:
    return book.spent(model, NOON - 5 * DAY, NOON + 5 * DAY).get(currency, 0)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_a_new_price_holds_from_when_it_is_seen() -> None:
    book = Book()
    book.observe("m", [pod()], NOON + 60)
    book.observe("m", [pod(rate=Rate(2 * HOUR, "USD"))], NOON + 120)
    book.observe("m", [pod(rate=Rate(2 * HOUR, "USD"))], NOON + 180)
    assert 120 + 120 == total(book)


def test_time_without_a_price_costs_nothing_even_when_one_comes() -> None:
    book = Book()
    book.observe("m", [pod(rate=None)], NOON + 60)
    assert book.has_unpriced("m")
    book.observe("m", [pod()], NOON + 120)
    book.observe("m", [pod()], NOON + 180)
    assert 60 == total(book)
    assert not book.has_unpriced("m")


def test_a_price_in_another_currency_is_a_row_of_its_own() -> None:
    book = Book()
    book.observe("m", [pod()], NOON + 60)
    book.observe("m", [pod(rate=Rate(HOUR, "EUR"))], NOON + 100)
    book.observe("m", [pod(rate=Rate(HOUR, "EUR"))], NOON + 110)
    assert {"USD": 100, "EUR": 10} == book.spent("m", NOON, NOON + HOUR)
    assert {"EUR": HOUR} == book.hourly("m")


def test_a_clock_that_jumps_back_charges_nothing_twice() -> None:
    book = Book()
    for now in (NOON + 60, NOON + 600, NOON + 10, NOON - HOUR, NOON + 300, NOON + 700):
        book.observe("m", [pod()], now)
    assert 700 == total(book)


def test_a_pod_that_starts_in_the_future_waits_for_it() -> None:
    book = Book()
    book.observe("m", [pod(start=NOON + 100)], NOON)
    assert 0 == total(book)
    book.observe("m", [pod(start=NOON + 100)], NOON + 150)
    assert 50 == total(book)


def test_a_name_that_returns_with_another_uid_is_another_pod() -> None:
    book = Book()
    book.observe("m", [pod("a")], NOON + 60)
    book.observe("m", [pod("b", start=NOON + 100)], NOON + 100)
    book.observe("m", [pod("b", start=NOON + 100)], NOON + 160)
    assert 100 + 60 == total(book)


def test_what_is_over_stays_over_for_who_looks_at_old_news() -> None:
    book = Book()
    book.observe("m", [pod()], NOON + 60)
    book.observe("m", [], NOON + 70)
    book.observe("m", [pod()], NOON + 130)  # by a watch that lags behind
    assert 70 == total(book)
    assert [] == book.open_pods("m")


def test_a_pod_whose_labels_were_taken_away_for_a_while_is_charged_for_all_of_it() -> None:
    book = Book()
    book.observe("m", [pod()], NOON + 60)
    book.observe("m", [], NOON + 70)
    book.observe("m", [pod()], NOON + 600)
    assert 600 == total(book)
    book.observe("m", [pod()], NOON + 660)
    assert 660 == total(book)


def test_a_pod_that_moves_to_another_model_is_charged_there_from_when_it_was_missed() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod()], NOON + 60)
    account.book.observe("m", [], NOON + 70)
    restarted = Account("ns", stored(account, NOON + 70), NOON + 600)
    restarted.book.observe("other", [pod(model="other")], NOON + 600)
    assert (70, 530) == (total(restarted.book), total(restarted.book, "other"))
    assert [] == restarted.book.open_pods("m")
    assert ["a"] == [known.uid for known in restarted.book.open_pods("other")]


def test_it_is_remembered_while_it_lies_there_and_an_hour_longer() -> None:
    book = Book()
    book.observe("m", [pod(end=NOON + 60)], NOON + 120)
    later = NOON + 60 + 10 * REMEMBERED
    book.forget(later, ["a"])
    book.observe("m", [pod(end=NOON + 60)], later)
    assert 60 == total(book)
    book.forget(later, [])
    assert {} == book.pods


def test_a_pod_replaced_in_a_gap_is_charged_until_its_successor_began() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod("a")], NOON + 60)
    restarted = Account("ns", stored(account, NOON + 60), NOON + 1000)
    restarted.book.observe("m", [pod("b", start=NOON + 500)], NOON + 1000)
    assert 500 + 500 == total(restarted.book)
    assert 500 - 60 == restarted.book.row("m", "USD").estimated[NOON // DAY]


def test_two_pods_that_went_take_two_successors() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod("a"), pod("b")], NOON + 60)
    restarted = Account("ns", stored(account, NOON + 60), NOON + 1000)
    restarted.book.observe("m", [pod("c", start=NOON + 500)], NOON + 1000)
    assert 500 + 1000 + 500 == total(restarted.book), "one was replaced, the other one missed"


def test_a_model_that_was_deleted_and_made_again_keeps_its_row() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod("a", end=NOON + 100)], NOON + 100)
    restarted = Account("ns", stored(account, NOON + 100), NOON + 200)
    restarted.book.observe("m", [], NOON + 200)
    restarted.book.observe("m", [pod("b", start=NOON + 300)], NOON + 400)
    assert 100 + 100 == total(restarted.book)
    assert ["m"] == restarted.book.models()


def stored(account: Account, now: int) -> list[dict[str, Any]]:
    """Return the objects that the API server would hold after the account was written; a later write of one name replaces it."""
    held: dict[str, dict[str, Any]] = {}
    for number, obj in enumerate(account.due(now)):
        meta = {**obj["metadata"], "resourceVersion": str(number)}
        held[meta["name"]] = {**obj, "metadata": meta}
        account.stored(held[meta["name"]])
    account.settle(now)
    return list(held.values())


def test_a_pod_of_days_is_charged_to_each_of_them_and_listed_by_the_last() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod()], MIDNIGHT + 2 * DAY + 60)
    held = stored(account, MIDNIGHT + 2 * DAY + 60)
    assert ["costs-2026-11-25-0", "costs-2026-11-26-0", "costs-2026-11-27-0", "costs-2026-11-28-0"] == [
        obj["metadata"]["name"] for obj in held
    ]
    assert [False, False, False, True] == ["open" in obj["spec"] for obj in held]
    again = Account("ns", held, MIDNIGHT + 2 * DAY + 60)
    assert 12 * HOUR + 2 * DAY + 60 == total(again.book)
    assert [] == [obj for obj in again.due(MIDNIGHT + 2 * DAY + 60) if again.versioned(obj)]


def test_a_second_writer_learns_from_the_first_what_ended_when() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod()], NOON + 60)
    held = stored(account, NOON + 60)
    account.book.observe("m", [], NOON + 90)  # it saw the end, and another wrote in between
    again = account.again(held, NOON + 600)
    again.book.observe("m", [], NOON + 600)
    assert 90 == total(again.book)
    assert {} == again.book.row("m", "USD").estimated


def test_a_second_writer_learns_of_a_life_that_was_never_written_down() -> None:
    account = Account("ns", (), NOON)
    held = stored(account, NOON)
    account.book.observe("m", [pod()], NOON + 60)
    account.book.observe("m", [], NOON + 90)
    again = account.again(held, NOON + 100)
    assert (90, []) == (total(again.book), list(again.book.open_pods("m")))
    late = account.again(held, NOON + 10 * REMEMBERED)
    assert 0 == total(late.book), "so long ago it was written down, and what it cost is in the rows"


def test_while_a_day_before_lists_its_pods_what_is_over_is_remembered() -> None:
    account = Account("ns", (), NOON)
    account.book.observe("m", [pod()], MIDNIGHT - 60)
    restarted = Account("ns", stored(account, MIDNIGHT - 60), MIDNIGHT + 10)
    restarted.book.observe("m", [pod(end=MIDNIGHT - 30)], MIDNIGHT + 10)
    restarted.tidy(MIDNIGHT + 10 * REMEMBERED, [])
    assert ["a"] == list(restarted.book.pods), "the day before still says that it costs money"
    stored(restarted, MIDNIGHT + 10 * REMEMBERED)
    restarted.tidy(MIDNIGHT + 10 * REMEMBERED, [])
    assert {} == restarted.book.pods


def test_an_override_is_kept_once_and_comes_back() -> None:
    account, override = Account("ns", (), NOON), Override("team", "100", "USD", "INC-1", "2026-11-26T00:00:00Z", NOON)
    account.book.note_override(override)
    account.book.note_override(Override("team", "100", "USD", "INC-1", "2026-11-26T00:00:00Z", NOON + 60))
    (obj,) = stored(account, NOON + 60)
    assert [override] == Account("ns", [obj], NOON).book.overrides
    assert "INC-1" == obj["spec"]["overrides"][0]["reason"]


def test_however_often_the_words_of_an_override_change_the_ledger_can_be_written() -> None:
    account = Account("ns", (), NOON)
    for number in range(2000):
        account.book.note_override(Override("team", "100", "USD", f"INC-{number}", "2026-11-26T00:00:00Z", NOON))
    (obj,) = stored(account, NOON)
    reasons = [override["reason"] for override in obj["spec"]["overrides"]]
    assert (OVERRIDES, "INC-0", "INC-1999") == (len(reasons), reasons[0], reasons[-1])


def test_thousands_of_pods_that_failed_leave_a_ledger_that_can_be_written_and_are_not_charged_again() -> None:
    account, now = Account("ns", (), NOON), NOON + 8000
    failed = [pod(f"p{number:05}", start=NOON + number, end=NOON + number + 2) for number in range(7000)]
    account.book.observe("m", failed, now)
    (obj,) = stored(account, now)
    assert CLOSED == len(obj["spec"]["closed"])
    again = Account("ns", [obj], now)
    again.book.observe("m", failed, now + 60)
    assert 14_000 == total(again.book)
    again = account.again([obj], now)
    assert 14_000 == total(again.book), "whoever learns from another's memory does not either"


def test_a_part_that_grows_too_large_is_relieved_and_a_crash_between_its_two_writes_changes_nothing() -> None:
    account, models = Account("ns", (), NOON), [f"m{number}" for number in range(8)]
    for model in models:
        account.book.observe(model, [pod(f"{model}-0", model=model)], NOON + 60)
    (before,) = stored(account, NOON + 60)
    for model in models:
        account.book.observe(model, [pod(f"{model}-{n}", model=model) for n in range(1000)], NOON + 120)
    later, *rest = stored(account, NOON + 120)
    assert ["costs-2026-11-25-2", "costs-2026-11-25-1", "costs-2026-11-25-0"] == [
        obj["metadata"]["name"] for obj in (later, *rest)
    ]
    assert max(len(obj["spec"]["open"]) for obj in (later, *rest)) <= 5000
    whole = 1000 * 120
    for written in ([later, *rest], [before, later, rest[0]]):
        again = Account("ns", written, NOON + 120).book
        totals = {model: total(again, model) for model in models if len(again.open_pods(model)) == 1000}
        assert set(totals.values()) == {whole}
        assert sum(total(again, model) for model in set(models) - set(totals)) == 60 * (8 - len(totals))
    assert len(Account("ns", [later, *rest], NOON + 120).book.pods) == 8000


def test_objects_are_made_one_by_one_so_that_ten_thousand_models_do_not_hold_up_others() -> None:
    account = Account("ns", (), NOON)
    for number in range(1000):
        account.book.observe(f"m{number:04}", [pod(f"p{number}", model=f"m{number:04}")], NOON + 60)
    due = account.due(NOON + 60)
    first = next(due)
    assert ("costs-2026-11-25-3", 250) == (first["metadata"]["name"], len(first["spec"]["rows"]))
    assert 3 == len(list(due))


def test_old_days_become_one_cell_but_for_those_that_a_month_may_begin_on() -> None:
    now = at("2026-11-25T12:00")
    account = Account("ns", (), now)
    account.book.observe("m", [pod(start=at("2026-10-31T00:00"))], now)
    before = account.book.spent("m", at("2026-11-01T00:00"), now)
    held = {obj["metadata"]["name"]: obj for obj in stored(account, now)}
    account.tidy(now, ["a"])
    row = account.book.row("m", "USD")
    assert {"2026-10-31", "2026-11-01", *(f"2026-11-{day}" for day in range(17, 26))} == {
        day_name(day) for day in row.days() if len(row.day(day)) > 1
    }
    assert before == account.book.spent("m", at("2026-11-01T00:00"), now)
    changed = [obj["metadata"]["name"] for obj in account.due(now) if account.versioned(obj)]
    assert [f"costs-2026-11-{day:02}-0" for day in range(2, 17)] == changed
    held |= {obj["metadata"]["name"]: obj for obj in stored(account, now)}
    assert before == Account("ns", held.values(), now).book.spent("m", at("2026-11-01T00:00"), now)


@pytest.mark.parametrize(
    ("reason", "spec"),
    [
        ("a day that no calendar has", {"day": "2026-13-45", "shard": 0}),
        (
            "an amount that is no number",
            {"day": "2026-11-25", "shard": 0, "rows": [{**ROW, "quarters": "00:00=x"}]},
        ),
        (
            "a quarter that no day has",
            {"day": "2026-11-25", "shard": 0, "rows": [{**ROW, "quarters": "00:10=1"}]},
        ),
        ("nothing", {}),
    ],
)
def test_a_ledger_that_cannot_be_understood_is_no_empty_one(reason: str, spec: dict[str, Any]) -> None:
    with pytest.raises(UnreadableLedger):
        Account("ns", [{"metadata": {"name": "costs", "resourceVersion": "1"}, "spec": spec}], NOON)


@pytest.mark.parametrize(
    ("reason", "now", "floor", "kept", "start"),
    [
        ("within a month", "2026-11-25T12:00", "2026-10-31", ["2026-10", "2026-11"], "2026-11-01"),
        (
            "a new month in UTC, the old one in Hawaii",
            "2026-11-01T05:00",
            "2026-09-30",
            ["2026-09", "2026-10", "2026-11"],
            "2026-11-01",
        ),
        ("a new year", "2027-01-02T05:00", "2026-12-31", ["2026-12", "2027-01"], "2027-01-01"),
        ("a leap day", "2028-03-02T00:00", "2028-02-29", ["2028-02", "2028-03"], "2028-03-01"),
    ],
)
def test_what_a_month_anywhere_may_reach_back_to_is_kept(
    reason: str, now: str, floor: str, kept: list[str], start: str
) -> None:
    assert floor == day_name(month_floor(at(now))), reason
    assert kept == kept_months(at(now))
    assert at(f"{start}T00:00") == month_start(at(now))


def test_quarters_and_days_have_names_and_back() -> None:
    assert ["00:00", "00:15", "23:45"] == [quarter_name(number) for number in (0, 1, 95)]
    assert list(range(96)) == [quarter_of(quarter_name(number)) for number in range(96)]
    assert "2026-11-25" == day_name(day_of("2026-11-25"))
    assert [False, True, False] == [is_within_months(day_of(f"2026-11-{day}")) for day in ("01", "15", "30")]


def test_a_sum_is_of_whole_quarters() -> None:
    row = Row()
    row.add(NOON, 5)
    row.add(NOON + QUARTER, 7)
    row.add(NOON + DAY, 11)
    assert [12, 5, 7, 23, 11] == [
        row.spent(NOON, NOON + 2 * QUARTER),
        row.spent(NOON, NOON + QUARTER),
        row.spent(NOON + QUARTER, NOON + 2 * QUARTER),
        row.spent(NOON - DAY, NOON + 3 * DAY),
        row.spent(MIDNIGHT, MIDNIGHT + DAY),
    ]


BOUND = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-25T12:00:00Z"}

DISRUPTED = {"type": "DisruptionTarget", "status": "True"}


@pytest.mark.parametrize(
    ("reason", "node", "status", "expected"),
    [
        ("waits for a node", "", {"phase": "Pending"}, None),
        ("waits on a node", "n", {"phase": "Pending", "conditions": [BOUND]}, (NOON, None, False)),
        (
            "was bound by itself",
            "n",
            {"phase": "Running", "startTime": "2026-11-25T12:00:10Z"},
            (NOON + 10, None, False),
        ),
        ("has only just been made", "n", {}, (NOON - 60, None, False)),
        (
            "failed, and says when",
            "n",
            {
                "phase": "Failed",
                "conditions": [BOUND],
                "containerStatuses": [{"state": {"terminated": {"finishedAt": "2026-11-25T13:00:00Z"}}}],
            },
            (NOON, NOON + HOUR, True),
        ),
        (
            "its sidecar ended after its container",
            "n",
            {
                "phase": "Failed",
                "conditions": [BOUND],
                "containerStatuses": [{"state": {"terminated": {"finishedAt": "2026-11-25T12:30:00Z"}}}],
                "initContainerStatuses": [{"state": {"terminated": {"finishedAt": "2026-11-25T13:00:00Z"}}}],
            },
            (NOON, NOON + HOUR, True),
        ),
        (
            "was evicted, and says when by a condition",
            "n",
            {"phase": "Failed", "conditions": [BOUND, {**DISRUPTED, "lastTransitionTime": "2026-11-25T13:00:00Z"}]},
            (NOON, NOON + HOUR, True),
        ),
        ("was refused by its node at once", "n", {"phase": "Failed", "conditions": [BOUND]}, (NOON, NOON, True)),
        ("failed, and says nothing at all", "n", {"phase": "Failed"}, (NOON - 60, None, True)),
    ],
)
def test_a_pod_costs_from_its_binding_until_its_end(
    reason: str, node: str, status: dict[str, Any], expected: tuple[int, int | None, bool] | None
) -> None:
    raw = {
        "metadata": {"uid": "a", "creationTimestamp": "2026-11-25T11:59:00Z"},
        "spec": {"nodeName": node},
        "status": status,
    }
    seen = sighting(raw, "m", ONE)
    assert expected == (seen and (seen.start, seen.end, seen.is_over)), reason
    assert ended_at(raw) == (seen.end if seen else None)
