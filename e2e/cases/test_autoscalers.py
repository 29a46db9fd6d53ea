"""Autoscalers of others, the real ones: a HorizontalPodAutoscaler with metrics-server, and KEDA; and the way from one to another.

The first case needs a cluster without KEDA; the others install it for themselves, so their order is that of this file.
"""

import time
from collections.abc import Callable
from typing import Final

import pytest

from e2e.cases import reactions
from e2e.cases.case import PATIENCE, Case
from e2e.cases.crowd import Crowd, gather
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.replicas import Replicas
from e2e.cases.scalers import (
    HPA,
    MOST,
    NOTHING,
    PAUSED,
    SLOW,
    annotations,
    by_keda,
    is_paused,
    replicas,
    scaling,
    wait_replicas,
)

pytestmark = [pytest.mark.scaling, pytest.mark.timeout(600)]

ROUNDS: Final = 3
IDLE: Object = {"autoscaler": "None", "replicas": 1}
FORCED: Final = "autoscaling.keda.sh/force-activation"
BY_LOAD: Object = {"autoscaler": "Concurrency", "minReplicas": 1, "maxReplicas": MOST, "targetConcurrency": "2"}


def test_a_model_that_wants_keda_serves_without_it_and_is_taken_over_when_it_comes(
    case: Case, request: pytest.FixtureRequest
) -> None:
    case.serve()
    crowd = gather(case, NAME)
    crowd.become(6)
    scaling(case, by_keda(crowd))
    case.wait_condition(NAME, "Autoscaling", "False", "KedaNotInstalled", "1 replicas stand")
    case.wait_ready()
    request.getfixturevalue("keda")
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", "wants 3 of 1 to 3", within=SLOW)
    wait_replicas(case, MOST)
    case.wait_ready()


def test_hpa_scales_on_cpu_and_is_suspended_at_zero(case: Case, metrics: None) -> None:
    case.serve(scaling=HPA)
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", "wants 1 of 1 to 3", within=SLOW)
    crowd = gather(case, NAME)
    crowd.become(8)
    wait_replicas(case, MOST)
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", "wants 3 of 1 to 3")
    case.change({"suspend": True})
    case.wait_condition(NAME, "Ready", "False", "Suspended")
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerPaused")
    case.wait_pods(0)
    with Replicas(case.namespace, NAME) as seen:
        case.change({"suspend": None})
        case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", within=SLOW)
        wait_replicas(case, MOST)
    assert seen.numbers == {0, MOST}, "it has its number back at once"


def test_keda_scales_by_its_trigger_and_is_paused_while_suspended(case: Case, keda: None) -> None:
    case.serve()
    crowd = gather(case, NAME)
    scaling(case, by_keda(crowd))
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", "wants 1 of 1 to 3", within=SLOW)
    crowd.become(6)
    wait_replicas(case, MOST)
    case.change({"suspend": True})
    case.wait_condition(NAME, "Ready", "False", "Suspended")
    case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerPaused")
    case.wait_pods(0)
    wait("KEDA has paused it", lambda: is_paused(case), within=PATIENCE)
    assert annotations(case)[PAUSED] == "0"
    assert replicas(case) == 0, "its trigger still asks for three"
    with Replicas(case.namespace, NAME) as seen:
        case.change({"suspend": None})
        case.wait_condition(NAME, "Autoscaling", "True", "AutoscalerActive", within=SLOW)
        wait_replicas(case, MOST)
    assert seen.numbers == {0, MOST}, "it has its number back at once"
    assert PAUSED not in annotations(case)


def test_a_request_wakes_what_keda_took_to_zero(case: Case, keda: None) -> None:
    never = {"timezone": "UTC", "start": "0 0 1 1 *", "end": "1 0 1 1 *", "desiredReplicas": "1"}
    triggers = {"triggers": [{"type": "cron", "metadata": never}], "pollingSeconds": 2, "cooldownSeconds": 5}
    case.serve(scaling={"autoscaler": "KEDA", "minReplicas": 0, "maxReplicas": MOST, "keda": triggers})
    crowd = gather(case, NAME)
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero", within=SLOW)
    case.wait_pods(0)
    crowd.become(1)
    wait("it is answered", lambda: crowd.told()["counts"].get("answered", 0) > 0, within=PATIENCE)
    crowd.become(0)
    assert crowd.told()["failures"] == []
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero", within=SLOW)
    wait("KEDA counts alone again", lambda: not {FORCED} & annotations(case).keys(), within=30)


