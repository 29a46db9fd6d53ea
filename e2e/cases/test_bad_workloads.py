"""Pods that cannot run: the condition names the reason, and the message what a user needs to mend it."""

from typing import Any

import pytest

from e2e.cases import place
from e2e.cases.case import Case
from e2e.cases.manifests import NAME, storage

pytestmark = pytest.mark.core
SMALL = {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "144Mi"}}
HUGE = {"requests": {"cpu": "4000"}, "limits": {"cpu": "4000"}}
GPU = {"resourceName": "nvidia.com/gpu", "count": 1}


@pytest.mark.parametrize(
    ("spec", "reason", "text"),
    [
        pytest.param({"accelerator": GPU}, "InsufficientGPU", "Insufficient nvidia.com/gpu", id="gpu-that-no-node-has"),
        pytest.param({"resources": HUGE}, "Unschedulable", "Insufficient cpu", id="more-cpu-than-a-node-has"),
    ],
)
def test_a_pod_that_cannot_run_is_explained(case: Case, spec: dict[str, Any], reason: str, text: str) -> None:
    case.apply(case.model_service(**spec))
    case.wait_condition(NAME, "WorkloadAvailable", "False", reason, text)
    case.wait_condition(NAME, "Ready", "False", reason, text)


def test_a_pod_killed_for_memory_is_told_with_its_limit(case: Case) -> None:
    case.apply(case.model_service("hungry/", resources=SMALL))
    case.wait_condition(NAME, "WorkloadAvailable", "False", "OutOfMemory", "killed at its memory limit (144Mi)")
    case.wait_condition(NAME, "Ready", "False", "OutOfMemory", "raise spec.resources.limits.memory")
    case.change({"resources": {"limits": {"memory": "1Gi"}}})
    case.wait_ready()


def test_an_image_that_cannot_be_pulled_is_named(case: Case) -> None:
    image = f"{place.registry()}/modelward/no-such-runtime:9"
    case.apply(case.model_service(runtime={"image": image}))
    case.wait_condition(NAME, "WorkloadAvailable", "False", "ImagePullFailed", image)
    case.wait_condition(NAME, "Ready", "False", "ImagePullFailed", image)


def test_a_missing_secret_is_named_and_heals_when_it_appears(case: Case) -> None:
    case.kube.delete("Secret", "s3-read", case.namespace)
    case.apply(case.model_service())
    case.wait_condition(NAME, "WorkloadAvailable", "False", "SecretNotFound", 'secret "s3-read" not found')
    case.wait_condition(NAME, "Ready", "False", "SecretNotFound")
    case.apply_credentials()
    case.wait_ready()


def test_a_secret_without_its_key_is_named(case: Case) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "half"},
        "stringData": {"AWS_ACCESS_KEY_ID": "x"},
    }
    case.apply(secret, case.model_service(storage=storage(case.store, secretRef={"name": "half"})))
    case.wait_condition(NAME, "WorkloadAvailable", "False", "SecretKeyNotFound", "AWS_SECRET_ACCESS_KEY")
