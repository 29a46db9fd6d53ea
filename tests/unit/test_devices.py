"""What nodes have for a model with an accelerator: who may take it, whether the model is larger, and what is said to who waits."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.facts import Devices, Given, Json
from modelward_operator.plan.affinity import node_affinity
from modelward_operator.plan.devices import devices_for
from modelward_operator.pricing.facts import Node, node_of
from modelward_operator.status.conditions import Type
from modelward_operator.status.news import news
from tests.makers import READY_REPORT, current_revision, live_deployment, make_given, make_pod, parsed
from tests.unit.test_summarise import condition, says, status_of

GIB = 2**30
MIB = 2**20
A100: Json = {
    "nvidia.com/gpu.memory": "81920",
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu.replicas": "1",
}
T4: Json = {"nvidia.com/gpu.memory": "15360", "nvidia.com/gpu.product": "Tesla-T4"}
SHARED: Json = {**T4, "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.sharing-strategy": "time-slicing"}
SLICED: Json = {
    "nvidia.com/gpu.memory": "81920",
    "nvidia.com/mig-1g.10gb.memory": "9728",
    "nvidia.com/mig.strategy": "mixed",
}
SINGLE: Json = {"nvidia.com/gpu.memory": "9728", "nvidia.com/gpu.slices.gi": "1", "nvidia.com/mig.strategy": "single"}
SELECTOR = {"example.com/tier": "gold"}


def node(name: str, labels: Json, **devices: int) -> Node:
    """A node with devices of NVIDIA's, by the name behind `nvidia.com/`."""
    has = {f"nvidia.com/{resource.replace('_', '-')}": number for resource, number in devices.items()}
    return Node(name, labels, devices=has)


NODES = [
    node("whole", {**A100, "cloud.google.com/gke-nodepool": "a100"}, gpu=8),
    node("old", {**T4, "eks.amazonaws.com/nodegroup": "t4", **SELECTOR}, gpu=1),
    node("turns", SHARED, gpu=4),
    Node("renamed", SHARED, devices={"nvidia.com/gpu.shared": 4}),
    Node("slices", SLICED, devices={"nvidia.com/mig-1g.10gb": 7}),
    node("single", SINGLE, gpu=7),
    node("unlabelled", {}, gpu=1),
    Node("plain", {"node.kubernetes.io/instance-type": "m5.large"}),
]


def found(accelerator: Json, nodes: list[Node] = NODES, **more: Any) -> Devices:
    return devices_for(parsed(make_given({"accelerator": accelerator, **more})), nodes)


def mib(*sizes: int) -> tuple[int, ...]:
    return tuple(size * MIB for size in sizes)


@pytest.mark.parametrize(
    ("reason", "accelerator", "memories"),
    [
        ("the node decides what one is", {}, mib(3840, 9728, 15360, 81920)),
        ("whole devices", {"sharing": {"mode": "Exclusive"}}, mib(15360, 81920)),
        ("more of them than most nodes have", {"sharing": {"mode": "Exclusive"}, "count": 2}, mib(81920)),
        ("a turn, under its own name", {"sharing": {"mode": "Shared"}}, mib(3840)),
        (
            "a turn, under the device's name",
            {"sharing": {"mode": "Shared"}, "resourceName": "nvidia.com/gpu"},
            mib(3840),
        ),
        ("a slice", {"sharing": {"mode": "Partitioned", "profile": "1g.10gb"}}, mib(9728)),
        ("a slice that no node has", {"sharing": {"mode": "Partitioned", "profile": "2g.20gb"}}, ()),
        ("memory that few have", {"memory": "40Gi"}, mib(81920)),
        ("to the byte; one that is shared counts whole", {"memory": "15Gi"}, mib(3840, 15360, 81920)),
        ("to the byte", {"memory": "15Gi", "sharing": {"mode": "Exclusive"}}, mib(15360, 81920)),
        ("to the byte", {"memory": str(15 * GIB + 1)}, mib(81920)),
        ("more than any has", {"memory": "81Gi"}, ()),
        ("a device of others", {"resourceName": "amd.com/gpu"}, ()),
    ],
)
def test_the_memory_that_a_replica_may_find(reason: str, accelerator: Json, memories: tuple[int, ...]) -> None:
    assert found(accelerator).memories == memories, reason


def test_a_node_selector_chooses_among_them() -> None:
    assert found({}, scheduling={"nodeSelector": SELECTOR}).memories == mib(15360)


@pytest.mark.parametrize("text", ["", "-1", "1e9", "16GB", "٣", "9999999999"])
def test_a_label_that_is_no_number_says_nothing(text: str) -> None:
    odd = node("odd", {"nvidia.com/gpu.memory": text, "nvidia.com/gpu.replicas": text}, gpu=1)
    assert found({}, [odd]).memories == ()