def test_replicas_stand_on_the_way_from_one_autoscaler_to_the_next(case: Case, metrics: None, keda: None) -> None:
    crowd = gather(case, NAME)
    concurrency: Object = {"autoscaler": "Concurrency", "minReplicas": MOST, "maxReplicas": 5, "scaleDownSeconds": 3600}
    case.serve(scaling=concurrency)
    wait_replicas(case, MOST)
    crowd.become(6)
    with Replicas(case.namespace, NAME) as seen:
        for step, condition in (
            (HPA, ("True", "AutoscalerActive", "HorizontalPodAutoscaler")),
            (by_keda(crowd), ("True", "AutoscalerActive", "ScaledObject")),
            ({"autoscaler": "None", "replicas": MOST}, ("", "", "")),
            (by_keda(crowd), ("True", "AutoscalerActive", "ScaledObject")),
            (HPA, ("True", "AutoscalerActive", "HorizontalPodAutoscaler")),
            (concurrency, ("", "", "")),
        ):
            scaling(case, step)
            if condition[0]:
                case.wait_condition(NAME, "Autoscaling", *condition, within=SLOW)
            case.wait_ready()
            _wait_alone(case, step)
            wait_replicas(case, MOST)
    assert seen.numbers == {MOST}
    assert {number for _, number in seen.ready} == {MOST}, "no pod was ended"
    said = crowd.told()
    assert (said["counts"].get("failed", 0), said["failures"]) == (0, [])


def _wait_alone(case: Case, step: Object) -> None:
    wait("only the chosen one is there", lambda: _in_charge(case) == _chosen(step), within=SLOW)


def _in_charge(case: Case) -> set[str]:
    kinds = ("HorizontalPodAutoscaler", "ScaledObject")
    return {f"{kind} {one['metadata']['name']}" for kind in kinds for one in case.kube.list(kind, case.namespace)}


def _chosen(step: Object) -> set[str]:
    hpa = "HorizontalPodAutoscaler"
    kedas = {f"ScaledObject {NAME}", f"{hpa} keda-hpa-{NAME}"}
    return {"HPA": {f"{hpa} {NAME}"}, "KEDA": kedas}.get(step["autoscaler"], set())


@pytest.mark.timeout(1200)
def test_reaction_times_of_each_autoscaler_to_the_same_load(case: Case, metrics: None, keda: None) -> None:
    """One replica, nobody calls; then twelve call at once. Measured from there: three are asked for, three are ready.

    Each round has a model of its own: an HPA that comes back under its name remembers what it wanted before.
    """
    ways: dict[str, tuple[Callable[[Crowd], Object], str]] = {
        "Concurrency": (lambda _: BY_LOAD, "is wanted"),
        "KEDA": (by_keda, "wants 1 of"),
        "HPA": (lambda _: HPA, "wants 1 of"),
    }
    rows = [
        reactions.Row(name, [_react(case, f"{name.lower()}-{n}", *way) for n in range(ROUNDS)])
        for name, way in ways.items()
    ]
    print(reactions.write(rows))
    concurrency, *others = (row.median("decided") for row in rows)
    assert concurrency < min(others), "it needs nobody's clock"


def _react(case: Case, name: str, way: Callable[[Crowd], Object], idle: str) -> reactions.Reaction:
    """Let the load come upon a model that its autoscaler has found idle."""
    case.serve(name=name, scaling=IDLE)
    crowd = gather(case, name)
    case.change({"scaling": NOTHING | way(crowd)}, name)
    case.wait_condition(name, "Autoscaling", "True", text=idle, within=SLOW)
    with Replicas(case.namespace, name) as seen:
        begun = time.monotonic()
        crowd.become(12)
        wait(f"{MOST} are ready", lambda: seen.ready and seen.ready[-1][1] == MOST, within=SLOW)
        decided, ready = (seen.first(which, MOST, begun) for which in (seen.asked, seen.ready))
    case.kube.delete("ModelDeployment", name, case.namespace)
    case.kube.delete("Pod", f"crowd-{name}", case.namespace)
    case.wait_pods(0, name)
    assert decided is not None
    assert ready is not None
    return reactions.Reaction(decided, ready)
