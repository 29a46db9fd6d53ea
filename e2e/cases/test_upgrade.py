"""An upgrade from the version before to this one, and back, while models serve: no pod is touched and no request is lost.

It takes the cluster's own ModelWard away, with every CustomResourceDefinition and so every ModelDeployment, installs the version before
(previous.py), and in the end puts this one back.

    version before ──serve, call without pause──▶ helm upgrade ──▶ helm rollback ──▶ helm upgrade
                    same pods, no failure, and what the spec asks for is done, after each
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from e2e.cases import previous
from e2e.cases.case import OPERATOR, OPERATOR_NAMESPACE, Case
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.load import TritonLoad
from e2e.cases.manifests import NAME
from e2e.cluster import chart
from e2e.cluster.paths import CHART
from e2e.cluster.progress import Screen

pytestmark = [pytest.mark.upgrade, pytest.mark.timeout(900)]
RELEASE: Final = "modelward"
IMAGES: Final = {"operator.image": "MODELWARD_OPERATOR_IMAGE", "runtime.image": "MODELWARD_RUNTIME_IMAGE"}
"""Of this checkout, by the chart's value, and where the shell says it."""
MODELS: Final[dict[str, dict[str, Any]]] = {
    NAME: {"scaling": {"replicas": 2}},
    "guarded": {"security": {"authentication": {"mode": "TokenReview"}, "tls": {"mode": "Managed"}}},
    "scaled": {"scaling": {"minReplicas": 1, "maxReplicas": 2}},
}


