"""A budget on a real cluster: it clamps before the money is gone, keeps the floor, recovers in the next period, and its ledger is right.

Money is made to matter within minutes: a core costs 18000 USD per hour. An hour is the shortest period, so the case takes the time zone
whose hour ends next (zones are 30 and 45 minutes apart too), and lets a model that is then deleted burn what the hour so far would have
cost.

    burner, 3600 USD/h   ████████████ deleted: what it burnt stays spent
    scorer,  360 USD/h               ███ ██ █ █ █ █ █ █ │ ███        asks for 3; 1 is the floor
                                     ▲ burst  ▲ floor   │ next hour
"""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from e2e.cases.case import Case
from e2e.cases.kube import wait
from e2e.cases.money import PER_CORE, budget, cost_budget, ledger
from e2e.cases.money import REPLICA as SCORER
from e2e.cases.pod_bill import PodBill

pytestmark = pytest.mark.scaling
LIMIT = 396
"""A replica for the whole hour, and a tenth of that to burn."""
ZONES = ("UTC", "Asia/Kathmandu", "Asia/Kolkata")
"""Their hours end at the full, at a quarter past, and at half past."""
NEEDED = timedelta(minutes=12)
"""What the case does before the hour ends."""
SPARE = 40
"""What is left above the floor when the burner is told to go, which burns a dollar a second until it has: some minutes of more replicas."""


def hour_ends(zone: str, now: datetime) -> datetime:
    """Return when the present hour ends in a zone."""
    local = now.astimezone(ZoneInfo(zone))
    passed = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return now + timedelta(hours=1) - passed


def replicas(case: Case) -> int:
    """Return what the scorer's Deployment asks for, -1 while there is none."""
    return int(case.kube.find("Deployment", "scorer", case.namespace).get("spec", {}).get("replicas", -1))


def scale(case: Case, count: int, within: float) -> None:
    """Wait until the budget lets the scorer have so many replicas."""
    wait(
        f"{count} replicas",
        lambda: replicas(case) == count,
        within=within,
        last=lambda: case.told("scorer"),
    )


@pytest.mark.timeout(3600)
def test_the_budget_clamps_keeps_the_floor_and_recovers_while_the_ledger_agrees_with_the_pods(priced: Case) -> None:
    case, now = priced, datetime.now(UTC)
    ends, zone = min((end, zone) for zone in ZONES if (end := hour_ends(zone, now)) - now > NEEDED)
    print(f"the hour of {zone} ends at {ends:%H:%M} UTC")
    case.apply(cost_budget("hourly", limit=str(LIMIT), period="Hour", timeZone=zone, burnWindowSeconds=60))
    with PodBill(case.kube, case.namespace, PER_CORE) as bill:
        burn(case, bill, ends)
        case.apply(case.model_service(name="scorer", scaling={"replicas": 3}))
        scale(case, 3, within=60)
        case.wait_condition("scorer", "WithinBudget", "False", "BudgetClamped", "CostBudget hourly", within=300)
        scale(case, 1, within=180)
        case.wait_condition("scorer", "WithinBudget", "False", "BudgetAtFloor", "CostBudget hourly")
        case.wait_ready("scorer")
        wait(
            "ScaleToFloor is told",
            lambda: budget(case, "hourly")["status"]["lastAction"]["action"] == "ScaleToFloor",
            within=30,
        )
        while datetime.now(UTC) < ends - timedelta(seconds=2):
            assert replicas(case) == 1, case.told("scorer")
            time.sleep(1)
        spent = float(budget(case, "hourly")["status"]["spent"])
        assert spent <= LIMIT * 1.01

        scale(case, 3, within=45)
        wait("a new period", lambda: float(budget(case, "hourly")["status"]["spent"]) < spent / 2, within=30)
        case.kube.delete("ModelDeployment", "scorer", case.namespace)
        case.wait_pods(0, "scorer")
        seen = bill.total()
    wait(
        f"the ledger comes to {seen:.2f} USD, within 1 %",
        lambda: abs(ledger(case) - seen) <= seen / 100,
        within=90,  # it is written once a minute
        last=lambda: f"{ledger(case):.2f} USD",
    )


def burn(case: Case, bill: PodBill, ends: datetime) -> None:
    """Let a model burn what leaves `SPARE` above the floor until the hour ends, and delete it: what it spent stays spent."""
    dear = {"requests": {"cpu": "200m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
    case.apply(case.model_service(name="burner", resources=dear))

    def is_enough() -> bool:
        floor = (ends - datetime.now(UTC)).total_seconds() * SCORER / 3600
        return LIMIT - bill.total() <= floor + SPARE

    wait("the burner has burnt enough", is_enough, within=600, last=lambda: f"{bill.total():.2f} USD")
    case.kube.delete("ModelDeployment", "burner", case.namespace)
    case.wait_pods(0, "burner")


def test_a_budget_whose_time_zone_does_not_exist_says_so_and_lets_nothing_grow(case: Case) -> None:
    case.serve(scaling={"replicas": 1})
    case.apply(cost_budget("lost", limit="1", timeZone="Mars/Olympus"))
    case.change({"scaling": {"replicas": 2}})
    case.wait_condition("scorer", "WithinBudget", "False", "BudgetInvalid", "there is no time zone Mars/Olympus")
    assert len(case.pods()) == 1
