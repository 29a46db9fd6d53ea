"""`kubectl modelward cost` as a user runs it, on a cluster where money is spent: the table, JSON and CSV, beside the ledger."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.kube import wait
from e2e.cases.manifests import NAME
from e2e.cases.money import REPLICA, budget, cost_budget, ledger

pytestmark = [pytest.mark.scaling, pytest.mark.timeout(600)]
LIMIT = 1_000_000


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubectl finds `kubectl-modelward` where this Python's commands are."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def cost(case: Case, *arguments: str) -> str:
    return case.kube.kubectl("modelward", "cost", "-n", case.namespace, *arguments)


def told(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cost(case, "--json"))
    return found


def test_the_command_tells_what_the_ledger_has_and_asks_pods_how_long_nobody_has_called(priced: Case) -> None:
    case = priced
    case.apply(cost_budget("month", limit=str(LIMIT)))
    case.serve()
    assert add(case.service_address()) > 0
    wait("the ledger is written", lambda: ledger(case) > 0, within=150)
    wait("the budget was evaluated", lambda: budget(case, "month").get("status", {}).get("spent"), within=90)

    before, found, after = ledger(case), told(case), ledger(case)
    (row,) = found["models"]
    assert (row["name"], row["currency"], row["pods"], row["exists"]) == (NAME, "USD", 1, True)
    assert before <= float(row["spent"]) <= after
    assert float(row["hourly"]) == REPLICA
    assert float(row["forecast"]) > float(row["spent"])
    assert 0 <= row["idle"]["seconds"] < 600, "the pod has said it, over the port that kubectl forwards"
    (named,) = found["budgets"]
    assert ("month", "Month", str(LIMIT)) == (named["name"], named["period"], named["limit"])
    assert abs(float(named["limit"]) - float(named["spent"]) - float(named["left"])) < 1e-6
    assert found["notes"] == []

    page = cost(case, "--no-idle")
    assert f"{REPLICA:.2f} USD" in page
    assert "1,000,000.00 USD" in page

    case.kube.delete("ModelDeployment", NAME, case.namespace)
    case.wait_pods(0)
    wait("the ledger has nobody who still runs", lambda: float(told(case)["totals"][0]["hourly"]) == 0, within=150)
    (line,) = csv.DictReader(io.StringIO(cost(case, "--csv")))
    assert (line["name"], line["exists"], line["pods"]) == (NAME, "False", "0")
    assert float(line["spent"]) == pytest.approx(ledger(case), abs=1e-8), "deleting the model does not reset it"
    assert f"{NAME} (deleted)" in cost(case)