@pytest.mark.parametrize(
    "accelerator",
    [
        {},
        {"sharing": {"mode": "Exclusive"}},
        {"sharing": {"mode": "Exclusive"}, "memory": "20Gi"},
        {"sharing": {"mode": "Shared"}},
        {"sharing": {"mode": "Shared"}, "resourceName": "nvidia.com/gpu"},
        {"sharing": {"mode": "Shared"}, "resourceName": "nvidia.com/gpu", "memory": "15Gi"},
        {"sharing": {"mode": "Partitioned", "profile": "1g.10gb"}, "memory": "9728Mi"},
        {"memory": "15360Mi"},
        {"memory": "15360.5Mi"},
    ],
    ids=str,
)
def test_what_is_looked_at_is_what_the_scheduler_is_told(accelerator: Json) -> None:
    spec = parsed(make_given({"accelerator": accelerator}))
    affinity = node_affinity(spec)
    resource = spec.accelerator.resource if spec.accelerator else ""
    for one in (n for n in NODES if n.devices.get(resource) and n.name != "unlabelled"):
        assert bool(found(accelerator, [one]).memories) == scheduled(affinity, one.labels), one.name


def scheduled(affinity: Any, labels: Mapping[str, str]) -> bool:
    """What kube-scheduler makes of required node affinity: one term, and all that stands in it."""
    if not affinity:
        return True
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return any(all(_matches(expression, labels) for expression in term["matchExpressions"]) for term in terms)


def _matches(expression: Any, labels: Mapping[str, str]) -> bool:
    value, operator = labels.get(expression["key"]), expression["operator"]
    if operator == "DoesNotExist":
        return value is None
    (bound,) = expression["values"]
    return value is not None and (int(value) > int(bound) if operator == "Gt" else int(value) < int(bound))


def test_a_cordoned_node_is_counted_as_one() -> None:
    raw = {
        "metadata": {"name": "n"},
        "spec": {"unschedulable": True},
        "status": {"allocatable": {"nvidia.com/gpu": "1"}},
    }
    (pool,) = found({}, [node_of(raw)]).pools
    assert (pool.nodes, pool.cordoned) == (1, 1)


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def facts(spec: Json, *pods: Any, size: int = 0, nodes: list[Node] = NODES, status: Json | None = None) -> Given:
    """The facts of one pass, whose pods report a model of that size."""
    given = make_given(spec, status=status)
    report = {**READY_REPORT, "model": {**READY_REPORT["model"], "sizeBytes": size}}
    ready = (make_pod("fraud-a", revision=current_revision(given), is_ready=True, report=report),) if size else ()
    return replace(given, pods=(*pods, *ready), devices=devices_for(parsed(given), nodes))


EXCLUSIVE: Json = {"accelerator": {"sharing": {"mode": "Exclusive"}}}
FITS = Type.ACCELERATOR_FITS


def test_a_model_that_fits_everywhere_says_by_how_much() -> None:
    status = status_of(facts(EXCLUSIVE, size=7 * GIB))
    assert says(status, FITS) == ("True", "DeviceLargeEnough")
    expected = "the model takes at least 7.5 GiB of a device, 7.0 GiB of it for itself; the smallest that it may get has 15.0 GiB"
    assert f"{expected} (one of nvidia.com/gpu)" == condition(status, FITS)["message"]


def test_a_model_that_fits_some_is_warned_of_and_ready_stands() -> None:
    status = status_of(facts(EXCLUSIVE, size=20 * GIB))
    assert says(status, FITS) == ("False", "DeviceMayBeTooSmall")
    assert (
        "on 1 of 2 nodes one of nvidia.com/gpu has less, 15.0 GiB at worst: set accelerator.memory"
        in condition(status, FITS)["message"]
    )
    assert says(status, Type.READY) == ("True", "Serving")


def test_a_model_that_fits_none_is_told_before_a_pod_is_there() -> None:
    """The size is the one that a pod reported before."""
    given = facts({"accelerator": {"sharing": {"mode": "Shared"}}}, status={"effective": {"modelSizeBytes": 4 * GIB}})
    status = status_of(given)
    assert says(status, FITS) == ("False", "DeviceTooSmall")
    assert (
        "the largest that it may get has 3.8 GiB (a share of nvidia.com/gpu.shared)"
        in condition(status, FITS)["message"]
    )
    assert status["effective"]["modelSizeBytes"] == 4 * GIB


