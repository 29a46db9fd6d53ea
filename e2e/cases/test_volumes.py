"""Models on a PersistentVolumeClaim."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.cases import manifests
from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.kube import wait
from e2e.cases.manifests import NAME, model_deployment
from e2e.cases.tiny_models import adder

pytestmark = pytest.mark.core


@pytest.fixture
def volume(case: Case) -> Iterator[str]:
    """A volume with `fraud/1/model.onnx` on it, written by a pod of a namespace without restrictions."""
    name = f"models-of-{case.namespace}"
    path = f"/tmp/hostpath_pv/{name}"
    writer = replace(case, namespace=f"{case.namespace}-writer")
    case.kube.apply(manifests.namespace(writer.namespace, {}), manifests.host_volume(name, path))
    writer.apply(
        manifests.files("model", {"model.onnx": adder(1).SerializeToString()}),
        manifests.host_writer("writer", "model", f"{path}/fraud/1"),
    )

    def written() -> bool:
        pod = case.kube.find("Pod", "writer", writer.namespace)
        return bool(pod.get("status", {}).get("phase") == "Succeeded")

    wait("the volume is filled", written, within=PATIENCE, last=lambda: case.kube.logs("writer", writer.namespace))
    yield name
    case.kube.delete("Namespace", writer.namespace)
    case.kube.delete("PersistentVolume", name)


def test_a_model_on_a_claim_is_served(case: Case, volume: str) -> None:
    case.apply(manifests.claim("models", volume))
    case.apply(model_deployment("pvc://models/fraud/1/"))
    case.wait_ready()
    assert add(case.service_address()) == 1


def test_a_missing_claim_is_explained(case: Case) -> None:
    case.apply(model_deployment("pvc://no-such-claim/fraud/1/"))
    case.wait_condition(
        NAME, "WorkloadAvailable", "False", "VolumeClaimNotFound", 'persistentvolumeclaim "no-such-claim" not found'
    )
    case.wait_condition(NAME, "Ready", "False", "VolumeClaimNotFound")
