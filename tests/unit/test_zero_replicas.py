"""A model that may have no pods, in the plan and in the status: what is held back, what is opened, and what is said."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelward_operator.facts import Activator, Allowance, Applied, Cost, Demand, Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.activation import SETTLE, needs_activator, standing_of
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule
from modelward_operator.rulings import Bounds, Ruling
from modelward_operator.status.summarise import look_again_after, summarise
from tests.makers import INSTALLATION, NOW, drawn, live_deployment, make_given, parsed

ZERO: dict[str, Any] = {"scaling": {"minReplicas": 0, "maxReplicas": 3}}
PORTS, PODS = (20000, 20001), ("192.0.2.1", "192.0.2.2")


def slice_of(*addresses: str, ours: bool = False, is_ready: bool = True, joined_at: str | None = None) -> Json:
    """An EndpointSlice of the model's Service: the cluster's own, or the activator's."""
    writer = names.MANAGER if ours else "endpointslice-controller.k8s.io"
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": "fraud-activator" if ours else "fraud-x1",
            "labels": {names.SERVICE_NAME: "fraud", names.SLICE_MANAGED_BY: writer},
            "annotations": {} if joined_at is None else {names.JOINED: joined_at},
        },
        "endpoints": [{"addresses": [address], "conditions": {"ready": is_ready}} for address in addresses] or None,
    }


def joined(*addresses: str, ago: timedelta) -> Json:
    return slice_of(*addresses, ours=True, joined_at=(NOW - ago).isoformat())


def zero(
    *children: Json, wanted: int = 0, replicas: int = 1, pods: tuple[str, ...] = PODS, spec: Json | None = None
) -> Given:
    """Facts about a model for which the load asks for `wanted` replicas."""
    given = make_given({**ZERO, **(spec or {})})
    given = replace(given, activator=Activator(PORTS, pods), demand=Demand(wanted, "the test", NOW))
    return replace(given, children=(live_deployment(given, replicas=replicas), *children))


def told(given: Given, ruling: Ruling | None = None) -> dict[str, tuple[str, str, str]]:
    spec = parsed(given)
    ruling = ruling or rule(given, spec)
    status = summarise(given, spec, ruling, draw(given, spec, ruling), Applied())
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}


def replicas(given: Given) -> int:
    return int(drawn(given).find("Deployment")["spec"]["replicas"])


