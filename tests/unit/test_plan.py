"""What the plan decides: replicas, strategy, image; the goldens show the rest."""

from datetime import timedelta

import pytest

from modelward_operator.facts import Json
from modelward_operator.plan import names
from modelward_operator.plan.image import image_of
from modelward_operator.plan.rollout import Strategy, strategy_in_use
from tests.makers import INSTALLATION, NOW, drawn, live_deployment, make_given, make_pod, parsed

GPU = {"accelerator": {"resourceName": "nvidia.com/gpu", "count": 1}}
EXTERNAL = {"scaling": {"autoscaler": "External"}}


def replicas(spec: Json, **live: object) -> tuple[object, int | None]:
    children = (live_deployment(make_given(spec), **live),) if live else ()  # type: ignore[arg-type]
    plan = drawn(make_given(spec, children=children))
    return plan.find("Deployment")["spec"].get("replicas", "left out"), plan.handover_replicas


def test_one_replica_by_default() -> None:
    assert replicas({}) == (1, None)


def test_an_external_autoscaler_owns_the_number_until_scale_of_the_model_sets_it() -> None:
    assert replicas(EXTERNAL) == ("left out", 1)
    assert replicas(EXTERNAL, replicas=7) == ("left out", 7)
    assert replicas({"scaling": {"autoscaler": "External", "replicas": 3}}, replicas=7) == (3, None)


def test_suspending_remembers_an_external_autoscalers_number_and_gives_it_back() -> None:
    suspended = {**EXTERNAL, "suspend": True}
    plan = drawn(make_given(suspended, children=(live_deployment(make_given(EXTERNAL), replicas=7),)))
    workload = plan.find("Deployment")
    assert workload["spec"]["replicas"] == 0
    assert workload["metadata"]["annotations"][names.HELD_REPLICAS] == "7"
    held = live_deployment(make_given(suspended), replicas=0, annotations={names.HELD_REPLICAS: "7"})
    resumed = drawn(make_given(EXTERNAL, children=(held,)))
    assert resumed.handover_replicas == 7
    assert names.HELD_REPLICAS not in resumed.find("Deployment")["metadata"]["annotations"]


@pytest.mark.parametrize("edited", ["many", "", "-3", "1e9", "99999999999"])
def test_a_remembered_number_that_is_none_counts_as_one(edited: str) -> None:
    held = live_deployment(make_given(EXTERNAL), replicas=0, annotations={names.HELD_REPLICAS: edited})
    assert drawn(make_given(EXTERNAL, children=(held,))).handover_replicas == 1


def test_staying_suspended_does_not_forget_the_number() -> None:
    suspended = {**EXTERNAL, "suspend": True}
    held = live_deployment(make_given(suspended), replicas=0, annotations={names.HELD_REPLICAS: "7"})
    again = drawn(make_given(suspended, children=(held,)))
    assert again.find("Deployment")["metadata"]["annotations"][names.HELD_REPLICAS] == "7"


@pytest.mark.parametrize(("count", "budgets"), [(0, 0), (1, 0), (2, 1), (5, 1)])
def test_a_disruption_budget_exists_from_two_replicas_on(count: int, budgets: int) -> None:
    plan = drawn(make_given({"scaling": {"replicas": count}}))
    assert sum(o["kind"] == "PodDisruptionBudget" for o in plan.objects) == budgets


def test_upgrading_the_operator_keeps_the_image_until_the_spec_changes() -> None:
    live, status = live_deployment(make_given()), {"effective": {"image": "runtime:old"}}
    given = make_given(children=(live,), status=status)
    assert image_of(drawn(given).find("Deployment")) == "runtime:old"
    changed = make_given({"runtime": {"threads": 2}}, children=(live,), status=status)
    assert image_of(drawn(changed).find("Deployment")) == INSTALLATION.runtime_image


def test_an_image_set_by_hand_is_put_back() -> None:
    live = live_deployment(make_given())
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "runtime:by-hand"
    known = make_given(children=(live,), status={"effective": {"image": "runtime:old"}})
    assert image_of(drawn(known).find("Deployment")) == "runtime:old"