def helm(*arguments: str) -> str:
    command = ["helm", *arguments, f"--namespace={OPERATOR_NAMESPACE}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def install(folder: Path, operator: str, runtime: str) -> None:
    values = (f"--set=operator.image={operator}", f"--set=runtime.image={runtime}")
    helm("upgrade", "--install", RELEASE, str(folder), "--create-namespace", *values)


def install_this() -> None:
    install(CHART, *(os.environ[name] for name in IMAGES.values()))


def await_operator(kube: Kube) -> None:
    """As operator/tasks/upgrade.md has it; and until one of the new pods leads."""
    for name in (OPERATOR, "modelward-activator"):
        kube.kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=180s", within=200)
    wait(
        "a pod that is still there leads", lambda: leader(kube) in operators(kube), within=60, last=lambda: leader(kube)
    )


def leader(kube: Kube) -> str:
    return kube.kubectl(
        "-n", OPERATOR_NAMESPACE, "get", "lease", OPERATOR, "-o", "jsonpath={.spec.holderIdentity}"
    ).strip()


def operators(kube: Kube) -> list[str]:
    """The operator's pods that are not about to end."""
    pods = kube.list("Pod", OPERATOR_NAMESPACE, "app.kubernetes.io/name=modelward-operator")
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


@pytest.fixture
def before(kube: Kube, tmp_path: Path) -> Iterator[previous.Previous]:
    """A cluster on which the version before is all that was ever installed; this one is put back afterwards."""
    if os.environ.get("CLUSTER") == "current":
        pytest.skip("it would take every ModelDeployment of the cluster away")
    try:
        found = aged(previous.built(), tmp_path / "before")
    except previous.Absent as absent:
        pytest.skip(str(absent))
    helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
    kube.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=modelward", within=120)
    install(found.chart, found.operator, found.runtime)
    await_operator(kube)
    yield found
    target = chart.Target(("kubectl",), ("helm",), tmp_path / "helm.log", ("--take-ownership",))
    chart.install(target, {value: os.environ[name] for value, name in IMAGES.items()}, Screen())


def aged(found: previous.Previous, folder: Path) -> previous.Previous:
    """With definitions that differ from this checkout's: where none has changed since, each gets another description."""
    shutil.copytree(found.chart, folder)
    if definitions(folder) == definitions(CHART):
        for file in (folder / "files" / "crds").glob("*.yaml"):
            one = yaml.safe_load(file.read_text())
            for version in one["spec"]["versions"]:
                version["schema"]["openAPIV3Schema"]["description"] = "As the version before has it."
            file.write_text(yaml.safe_dump(one, sort_keys=False))
    return replace(found, chart=folder)


@pytest.fixture
def upgraded(before: previous.Previous, case: Case) -> Case:
    """A namespace of a cluster with the version before; the fixtures' order is all that this is for."""
    return case


def definitions(folder: Path) -> dict[str, Object]:
    """The CustomResourceDefinitions of a chart, by name."""
    files = (folder / "files" / "crds").glob("*.yaml")
    return {one["metadata"]["name"]: one for one in (yaml.safe_load(file.read_text()) for file in files)}


def served(kube: Kube) -> dict[str, list[Object]]:
    """The versions, schemas and columns of the CustomResourceDefinitions that the API server has."""
    found = json.loads(kube.kubectl("get", "crd", "-l", "app.kubernetes.io/part-of=modelward", "-o", "json"))
    return {one["metadata"]["name"]: one["spec"]["versions"] for one in found["items"]}


def lies_there(kube: Kube, folder: Path) -> bool:
    """The API server has a chart's definitions, and perhaps more."""
    live = served(kube)
    return all(live.get(name) == one["spec"]["versions"] for name, one in definitions(folder).items())


def pods_of(case: Case) -> dict[str, list[tuple[str, int]]]:
    """By model: the UID of each pod, and how often a container of it was started anew."""
    return {
        name: sorted(
            (pod["metadata"]["uid"], sum(c["restartCount"] for c in pod["status"].get("containerStatuses", ())))
            for pod in case.pods(name)
        )
        for name in MODELS
    }


def templates_of(case: Case) -> dict[str, Object]:
    return {name: case.kube.find("Deployment", name, case.namespace)["spec"]["template"] for name in MODELS}


def does_more(case: Case, replicas: int) -> None:
    """The operator that leads now does what a spec asks for: more pods, beside those that were there."""
    old = {uid for uid, _ in pods_of(case)[NAME]}
    case.change({"scaling": {"replicas": replicas}})
    case.wait_pods(replicas)
    case.wait_ready()
    now = {uid for uid, _ in pods_of(case)[NAME]}
    assert old < now, "a pod was added, and none replaced"


def test_models_serve_through_an_upgrade_and_back_with_the_same_pods(before: previous.Previous, upgraded: Case) -> None:
    case, kube = upgraded, upgraded.kube
    assert lies_there(kube, before.chart)
    assert not lies_there(kube, CHART), "the versions do not differ in what the API server must be told"
    for name, spec in MODELS.items():
        case.apply(case.model_service(name=name, **spec))
    for name in MODELS:
        case.wait_ready(name)
    pods, templates = pods_of(case), templates_of(case)
    assert {name: len(found) for name, found in pods.items()} == {NAME: 2, "guarded": 1, "scaled": 1}

    with TritonLoad(case.service_address(), NAME) as load:
        for step, folder, replicas in (
            (install_this, CHART, 3),
            (lambda: helm("rollback", RELEASE), before.chart, 4),
            (install_this, CHART, 5),
        ):
            answered = sum(load.answers.values())
            step()
            await_operator(kube)
            wait("the chart's CustomResourceDefinitions", lambda at=folder: lies_there(kube, at), within=30)  # type: ignore[misc]
            does_more(case, replicas)
            assert templates_of(case) == templates
            assert sum(load.answers.values()) > answered + 100
    print(load.answers)
    assert load.failures == []
    after = pods_of(case)
    assert {name: after[name] for name in ("guarded", "scaled")} == {name: pods[name] for name in ("guarded", "scaled")}
    assert set(pods[NAME]) <= set(after[NAME]), (
        "those that were there first are there still, and were never started anew"
    )
    for name in MODELS:
        case.wait_ready(name)
