"""Money for the cases of costs: a PriceBook by which minutes matter, budgets, and what the ledger comes to.

Each replica of a case requests 20 thousandths of a core, so that it costs `REPLICA` USD per hour.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from e2e.cases.case import Case
from e2e.cases.kube import Object

API: Final = "modelward.dev/v1alpha1"
PER_CORE: Final = 18_000
REPLICA: Final = 360
BOOK: Final = "cost-case"


def price_book() -> Object:
    """A core costs a fortune on every node."""
    spec = {"currency": "USD", "nodes": [{"name": "any", "price": {"cpu": str(PER_CORE)}}]}
    return {"apiVersion": API, "kind": "PriceBook", "metadata": {"name": BOOK}, "spec": spec}


def cost_budget(name: str, **spec: Any) -> Object:
    """A budget in USD over every model of its namespace."""
    return {"apiVersion": API, "kind": "CostBudget", "metadata": {"name": name}, "spec": {"currency": "USD", **spec}}


def budget(case: Case, name: str) -> Object:
    """Return the live budget."""
    return case.kube.find("CostBudget", name, case.namespace)


def ledger(case: Case) -> float:
    """Return the sum of every row of the namespace."""
    rows = [row for shard in case.kube.list("CostLedger", case.namespace) for row in shard["spec"].get("rows", [])]
    cells = (cell for row in rows for cell in row["quarters"].split())  # "13:45=765000000 14:00=765000000"
    return sum(int(cell.partition("=")[2]) for cell in cells) / 10**9


def longest_day(now: datetime) -> tuple[str, float]:
    """Return a time zone whose day goes on for at least eight hours, and for how many."""
    left = {zone: _day_left(zone, now) / timedelta(hours=1) for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles")}
    zone = max(left, key=lambda name: left[name])
    return zone, left[zone]


def _day_left(zone: str, now: datetime) -> timedelta:
    local = now.astimezone(ZoneInfo(zone))
    midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), ZoneInfo(zone))
    return midnight.astimezone(UTC) - now.astimezone(UTC)
