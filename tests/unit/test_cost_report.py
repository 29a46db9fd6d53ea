"""`kubectl modelward cost`: exact sums, currencies apart, and words for what is missing, old or estimated."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelward_operator.api.period import Period
from modelward_operator.api.timezone import zone
from modelward_operator.ledger.book import Book
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.plugin.cost import Idle, Seen, report
from modelward_operator.plugin.cost_text import page, sheet
from modelward_operator.policies.cost.periods import span_of
from modelward_operator.pricing.facts import Rate

Json = dict[str, Any]
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BEGUN = int((NOW - timedelta(hours=10)).timestamp())
USD = Rate(2_000_000_000, "USD")


def a_model(name: str = "fraud", minimum: int = 1, **status: Any) -> Json:
    scaling = {"minReplicas": minimum, "maxReplicas": 4}
    return {"metadata": {"namespace": "risk", "name": name}, "spec": {"scaling": scaling}, "status": status}


def a_book(*pods: Sighting, now: datetime = NOW) -> Book:
    book = Book()
    for model in {pod.model for pod in pods}:
        book.observe(model, [pod for pod in pods if pod.model == model], int(now.timestamp()))
    return book


def a_pod(uid: str = "u", model: str = "fraud", rate: Rate | None = USD, **more: Any) -> Sighting:
    return Sighting(uid, model, "node-1", BEGUN, rate=rate, **more)


def a_budget(**status: Any) -> Json:
    return {
        "metadata": {"namespace": "risk", "name": "month"},
        "spec": {"limit": "500", "currency": "USD"},
        "status": status,
    }


def told(period: Period = Period.MONTH, **seen: Any) -> Json:
    usual = {"models": [a_model()], "books": {"risk": a_book(a_pod())}, "price_books": [{}]}
    span = span_of(period, zone("UTC"), NOW)
    return report(Seen(**(usual | seen)), period, "UTC", span, NOW)


def test_spent_hourly_and_forecast_are_exact() -> None:
    (row,) = told()["models"]
    assert ("20", "2", 1) == (row["spent"], row["hourly"], row["pods"])
    left = 5 * 24 + 12  # hours until December
    assert str(20 + 2 * left) == row["forecast"]
    (row,) = told(Period.DAY)["models"]
    assert ("20", str(20 + 2 * 12)) == (row["spent"], row["forecast"])


def test_what_was_spent_before_the_period_does_not_count() -> None:
    (row,) = told(Period.HOUR)["models"]
    assert ("0", "2") == (row["spent"], row["forecast"])


def test_currencies_are_never_added_up() -> None:
    found = told(books={"risk": a_book(a_pod(), a_pod("v", rate=Rate(1, "EUR")))})
    assert (
        ["EUR", "USD"] == [row["currency"] for row in found["models"]] == [one["currency"] for one in found["totals"]]
    )
    assert ["0.000000010", "20"] == [
        f"{float(one['spent']):.9f}" if "." in one["spent"] else one["spent"] for one in found["totals"]
    ]


def test_a_deleted_model_is_shown_with_what_it_cost() -> None:
    book = a_book(a_pod("w", "old", end=BEGUN + 3600, is_over=True))
    found = told(books={"risk": book})
    (old,) = (row for row in found["models"] if row["name"] == "old")
    assert (False, "2", "0") == (old["exists"], old["spent"], old["hourly"])
    assert "old (deleted)" in page(found)


def test_a_model_without_any_cost_is_shown_too() -> None:
    found = told(books={})
    assert ("fraud", "", "0") == tuple(found["models"][0][key] for key in ("name", "currency", "spent"))
    assert [] == found["totals"]


def test_pods_that_nobody_charges_for_are_counted_and_cost_no_zero() -> None:
    """Without a PriceBook there are no accounts; a model that runs nothing does cost nothing."""
    idle = {("risk", name): Idle(1200.0) for name in ("fraud", "none")}
    found = told(models=[a_model(replicas=2), a_model("none", replicas=0)], books={}, price_books=[], idle=idle)
    assert [2, 0] == [row["pods"] for row in found["models"]]
    fraud, none = (line.split() for line in page(found).splitlines() if line.startswith("risk"))
    assert ["risk", "fraud", "2", "-", "-", "-", "20", "min", "-"] == fraud
    assert ["risk", "none", "0", "0", "0", "0", "20", "min", "0"] == none


@pytest.mark.parametrize(
    ("reason", "idle", "minimum", "expected"),
    [
        (
            "nobody has called for six hours: all but the first ten minutes",
            Idle(21_600.0),
            1,
            {"seconds": 21_600, "saved": "11.666666667"},
        ),
        ("somebody called just now", Idle(30.0), 1, {"seconds": 30, "saved": "0"}),
        ("it scales to zero by itself", Idle(30.0), 0, None),
        ("nobody was asked", None, 1, None),
        ("a pod did not answer", Idle(silence="forbidden"), 1, {"unknown": "forbidden"}),
    ],
)
def test_what_idle_scaling_would_save(reason: str, idle: Idle | None, minimum: int, expected: Json | None) -> None:
    asked = {("risk", "fraud"): idle} if idle else {}
    found = told(models=[a_model(minimum=minimum)], idle=asked)
    assert expected == found["models"][0].get("idle"), reason
    saved = expected.get("saved", "0") if expected else "0"
    assert saved == found["totals"][0]["savedByIdleScaling"]


def _old() -> Book:
    return a_book(a_pod(), now=NOW - timedelta(minutes=30))


def _estimated() -> Book:
    book = a_book(a_pod(), now=NOW - timedelta(hours=2))
    book.observe("fraud", [], int(NOW.timestamp()))
    return book


@pytest.mark.parametrize(
    ("reason", "seen", "note"),
    [
        ("no price at all", {"price_books": []}, "there is no PriceBook"),
        ("nothing charged", {"books": {}}, "there is no CostLedger in this period"),
        ("a kind is forbidden", {"unread": {"CostBudgets": "no right"}}, "CostBudgets cannot be read: no right"),
        ("the operator is down", {"books": {"risk": _old()}}, "ends 30 minutes ago"),
        (
            "a gap was charged",
            {"books": {"risk": _estimated()}},
            "4 USD were charged for time in which the operator did not look",
        ),
        (
            "a node has no price",
            {"books": {"risk": a_book(a_pod(rate=None))}},
            "no price is known for its pods on node-1",
        ),
        ("the operator says why", {"models": [a_model(cost={"unknown": "PriceMissing: x"})]}, "PriceMissing: x"),
        (
            "a pod was not heard",
            {"idle": {("risk", "fraud"): Idle(silence="timeout")}},
            "has called is not known: timeout",
        ),
        ("a budget was not looked at", {"budgets": [a_budget()]}, "CostBudget risk/month has not been evaluated"),
    ],
)
def test_what_is_not_known_or_not_certain_is_said(reason: str, seen: Json, note: str) -> None:
    found = told(**seen)
    assert any(note in one for one in found["notes"]), (reason, found["notes"])
    assert note in page(found)


def test_nothing_is_noted_where_all_is_known() -> None:
    assert [] == told()["notes"]
    assert "Notes" not in page(told())


def test_budgets_show_what_is_left_and_the_last_action() -> None:
    status = {"limit": "550", "spent": "600.5", "forecast": "700", "lastAction": {"action": "ScaleToFloor"}}
    found = told(budgets=[a_budget(**status)])
    (one,) = found["budgets"]
    assert ("550", "-50.5") == (one["limit"], one["left"]), "the limit with its override"
    for words in ("550.00 USD", "600.50 USD", "-50.50 USD", "ScaleToFloor"):
        assert words in page(found)


def test_the_sheet_has_full_amounts_in_columns() -> None:
    found = told(idle={("risk", "fraud"): Idle(21_600.0)}, books={"risk": a_book(a_pod(rate=Rate(1, "USD")))})
    (row,) = csv.DictReader(io.StringIO(sheet(found)))
    assert ("risk", "fraud", "USD", "0.000000001") == (row["namespace"], row["name"], row["currency"], row["hourly"])
    assert ("0.00000001", "21600") == (row["spent"], row["idleSeconds"])


def test_the_page_is_a_table_with_a_total() -> None:
    lines = page(told()).splitlines()
    assert lines[0].startswith("Month in UTC, 2026-11-01T00:00:00Z to 2026-12-01T00:00:00Z; read ")
    assert ["NAMESPACE", "MODEL", "PODS"] == lines[2].split()[:3]
    assert ["risk", "fraud", "1", "2.00", "USD", "20.00", "USD", "284.00", "USD", "-", "-"] == lines[3].split()
    assert ["TOTAL", "2.00", "USD", "20.00", "USD", "284.00", "USD", "0.00", "USD"] == lines[4].split()