OURS = INSTALLATION.runtime_image.rpartition(":")[0]


@pytest.mark.parametrize(
    ("reason", "image", "expected"),
    [
        ("an earlier release of ours stays", f"{OURS}:0.9", f"{OURS}:0.9"),
        ("by its digest as well", f"{OURS}@sha256:{'0' * 64}", f"{OURS}@sha256:{'0' * 64}"),
        ("one that a stranger put there does not", "elsewhere.example/runtime:1", INSTALLATION.runtime_image),
        ("nor one of ours in name only", f"elsewhere.example/{OURS}:1", INSTALLATION.runtime_image),
        ("nor one beside ours", f"{OURS}-evil:1", INSTALLATION.runtime_image),
    ],
)
def test_without_a_status_a_deployment_is_believed_that_says_an_image_of_ours(
    reason: str, image: str, expected: str
) -> None:
    """As after a restore, or where the Deployment is older than the model: who made it may have known which model would come."""
    live = live_deployment(make_given())
    live["spec"]["template"]["spec"]["containers"][0]["image"] = image
    assert expected == image_of(drawn(make_given(children=(live,))).find("Deployment")), reason


def test_scaling_and_opening_the_endpoint_roll_nothing() -> None:
    quiet = {"scaling": {"replicas": 5}, "security": {"networkPolicy": {"allowFrom": [{"namespace": "shop"}]}}}
    templates = [drawn(make_given(spec)).find("Deployment")["spec"]["template"] for spec in ({}, quiet)]
    assert templates[0] == templates[1]


def waiting_for_gpu(seconds: int) -> Json:
    return {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "lastTransitionTime": (NOW - timedelta(seconds=seconds)).isoformat(),
    }


@pytest.mark.parametrize(
    ("reason", "spec", "pods", "strategy"),
    [
        ("without an accelerator Auto surges", {}, [29, None], Strategy.SURGE),
        ("a little patience first", GPU, [29, None], Strategy.SURGE),
        ("an old pod holds the GPU that the new one waits for", GPU, [30, None], Strategy.IN_PLACE),
        ("nothing runs, so there is nothing to replace in place", GPU, [300], Strategy.SURGE),
        ("asked for by name", {**GPU, "rollout": {"strategy": "Recreate"}}, [300, None], Strategy.RECREATE),
        ("asked for by name", {**GPU, "rollout": {"strategy": "RollingUpdate"}}, [300, None], Strategy.SURGE),
    ],
)
def test_strategy(reason: str, spec: Json, pods: list[int | None], strategy: Strategy) -> None:
    made = tuple(
        make_pod(f"p{n}", is_ready=True)
        if wait is None
        else make_pod(f"p{n}", state={}, conditions=(waiting_for_gpu(wait),))
        for n, wait in enumerate(pods)
    )
    given = make_given(spec, pods=made)
    assert strategy_in_use(given, parsed(given)) is strategy, reason


def test_a_pod_behind_a_scheduling_gate_waits_for_no_accelerator() -> None:
    """The API server gives that condition no time."""
    gate = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastTransitionTime": None}
    for condition in (gate, {**waiting_for_gpu(300), "lastTransitionTime": None}):
        given = make_given(GPU, pods=(make_pod("p0", state={}, conditions=(condition,)), make_pod("p1", is_ready=True)))
        assert strategy_in_use(given, parsed(given)) is Strategy.SURGE


def test_a_pod_that_is_over_holds_no_accelerator() -> None:
    waiting = make_pod("p0", state={}, conditions=(waiting_for_gpu(300),))
    given = make_given(GPU, pods=(waiting, make_pod("p1", state={}, phase="Failed", reason="Evicted")))
    assert strategy_in_use(given, parsed(given)) is Strategy.SURGE


def test_in_place_stays_until_the_rollout_is_complete() -> None:
    in_place = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    done = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    for status, expected in ((None, Strategy.IN_PLACE), (done, Strategy.SURGE)):
        given = make_given(GPU, children=(live_deployment(make_given(GPU), strategy=in_place, status=status),))
        assert strategy_in_use(given, parsed(given)) is expected
