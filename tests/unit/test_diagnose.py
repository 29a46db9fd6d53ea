"""One pod's trouble, in one documented word and a sentence that names the pod."""

import json
from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.facts import Pod
from modelward_operator.status.conditions import LOAD_FAILURES, REASONS, TYPES, Reason, Type
from modelward_operator.status.diagnose import diagnose, ready
from tests.makers import READY_REPORT, failing, make_pod, no_longer_ready


def unscheduled(message: str) -> dict[str, Any]:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


CASES = [
    # why this case, the pod, type, reason, part of the message, failed
    (
        "no node has the GPU",
        make_pod(state={}, conditions=(unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),)),
        (Type.WORKLOAD_AVAILABLE, "InsufficientGPU", "3 Insufficient nvidia.com/gpu", True),
    ),
    (
        "too little memory is no matter of GPUs",
        make_pod(state={}, conditions=(unscheduled("0/3 nodes are available: 3 Insufficient memory."),)),
        (Type.WORKLOAD_AVAILABLE, "Unschedulable", "Insufficient memory", True),
    ),
    (
        "the claim of a pvc:// model is missing",
        make_pod(state={}, conditions=(unscheduled('persistentvolumeclaim "models" not found'),)),
        (Type.WORKLOAD_AVAILABLE, "VolumeClaimNotFound", '"models" not found', True),
    ),
    (
        "the image is not there",
        make_pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "back-off pulling image"}}),
        (Type.WORKLOAD_AVAILABLE, "ImagePullFailed", "image img:1: back-off", True),
    ),
    (
        "the Secret is missing",
        make_pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}}),
        (Type.WORKLOAD_AVAILABLE, "SecretNotFound", 'secret "s3" not found', True),
    ),
    (
        "the Secret lacks a key",
        make_pod(
            state={
                "waiting": {
                    "reason": "CreateContainerConfigError",
                    "message": "couldn't find key AWS_ACCESS_KEY_ID in Secret risk/s3",
                }
            }
        ),
        (Type.WORKLOAD_AVAILABLE, "SecretKeyNotFound", "AWS_ACCESS_KEY_ID", True),
    ),
    (
        "the CA bundle's ConfigMap is missing: only an Event says so",
        make_pod(
            state={"waiting": {"reason": "ContainerCreating"}},
            warning='MountVolume.SetUp failed for volume "ca" : configmap "corp-ca" not found',
        ),
        (Type.WORKLOAD_AVAILABLE, "ConfigMapNotFound", 'configmap "corp-ca" not found', True),
    ),
    (
        "a signer's ConfigMap is missing: the words of a projected volume",
        make_pod(
            state={"waiting": {"reason": "ContainerCreating"}},
            warning='FailedMount: MountVolume.SetUp failed for volume "trust" : configmap "ci-pub" not found',
        ),
        (Type.WORKLOAD_AVAILABLE, "ConfigMapNotFound", 'configmap "ci-pub" not found', True),
    ),
    (
        "a signer's ConfigMap lacks the key",
        make_pod(
            state={"waiting": {"reason": "ContainerCreating"}},
            warning='FailedMount: MountVolume.SetUp failed for volume "trust" : configmap references non-existent config key: public.pem',
        ),
        (Type.WORKLOAD_AVAILABLE, "ConfigMapNotFound", "non-existent config key: public.pem", True),
    ),
    (
        "a registry's Secret is of another type",
        make_pod(
            state={"waiting": {"reason": "ContainerCreating"}},
            warning='FailedMount: MountVolume.SetUp failed for volume "registry" : references non-existent secret key: .dockerconfigjson',
        ),
        (Type.WORKLOAD_AVAILABLE, "SecretKeyNotFound", "non-existent secret key: .dockerconfigjson", True),
    ),
    (
        "the Secret with the keys is missing",
        make_pod(
            state={"waiting": {"reason": "ContainerCreating"}},
            warning='FailedMount: MountVolume.SetUp failed for volume "kek" : secret "fraud-kek" not found',
        ),
        (Type.WORKLOAD_AVAILABLE, "SecretNotFound", 'secret "fraud-kek" not found', True),
    ),
    (
        "no token for Vault",
        make_pod(
            state={"waiting": {"reason": "ContainerCreating"}},
            warning='FailedMount: MountVolume.SetUp failed for volume "vault-token" : failed to fetch token: forbidden',
        ),
        (Type.WORKLOAD_AVAILABLE, "VolumeMountFailed", "failed to fetch token", True),
    ),
    (
        "killed at its memory limit",
        make_pod(
            state={"waiting": {"reason": "CrashLoopBackOff"}},
            last_state={"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        ),
        (Type.WORKLOAD_AVAILABLE, "OutOfMemory", "raise spec.resources.limits.memory", True),
    ),
    (
        "a permanent load failure is in the termination message",
        make_pod(
            state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            last_state={
                "terminated": {"exitCode": 78, "message": json.dumps(failing("ModelNotFound", "nothing at s3://m/x"))}
            },
        ),
        (Type.MODEL_AVAILABLE, "ModelNotFound", "pod fraud-a: nothing at s3://m/x", True),
    ),
    (
        "the failure stays while the container starts anew",
        make_pod(
            report={"state": "Fetching"},
            last_state={
                "terminated": {"exitCode": 78, "message": json.dumps(failing("DigestMismatch", "is a, wants b"))}
            },
        ),
        (Type.MODEL_VERIFIED, "DigestMismatch", "is a, wants b", True),
    ),
    (
        "a store that is away is retried",
        make_pod(
            report={"state": "Fetching", "failure": failing("SourceUnreachable", "connection refused", permanent=False)}
        ),
        (Type.MODEL_AVAILABLE, "SourceUnreachable", "connection refused (retrying)", True),
    ),
    (
        "a process that dies without a word says its exit code",
        make_pod(
            state={"waiting": {"reason": "CrashLoopBackOff"}},
            last_state={"terminated": {"exitCode": 139, "message": "one\nSegmentation fault\n"}},
        ),
        (Type.WORKLOAD_AVAILABLE, "ContainerExited", "exit code 139: Segmentation fault", True),
    ),
    (
        "a termination message in nobody's form is text, not a reason",
        make_pod(last_state={"terminated": {"exitCode": 1, "message": '{"reason": "Ready"}'}}),
        (Type.WORKLOAD_AVAILABLE, "ContainerExited", "exit code 1", True),
    ),
    (
        "evicted by its node",
        make_pod(state={}, phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        (Type.WORKLOAD_AVAILABLE, "PodEvicted", "low on resource", True),
    ),
    (
        "on the way: fetching",
        make_pod(report={"state": "Fetching"}),
        (Type.MODEL_AVAILABLE, "Fetching", "fetching", False),
    ),
    ("on the way: silent", make_pod(), (Type.WORKLOAD_AVAILABLE, "Starting", "starting", False)),
]


@pytest.mark.parametrize(("reason", "pod", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_pods_trouble_has_a_reason_and_a_text(reason: str, pod: Pod, expected: tuple[Type, str, str, bool]) -> None:
    found = diagnose(pod)
    kind, word, text, failed = expected
    assert (kind, word, failed) == (found.type, found.reason, found.failed), reason
    assert text in found.message


def test_a_pod_that_ends_is_not_ready() -> None:
    pod = make_pod(is_ready=True)
    assert ready(pod)
    pod.raw["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    assert not ready(pod)


def test_every_reason_and_type_is_documented() -> None:
    assert set(Reason) == set(REASONS)
    assert set(Type) == set(TYPES)
    assert all(text.endswith(".") for text in (*REASONS.values(), *LOAD_FAILURES.values()))


@pytest.mark.parametrize(
    ("reason", "pod"),
    [
        ("a state that is a list", make_pod(report={"state": ["Loading"]})),
        ("a reason that is a map", make_pod(report={"failure": {"reason": {"a": "b"}}})),
        (
            "last words nested deeper than a parser goes",
            make_pod(last_state={"terminated": {"exitCode": 1, "message": "[" * 4096}}),
        ),
    ],
)
def test_no_form_of_a_report_stops_the_diagnosis(reason: str, pod: Pod) -> None:
    assert diagnose(pod).type is Type.WORKLOAD_AVAILABLE, reason


@pytest.mark.parametrize(
    ("reason", "told", "asked", "expected"),
    [
        ("the kubelet tells the one in force", "2Gi", "1Gi", "(2Gi)"),
        ("the kubelet tells none", "", "1Gi", "(1Gi)"),
        ("there is none: the node's memory was", "", "", "(none)"),
    ],
)
def test_a_pod_killed_for_memory_says_at_which_limit(reason: str, told: str, asked: str, expected: str) -> None:
    pod = make_pod(last_state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    pod.raw["status"]["containerStatuses"][0]["resources"] = _memory(told)
    pod = replace(pod, raw={**pod.raw, "spec": {"containers": [{"name": "runtime", "resources": _memory(asked)}]}})
    assert expected in diagnose(pod).message, reason


def _memory(limit: str) -> dict[str, Any]:
    return {"limits": {"memory": limit}} if limit else {}


def test_how_it_ended_before_is_past_once_it_was_ready_again() -> None:
    pod = make_pod(last_state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    assert diagnose(pod).reason == Reason.OUT_OF_MEMORY
    assert diagnose(no_longer_ready(pod)).reason == Reason.PODS_NOT_READY


FULL = "/var/log/modelward/audit: 966000000 bytes are taken, copy the records and replace the pod"


@pytest.mark.parametrize("was_ready", [True, False])
def test_a_pod_whose_audit_log_is_full_says_so_and_does_not_look_like_one_that_hangs(was_ready: bool) -> None:
    pod = make_pod(report={**READY_REPORT, "audit": {"failure": FULL}})
    found = diagnose(no_longer_ready(pod) if was_ready else pod)
    assert (Reason.PODS_NOT_READY, True) == (found.reason, found.failed)
    assert f"its audit log takes no records: {FULL}" in found.message


@pytest.mark.parametrize("audit", [None, {}, {"failure": ""}, {"failure": ["x"]}, "full"])
def test_an_audit_log_that_takes_records_is_no_diagnosis(audit: object) -> None:
    found = diagnose(make_pod(report={**READY_REPORT, "audit": audit}))
    assert not found.failed
