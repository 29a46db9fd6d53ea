"""A budget over a model whose replicas an autoscaler of others sets: it is told a smaller maximum, and stopped where nothing may run.

limit = what a replica costs until the day ends, and an hour and a half of another to burn within an hour

load wants 3 ─▶ told at most 2 ─▶ the limit is cut: 0, paused ─▶ the limit is back: 2 again, at once
"""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from e2e.cases.case import PATIENCE, Case
from e2e.cases.crowd import Crowd, gather
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.money import REPLICA, cost_budget, longest_day
from e2e.cases.replicas import Replicas
from e2e.cases.scalers import HPA, MOST, PAUSED, SLOW, annotations, by_keda, is_paused, replicas, scaling, wait_replicas

pytestmark = [pytest.mark.scaling, pytest.mark.timeout(900), pytest.mark.usefixtures("metrics", "keda")]
CLAMPED = 2


@pytest.mark.parametrize("way", [lambda _: HPA, by_keda], ids=["HPA", "KEDA"])
def test_a_budget_bounds_an_autoscaler_of_others_and_stops_it(priced: Case, way: Callable[[Crowd], Object]) -> None:
    case = priced
    case.serve()
    crowd = gather(case, NAME)
    chosen = way(crowd)
    scaling(case, chosen)
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", f"wants 1 of 1 to {MOST}", within=SLOW)

    zone, hours = longest_day(datetime.now(UTC))
    limit = str(round(REPLICA * (hours + 1.5), 2))
    case.apply(cost_budget("day", limit=limit, period="Day", timeZone=zone))
    wait("it is told the smaller maximum", lambda: _most(case) == CLAMPED, within=60, last=case.told)
    crowd.become(12)
    wait_replicas(case, CLAMPED)
    case.wait_condition(NAME, "WithinBudget", "False", "BudgetClamped", "CostBudget day", within=SLOW)
    case.wait_condition(
        NAME, "Autoscaling", "True", "AutoscalerActive", f"wants {CLAMPED} of 1 to {CLAMPED}", within=SLOW
    )
    assert replicas(case) == CLAMPED

    with Replicas(case.namespace, NAME) as seen:
        for rung in ("ScaleToZero", "Suspend"):
            _change(case, limit="1", onExceeded=rung, allowBelowFloor=True)
            case.wait_condition(NAME, "WithinBudget", "False", "BudgetExceeded", "CostBudget day")
            case.wait_condition(NAME, "Ready", "False", "BudgetExceeded")
            case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerPaused")
            case.wait_pods(0)
            if chosen["autoscaler"] == "KEDA":
                wait("KEDA has paused it", lambda: is_paused(case), within=PATIENCE)
                assert annotations(case)[PAUSED] == "0"
            assert replicas(case) == 0, "the load still asks for more"
        _change(case, limit=limit, onExceeded=None, allowBelowFloor=None)
        case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", within=SLOW)
        wait_replicas(case, CLAMPED)
    assert seen.numbers == {0, CLAMPED}, "it has its number back at once, and never more than it may have"
    assert PAUSED not in annotations(case)


def _change(case: Case, **spec: object) -> None:
    case.kube.patch("CostBudget", "day", {"spec": spec}, case.namespace)


def _most(case: Case) -> int:
    """Return what the autoscaler is told that it may ask for: of KEDA, what KEDA tells its HPA."""
    found = case.kube.list("HorizontalPodAutoscaler", case.namespace)
    return int(found[0]["spec"]["maxReplicas"]) if found else 0
