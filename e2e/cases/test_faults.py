"""What fails around models: the node, the registry, the object store, a disk; the operator, the API server, etcd. What serves serves on,
the status says what is the matter as soon as somebody can write it, and all heals by itself, with the same pods.

Each fault is felt by the whole cluster, so nothing else may run beside: `make e2e SUITE=faults`, on the embedded cluster alone.
"""

import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from e2e.cases import manifests
from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.kube import wait
from e2e.cases.load import TritonLoad
from e2e.cases.manifests import NAME
from e2e.cluster import components, processes
from e2e.cluster.paths import REGISTRY, REGISTRY_PORT, S3_PORT

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.environ.get("CLUSTER") == "current", reason="faults are done to the embedded cluster only"),
]
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
FULL: Final = "/tmp/hostpath_pv/{}"


@contextmanager
def closed(port: int, *verdict: str) -> Iterator[None]:
    """New and standing connections to a port of the node end by iptables' `verdict`, until the block ends."""
    rule = ["INPUT", "-p", "tcp", "--dport", str(port), "-j", *verdict]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


REFUSED: Final = ("REJECT", "--reject-with", "tcp-reset")
SILENT: Final = ("DROP",)


@contextmanager
def frozen(component: str) -> Iterator[None]:
    """A program of the cluster stands still until the block ends."""
    try:
        _send(component, signal.SIGSTOP)
        yield
    finally:
        _send(component, signal.SIGCONT)


def _send(component: str, what: signal.Signals) -> None:
    pid = processes.pid_of(component)
    assert pid, f"{component} does not run"
    _kill(pid, what)


def _kill(pid: int, what: signal.Signals) -> None:
    subprocess.run([*processes.entering(), "kill", f"-{what.name.removeprefix('SIG')}", str(pid)], check=True)


def pods_of(case: Case) -> dict[str, int]:
    """How often each pod was started anew, by UID."""
    return {
        pod["metadata"]["uid"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ()))
        for pod in case.pods()
    }


@pytest.mark.parametrize("how", [REFUSED, SILENT], ids=["away", "silent"])
def test_without_the_object_store_what_serves_serves_on_and_the_next_version_waits_for_it(
    case: Case, how: tuple[str, ...]
) -> None:
    case.serve(model={"version": "1"})
    before = pods_of(case)
    with TritonLoad(case.service_address(), NAME) as load:
        with closed(S3_PORT, *how):
            case.change({"model": {"uri": f"{case.prefix}/adder/2/", "version": "2"}})
            failed = case.wait_condition(NAME, "RolloutComplete", "False", text=f":{S3_PORT}", within=2 * PATIENCE)
            assert failed["reason"] in {"SourceUnreachable", "FetchStalled"}, failed
            case.wait_condition(NAME, "Ready", "False", failed["reason"])
            assert before.items() <= pods_of(case).items(), "the version before serves on"
            answered = sum(load.answers.values())
            wait("more answers", lambda: sum(load.answers.values()) > answered + 50, within=30)
        case.wait_ready(within=3 * PATIENCE)  # it is tried again with back-off
        wait("version 2 answers", lambda: add(case.service_address()) == 2, within=30)
    assert load.failures == []


def test_without_the_registry_an_image_that_is_not_there_yet_is_waited_for(case: Case) -> None:
    case.serve()
    before = pods_of(case)
    image = _another_name_of(os.environ["MODELWARD_RUNTIME_IMAGE"])
    with closed(REGISTRY_PORT, *REFUSED):
        case.change({"runtime": {"image": image}})
        for type_ in ("Ready", "RolloutComplete"):  # the workload itself is there: the revision before serves on
            case.wait_condition(NAME, type_, "False", "ImagePullFailed", image)
        assert before.items() <= pods_of(case).items()
        assert add(case.service_address()) == 1
    case.wait_ready(within=3 * PATIENCE)
    assert add(case.service_address()) == 1


def _another_name_of(image: str) -> str:
    """Give an image of the registry a tag that the node has never pulled."""
    repository, _, tag = image.removeprefix(f"{REGISTRY}/").rpartition(":")
    with httpx.Client(base_url=f"http://{REGISTRY}/v2/{repository}/manifests", trust_env=False) as http:
        found = http.get(f"/{tag}", headers={"Accept": MANIFEST}).raise_for_status()
        fresh = f"faults-{secrets.token_hex(4)}"
        headers = {"Content-Type": found.headers["Content-Type"]}
        http.put(f"/{fresh}", content=found.content, headers=headers).raise_for_status()
    return f"{REGISTRY}/{repository}:{fresh}"