@pytest.mark.parametrize(
    ("reason", "given", "expected"),
    [
        ("pods serve and are wanted", zero(slice_of("192.0.2.9"), wanted=2), (2, [])),
        ("the activator joins first", zero(slice_of("192.0.2.9")), (1, list(PODS))),
        ("not long enough", zero(slice_of("192.0.2.9"), joined(*PODS, ago=SETTLE / 2)), (1, list(PODS))),
        ("long enough", zero(slice_of("192.0.2.9"), joined(*PODS, ago=SETTLE)), (0, list(PODS))),
        ("one joined late", zero(slice_of("192.0.2.9"), joined(PODS[0], ago=SETTLE)), (1, list(PODS))),
        ("nobody could take over", zero(slice_of("192.0.2.9"), pods=()), (1, [])),
        ("of three one stays meanwhile", zero(slice_of("192.0.2.9"), replicas=3), (1, list(PODS))),
        ("at zero", zero(joined(*PODS, ago=SETTLE), replicas=0), (0, list(PODS))),
        ("woken, no pod is ready", zero(slice_of("192.0.2.9", is_ready=False), wanted=1, replicas=0), (1, list(PODS))),
        ("suspended: at once", zero(slice_of("192.0.2.9"), spec={"suspend": True}), (0, list(PODS))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_is_behind_the_service_and_how_many_pods_there_are(reason: str, given: Given, expected: Any) -> None:
    planned = drawn(given).find("EndpointSlice")
    addresses = [address for endpoint in planned.get("endpoints", ()) for address in endpoint["addresses"]]
    assert expected == (replicas(given), addresses), reason


def test_the_pass_comes_back_when_the_time_is_over() -> None:
    given = zero(slice_of("192.0.2.9"), joined(*PODS, ago=timedelta(seconds=2)))
    plan = drawn(given)
    assert plan.again == pytest.approx(3.0)
    assert look_again_after(given, {"conditions": []}, Applied(), plan.again) == pytest.approx(3.0)


def test_a_model_that_no_longer_goes_to_zero_keeps_the_activator_until_a_pod_has_come() -> None:
    kept = {"scaling": {"minReplicas": 1, "maxReplicas": 3}}
    waiting = zero(joined(*PODS, ago=SETTLE), wanted=1, replicas=0, spec=kept)
    assert drawn(waiting).route is not None
    served = replace(waiting, children=(*waiting.children, slice_of("192.0.2.9")))
    assert not needs_activator(served, parsed(served))
    assert (None, {}) == (drawn(served).route, drawn(served).find("EndpointSlice"))


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-25T12:00:00", "9999-01-01T00:00:00Z"])
def test_a_time_that_a_hand_wrote_ends_no_pod(text: str) -> None:
    given = zero(slice_of("192.0.2.9"), slice_of(*PODS, ours=True, joined_at=text))
    assert replicas(given) == 1


def test_the_services_own_slice_counts_and_ours_does_not() -> None:
    given = zero(joined(*PODS, ago=SETTLE))
    assert not standing_of(given).is_served
    unsaid = slice_of("192.0.2.9")
    unsaid["endpoints"][0]["conditions"].pop("ready")
    assert standing_of(replace(given, children=(*given.children, unsaid))).is_served, "absent means ready"


def test_at_zero_ready_says_whether_a_call_would_be_taken() -> None:
    rest = zero(joined(*PODS, ago=SETTLE), replicas=0)
    assert told(rest)["Ready"][:2] == ("True", "ScaledToZero")
    nobody = zero(replicas=0, pods=())
    assert told(nobody)["Ready"][:2] == ("False", "ActivatorUnavailable")
    suspended = zero(joined(*PODS, ago=SETTLE), replicas=0, spec={"suspend": True})
    assert told(suspended)["Ready"][:2] == ("False", "Suspended")


def test_what_a_budget_keeps_at_zero_is_not_ready_and_not_woken() -> None:
    given = zero(joined(*PODS, ago=SETTLE), wanted=1, replicas=0)
    allowance = Allowance("team", 0, reason="BudgetExceeded", message="budget team: 500 of 500 USD until December")
    given = replace(given, cost=Cost(allowances=(allowance,)))
    spec = parsed(given)
    ruling = rule(given, spec) & Ruling(replicas=Bounds(0, 0))
    plan = draw(given, spec, ruling)
    assert plan.route is not None
    assert (False, "BudgetExceeded") == (plan.route.body["wake"], plan.route.body["refusal"]["reason"])
    assert plan.find("Deployment")["spec"]["replicas"] == 0
    assert told(given, ruling)["Ready"][:2] == ("False", "BudgetExceeded")


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        (
            "ActivatorDisabled",
            replace(zero(replicas=0, pods=()), installation=replace(INSTALLATION, has_activator=False)),
        ),
        ("ActivatorPortsExhausted", replace(zero(slice_of("192.0.2.9")), activator=Activator())),
    ],
)
def test_a_model_that_nobody_could_take_calls_for_keeps_one_replica_and_says_so(reason: str, given: Given) -> None:
    assert replicas(given) == 1
    assert drawn(given).route is None
    assert told(given)["Autoscaling"][:2] == ("False", reason)
    assert told(given)["Ready"][1] != reason, "it serves all the same"


def test_only_a_model_that_may_be_at_zero_opens_itself_to_the_activator() -> None:
    for given, count in ((zero(), 1), (make_given(), 0)):
        plan = drawn(given)
        opened = [rule for rule in plan.find("NetworkPolicy")["spec"]["ingress"] if "podSelector" in rule["from"][0]]
        (binding,) = (one for one in plan.objects if one["kind"] == "RoleBinding")
        assert [count, 1 + count] == [len(opened), len(binding["subjects"])]
