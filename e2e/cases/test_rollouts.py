"""Replacing what runs: a new version under load, a bad one, too few devices, and scaling by hand."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cases.case import PATIENCE, Case, Client, pod_ready
from e2e.cases.clients import add
from e2e.cases.kube import Kube, wait
from e2e.cases.load import SCRIPT, GrpcLoad
from e2e.cases.manifests import NAME

pytestmark = pytest.mark.core
DEVICE = "nvidia.com/gpu"
LABELS = {
    "nvidia.com/gpu.product": "Tesla-T4",
    "nvidia.com/gpu.memory": "15360",
    "nvidia.com/gpu.replicas": "1",
    "eks.amazonaws.com/nodegroup": "gpus",
}


def _version(case: Case, version: int) -> dict[str, Any]:
    return {"model": {"uri": f"{case.prefix}/adder/{version}/", "version": str(version)}}


def _told(load: Client) -> dict[str, Any]:
    """Return what the load's last line says; nothing where the kubelet put words of its own in its place."""
    try:
        line = json.loads(load.last_line())
    except ValueError:
        return {}
    return line if isinstance(line, dict) and "counts" in line else {}


def _counts(load: Client) -> dict[str, Any]:
    return wait("the load tells its counts", lambda: _told(load), within=PATIENCE, last=load.last_line)


def _await_answers(load: Client, key: str, number: int) -> None:
    before = _counts(load)["counts"].get(key, 0)
    wait(
        f"{number} more answers {key}",
        lambda: _told(load).get("counts", {}).get(key, 0) >= before + number,
        within=PATIENCE,
        last=load.last_line,
    )


def test_a_new_version_under_constant_load_fails_no_request(case: Case) -> None:
    case.serve(model={"version": "1"})
    load = case.start_client("load", SCRIPT, f"{NAME}.{case.namespace}.svc", NAME)
    _await_answers(load, "1:1", 50)

    with GrpcLoad(case.service_address(), NAME) as lasting:
        wait("50 answers over gRPC", lambda: lasting.answers[1] >= 50, within=PATIENCE)
        case.change(_version(case, 2))
        _await_answers(load, "2:2", 50)
        case.wait_condition(NAME, "RolloutComplete", "True")
        case.wait_ready()
        case.wait_pods(1)
        _await_answers(load, "2:2", 50)
        wait("50 new answers over gRPC", lambda: lasting.answers[2] >= 50, within=PATIENCE)

    told = _counts(load)
    print(told["counts"], lasting.answers)
    assert told["failures"] == []
    assert lasting.failures == []
    assert set(told["counts"]) == {"answered", "1:1", "2:2"}, "each answer came whole from one version"


def test_a_bad_new_version_leaves_the_old_one_serving(case: Case) -> None:
    case.serve()
    case.change({"model": {"uri": f"{case.prefix}/adder/99/"}})
    case.wait_condition(NAME, "RolloutComplete", "False", "ModelNotFound", "the previous revision serves on")
    case.wait_condition(NAME, "Ready", "False", "ModelNotFound", "adder/99/")
    assert case.condition("WorkloadAvailable")["status"] == "True"
    assert case.condition("ModelAvailable")["status"] == "True"
    assert add(case.service_address()) == 1
    case.change(_version(case, 2))
    case.wait_ready()
    answers = [add(case.service_address()) for _ in range(20)]
    assert answers == [2] * 20, "Ready speaks of the new version: no pod of the old one can be sent a request any more"


def test_kubectl_scale_changes_the_number_of_pods(case: Case) -> None:
    case.serve()
    _scale(case, 2)
    wait("two ready pods", lambda: len([pod for pod in case.pods() if pod_ready(pod)]) == 2, within=PATIENCE)
    case.wait_condition(NAME, "Ready", "True", "Serving", "2 of 2 pods", within=15)
    assert case.kube.find("PodDisruptionBudget", NAME, case.namespace)
    _scale(case, 0)
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero")
    case.wait_pods(0)
    assert not case.kube.find("PodDisruptionBudget", NAME, case.namespace)
    _scale(case, 1)
    case.wait_condition(NAME, "Ready", "True", "Serving")


def _scale(case: Case, replicas: int) -> None:
    case.kube.kubectl("scale", "mdep", NAME, f"--replicas={replicas}", "-n", case.namespace)


@pytest.fixture
def one_gpu(kube: Kube) -> Iterator[str]:
    """The node advertises one GPU that nothing stands behind, and says of it what GPU feature discovery would."""
    (node,) = [one["metadata"]["name"] for one in kube.list("Node")]
    _advertise(kube, node, "1")
    kube.patch("Node", node, {"metadata": {"labels": LABELS}}, "")

    def advertised() -> bool:
        return bool(kube.find("Node", node)["status"]["allocatable"].get(DEVICE) == "1")

    wait("the node offers the device", advertised, within=PATIENCE)
    yield DEVICE
    _advertise(kube, node, None)
    kube.patch("Node", node, {"metadata": {"labels": dict.fromkeys(LABELS)}}, "")


def _advertise(kube: Kube, node: str, number: str | None) -> None:
    kube.patch("Node", node, {"status": {"capacity": {DEVICE: number}, "allocatable": {DEVICE: number}}}, "", "status")


def test_auto_replaces_in_place_when_there_is_no_second_gpu(case: Case, one_gpu: str) -> None:
    case.serve(accelerator={"sharing": {"mode": "Exclusive"}}, rollout={"strategy": "Auto"})
    assert case.model()["status"]["effective"]["strategy"] == "Surge"
    case.wait_condition(NAME, "AcceleratorFits", "True", "DeviceLargeEnough", "15.0 GiB (one of nvidia.com/gpu)")
    case.change(_version(case, 2))
    lacking = case.wait_condition(NAME, "RolloutComplete", "False", "InsufficientGPU", f"Insufficient {one_gpu}")
    exist = "each replica asks for 1 nvidia.com/gpu; nodes have, free or not: nodegroup gpus: 1 nvidia.com/gpu (Tesla-T4) on 1 node"
    assert exist in lacking["message"]
    assert add(case.service_address()) == 1, "the old version serves while it waits"
    case.wait_ready(within=30 + PATIENCE)
    assert add(case.service_address()) == 2
    wait("Auto surges again", lambda: case.model()["status"]["effective"]["strategy"] == "Surge", within=15)


def test_a_gpu_that_is_too_small_is_told_and_what_serves_serves_on(case: Case, one_gpu: str) -> None:
    case.serve(accelerator={"memory": "15Gi"})
    case.change({"accelerator": {"memory": "20Gi"}})
    case.wait_condition(NAME, "AcceleratorFits", "False", "DeviceTooSmall", f"{one_gpu} with 20.0 GiB of memory")
    case.wait_condition(NAME, "RolloutComplete", "False", "Unschedulable", "1 nvidia.com/gpu with 20.0 GiB")
    assert add(case.service_address()) == 1