def test_a_node_that_does_not_answer_is_told_and_comes_back_with_the_same_pods(case: Case) -> None:
    case.serve(scaling={"replicas": 2})
    before = pods_of(case)
    with frozen("kubelet"):
        case.wait_condition(NAME, "Ready", "False", within=3 * PATIENCE)
        print(case.told())
        assert pods_of(case) == before
    case.wait_ready()
    assert pods_of(case) == before, "none was replaced, and none started anew"
    assert add(case.service_address()) == 1


@pytest.fixture
def full_claim(case: Case) -> Iterator[str]:
    """A claim whose volume has one page of room."""
    name = f"full-{case.namespace}"
    place = FULL.format(name)
    subprocess.run([*processes.entering(), "mkdir", "-p", place], check=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,mode=0777", "none", place]
    subprocess.run([*processes.entering(), *mount], check=True)
    case.kube.apply(manifests.host_volume(name, place))
    case.apply(manifests.claim("cache", name))
    yield "cache"
    case.kube.delete("ModelDeployment", NAME, case.namespace)
    case.wait_pods(0)
    case.kube.delete("PersistentVolume", name)
    subprocess.run([*processes.entering(), "umount", place], check=True)


def test_a_shared_cache_that_is_full_keeps_no_model_from_serving(case: Case, full_claim: str) -> None:
    case.serve()
    digest = case.model()["status"]["model"]["digest"]
    case.change({"model": {"digest": digest, "cache": {"claimName": full_claim, "sizeLimit": "8Mi"}}})
    case.wait_condition(NAME, "RolloutComplete", "True")
    case.wait_ready()
    assert add(case.service_address()) == 1


def _operators() -> list[int]:
    """The operator's processes, as the cluster numbers them: one in each of its pods, while it runs."""
    found = []
    for file in Path(f"/proc/{processes.init_pid()}/root/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            line = file.read_bytes().split(b"\0")
            if line[-2:] == [b"run", b""] and b"modelward-operator" in line[-3]:
                found.append(int(file.parent.name))
    return found


def operators_are_killed() -> None:
    """All of them at once, and then whichever is back, at moments of chance."""
    assert len(_operators()) == 2, "the search finds them"
    for _ in range(3):
        for pid in _operators():
            with suppress(subprocess.CalledProcessError):  # it has ended
                _kill(pid, signal.SIGKILL)
        time.sleep(random.uniform(1, 6))


def the_api_server_is_killed() -> None:
    _send("kube-apiserver", signal.SIGKILL)
    time.sleep(random.uniform(1, 8))
    processes.launch(components.api_server())


def the_api_server_is_silent() -> None:
    """For longer than a leader goes on without renewing its Lease."""
    with frozen("kube-apiserver"):
        time.sleep(14)


def etcd_is_silent() -> None:
    with frozen("etcd"):
        time.sleep(14)


@pytest.mark.parametrize(
    "fail", [operators_are_killed, the_api_server_is_killed, the_api_server_is_silent, etcd_is_silent]
)
def test_a_control_plane_that_fails_in_the_middle_of_a_change_costs_no_request_and_no_pod(
    case: Case, fail: Callable[[], None]
) -> None:
    case.serve(scaling={"replicas": 2})
    before = pods_of(case)
    with TritonLoad(case.service_address(), NAME) as load:
        case.change({"scaling": {"replicas": 3}})
        time.sleep(random.uniform(0, 0.5))
        answered = sum(load.answers.values())
        fail()
        assert sum(load.answers.values()) > answered, "the pods answered meanwhile"
        for replicas in (3, 4):  # what was asked for before it, and what is asked for after it
            wait(
                f"{replicas} pods serve",
                lambda wanted=replicas: len(case.pods()) == wanted and case.condition("Ready").get("status") == "True",  # type: ignore[misc]
                within=3 * PATIENCE,
                last=case.told,
            )
            assert before.items() <= pods_of(case).items(), "none was replaced, and none started anew"
            if replicas == 3:
                case.change({"scaling": {"replicas": 4}})
    print(load.answers)
    assert load.failures == []
