"""What others do to our objects on their way in: sidecars, a LimitRange, a quota. The model serves, and nothing is written twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME, client_pod
from e2e.cases.stillness import stand_still
from e2e.cases.webhook import mutating

SLEEP = "import time; time.sleep(3600)"


def put(path: str, value: Any) -> Object:
    return {"op": "add", "path": path, "value": value}


def inject(at: str) -> Callable[[Object], list[Object]]:
    """What a mesh does to the pod at that path: a container, an init container, a volume, a mount and a variable in ours, and marks."""

    def mutate(one: Object) -> list[Object]:
        pod = one
        for part in filter(None, at.split("/")):
            pod = pod.get(part) or {}
        containers = pod.get("spec", {}).get("containers") or []
        if not containers or any(one["name"] == "mesh" for one in containers):
            return []
        (sidecar,) = client_pod("mesh", SLEEP)["spec"]["containers"]
        mount = {"name": "mesh", "mountPath": "/var/run/mesh"}
        return [
            put(f"{at}/spec/containers/-", sidecar | {"name": "mesh"}),
            put(f"{at}/spec/initContainers", [sidecar | {"name": "mesh-init", "command": ["true"]}]),
            put(f"{at}/spec/volumes/-", {"name": "mesh", "emptyDir": {}}),
            put(f"{at}/spec/containers/0/volumeMounts/-", mount),
            put(f"{at}/spec/containers/0/env/-", {"name": "MESH", "value": "on"}),
            put(
                f"{at}/metadata/annotations",
                {**(pod["metadata"].get("annotations") or {}), "mesh.example/injected": "true"},
            ),
            put(f"{at}/metadata/labels/mesh.example~1injected", "true"),
        ]

    return mutate


@pytest.mark.parametrize(
    ("group", "resource", "at"),
    [("", "pods", ""), ("apps", "deployments", "/spec/template")],
    ids=["pods", "deployment"],
)
def test_a_sidecar_makes_no_endless_diff(case: Case, tmp_path: Path, group: str, resource: str, at: str) -> None:
    with mutating(case, tmp_path, group, resource, inject(at)) as came:
        case.serve()
        assert came, "the webhook saw it"
        assert add(case.service_address()) == 1
        case.change({"runtime": {"threads": 1}})
        case.wait_condition(NAME, "RolloutComplete", "True")
        case.wait_ready()
        stand_still(case)
        (pod,) = case.wait_pods(1)
        assert sorted(one["name"] for one in pod["spec"]["containers"]) == ["mesh", "runtime"]
        assert pod["metadata"]["annotations"]["mesh.example/injected"] == "true"


def limit_range(**limits: Object) -> Object:
    spec = {"limits": [{"type": "Container", **limits}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "sizes"}, "spec": spec}


def test_a_limit_range_makes_no_endless_diff(case: Case) -> None:
    case.apply(limit_range(default={"cpu": "2"}, defaultRequest={"cpu": "100m"}))
    case.serve(resources={"requests": {"memory": "96Mi"}, "limits": {"memory": "512Mi"}})
    (pod,) = case.pods()
    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "2", "memory": "512Mi"},
        "requests": {"cpu": "100m", "memory": "96Mi"},
    }
    template = case.kube.find("Deployment", NAME, case.namespace)["spec"]["template"]
    assert "cpu" not in template["spec"]["containers"][0]["resources"]["limits"]
    assert add(case.service_address()) == 1
    stand_still(case)


def test_a_limit_range_that_lets_no_pod_in_is_told_in_its_own_words(case: Case) -> None:
    case.apply(limit_range(max={"memory": "128Mi"}))
    case.apply(case.model_service())
    case.wait_condition(
        NAME, "WorkloadAvailable", "False", "PodCreationFailed", "maximum memory usage per Container is 128Mi"
    )
    case.wait_condition(NAME, "Ready", "False", "PodCreationFailed")
    case.apply(limit_range(max={"memory": "1Gi"}))
    case.wait_ready()


def quota(**hard: str) -> Object:
    spec = {"hard": {name.replace("_", "/"): value for name, value in hard.items()}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}


def test_a_namespace_at_its_quota_is_told_and_goes_on_when_there_is_room(case: Case) -> None:
    case.apply(quota(count_configmaps="1", pods="0"))
    _until_counted(case, "count/configmaps", "1")
    case.apply(case.model_service())
    case.wait_condition(NAME, "Ready", "False", "ChildRejected", "exceeded quota: few, requested: count/configmaps=1")
    assert not case.kube.find("Deployment", NAME, case.namespace), "pods would hang without what they mount"
    case.apply(quota(count_configmaps="9", pods="0"))
    case.wait_condition(
        NAME, "WorkloadAvailable", "False", "PodCreationFailed", "exceeded quota: few, requested: pods=1"
    )
    stand_still(case)
    case.apply(quota(count_configmaps="9", pods="4"))
    case.wait_ready()
    assert add(case.service_address()) == 1


def _until_counted(case: Case, resource: str, used: str) -> None:
    """Wait until the quota's controller has counted what is there."""

    def counted() -> bool:
        found = json.loads(case.kube.kubectl("get", "resourcequota", "few", "-n", case.namespace, "-o", "json"))
        return bool(found.get("status", {}).get("used", {}).get(resource) == used)

    wait(f"{used} {resource} are counted", counted, within=60)