def test_a_limit_below_the_model_cannot_hold_it_on_any_device() -> None:
    status = status_of(facts({**EXCLUSIVE, "runtime": {"cuda": {"memoryLimit": "2Gi"}}}, size=3 * GIB))
    assert says(status, FITS) == ("False", "DeviceTooSmall")
    assert "runtime.cuda.memoryLimit is 2.0 GiB: raise it" in condition(status, FITS)["message"]


def test_memory_that_was_asked_for_and_no_node_has_is_told_without_any_size() -> None:
    status = status_of(facts({"accelerator": {"memory": "100Gi"}}))
    assert says(status, FITS) == ("False", "DeviceTooSmall")
    assert "has nvidia.com/gpu with 100.0 GiB of memory" in condition(status, FITS)["message"]


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        ("no accelerator", facts({}, size=GIB)),
        ("nobody has reported the size", facts(EXCLUSIVE)),
        ("nodes do not say how large their devices are", facts(EXCLUSIVE, size=GIB, nodes=[node("n", {}, gpu=1)])),
        ("nodes cannot be read", replace(facts(EXCLUSIVE, size=GIB), devices=Devices())),
        ("a pod that reports nonsense", facts(EXCLUSIVE, status={"effective": {"modelSizeBytes": "large"}})),
    ],
)
def test_what_is_not_known_is_not_said(reason: str, given: Given) -> None:
    assert condition(status_of(given), FITS) == {}, reason


def test_a_warning_is_one_event_until_its_reason_changes() -> None:
    given = facts(
        EXCLUSIVE, size=20 * GIB, status={"conditions": [{"type": "Ready", "status": "True", "reason": "Serving"}]}
    )
    status = status_of(given)
    (told,) = news(given, status)
    assert (told.type, told.reason) == ("Warning", "DeviceMayBeTooSmall")
    assert news(replace(given, raw={**given.raw, "status": status}), status) == []


def waiting(message: str) -> Any:
    unplaced = {
        "type": "PodScheduled",
        "status": "False",
        "message": message,
        "lastTransitionTime": "2026-11-23T11:59:00Z",
    }
    return make_pod(
        "fraud-b", revision=current_revision(make_given(EXCLUSIVE)), state={"waiting": {}}, conditions=(unplaced,)
    )


def test_who_waits_for_a_device_hears_what_was_asked_for_and_what_exists() -> None:
    message = condition(
        status_of(facts(EXCLUSIVE, waiting("0/8 nodes are available: 2 Insufficient nvidia.com/gpu."))), Type.READY
    )["message"]
    assert (
        "pod fraud-b: 0/8 nodes are available: 2 Insufficient nvidia.com/gpu. each replica asks for 1 nvidia.com/gpu; nodes have, free"
        in message
    )
    assert "gke-nodepool a100: 8 nvidia.com/gpu (NVIDIA-A100-SXM4-80GB) on 1 node" in message
    assert "nodegroup t4: 1 nvidia.com/gpu (Tesla-T4) on 1 node" in message
    assert "instance-type m5.large: no device on 1 node" in message


def test_where_nodes_cannot_be_read_it_says_so() -> None:
    given = facts(EXCLUSIVE, waiting("0/8 nodes are available: 8 Insufficient nvidia.com/gpu."))
    message = condition(status_of(replace(given, devices=Devices())), Type.READY)["message"]
    assert message.endswith(
        "each replica asks for 1 nvidia.com/gpu; what nodes have cannot be read with watchNamespaces"
    )


def test_a_hundred_pools_do_not_fill_the_message() -> None:
    many = [node(f"n{n:03}", {"karpenter.sh/nodepool": f"p{n:03}"}, gpu=1) for n in range(100)]
    given = facts(EXCLUSIVE, waiting("0/100 nodes are available: 100 Insufficient nvidia.com/gpu."), nodes=many)
    message = condition(status_of(given), Type.READY)["message"]
    assert "nodepool p007: 1 nvidia.com/gpu on 1 node; 92 more pools" in message


def test_an_account_that_does_not_exist_is_named() -> None:
    given = make_given({"serviceAccount": {"name": "gone"}})
    words = 'pods "fraud-7" is forbidden: error looking up service account risk/gone: serviceaccount "gone" not found'
    given = failing_to_make_pods(given, words)
    assert says(status_of(given), Type.READY) == ("False", "ServiceAccountNotFound")
    assert words in condition(status_of(given), Type.READY)["message"]
    quota = failing_to_make_pods(given, 'pods "fraud-7" is forbidden: exceeded quota')
    assert says(status_of(quota), Type.READY) == ("False", "PodCreationFailed")


def failing_to_make_pods(given: Given, words: str) -> Given:
    failure = {"type": "ReplicaFailure", "status": "True", "message": words}
    return replace(given, children=(live_deployment(given, status={"conditions": [failure]}),))
