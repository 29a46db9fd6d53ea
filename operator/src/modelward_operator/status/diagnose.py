"""What is the matter with one pod: read from its live object, its runtime's report and its events. Called by `summarise.py`.

The first of these that applies:

    not scheduled ─ waiting with a reason ─ ended or killed ─ load failure reported ─ volume not mounted ─ audit log full
    ─ no longer ready ─ on the way ─ ready
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from modelward_operator.facts import Json, Pod
from modelward_operator.plan import names
from modelward_operator.status.conditions import (
    DECRYPT_FAILURES,
    ENDPOINT_FAILURES,
    LOAD_FAILURES,
    POLICY_FAILURES,
    VERIFY_FAILURES,
    Reason,
    Type,
)

_HIDDEN: Final = frozenset(
    {"Cc", "Cf", "Zl", "Zp"}
)  # control and format characters, separators of lines and paragraphs
_IN_PROGRESS: Final = {
    "Fetching": (Type.MODEL_AVAILABLE, Reason.FETCHING),
    "Verifying": (Type.MODEL_AVAILABLE, Reason.VERIFYING),
    "Decrypting": (Type.MODEL_AVAILABLE, Reason.DECRYPTING),
    "Loading": (Type.MODEL_AVAILABLE, Reason.LOADING),
    "WarmingUp": (Type.MODEL_AVAILABLE, Reason.WARMING_UP),
    "Draining": (Type.WORKLOAD_AVAILABLE, Reason.DRAINING),
}
_CONTAINER_CONFIG: Final = (
    (re.compile(r"secret .* not found"), Reason.SECRET_NOT_FOUND),
    (re.compile(r"couldn't find key .* in Secret"), Reason.SECRET_KEY_NOT_FOUND),
)
_WARNINGS: Final = (
    (re.compile(r"configmap .* not found|references non-existent config key"), Reason.CONFIG_MAP_NOT_FOUND),
    (re.compile(r"secret .* not found"), Reason.SECRET_NOT_FOUND),
    (re.compile(r"references non-existent secret key"), Reason.SECRET_KEY_NOT_FOUND),
    (re.compile(r"MountVolume|AttachVolume|[Vv]olume"), Reason.VOLUME_MOUNT_FAILED),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One pod's state: which aspect it speaks of, and whether it is a failure or only on the way."""

    type: Type
    reason: str
    message: str
    failed: bool


def ready(pod: Pod) -> bool:
    """True when the pod takes requests: Ready, and not about to end."""
    return _is_ready(pod) and not ending(pod)


def leaving(pod: Pod) -> bool:
    """True when the pod is about to end and may still be sent requests: its drain has not taken Ready away yet."""
    return _is_ready(pod) and ending(pod)


def ending(pod: Pod) -> bool:
    """True when the pod is being deleted."""
    return "deletionTimestamp" in pod.raw["metadata"]


def text(value: object, limit: int) -> str:
    """Return what a pod says as text that the API server keeps as it is and a terminal only shows, and no more than `limit`.

    Half characters become `?`; what commands a terminal or turns the direction of a line, `\ufffd`.
    """
    cut = str(value)[:limit].encode("utf-8", "replace").decode()
    return cut if cut.isprintable() else "".join(map(_shown, cut))


def _shown(sign: str) -> str:
    return "\ufffd" if unicodedata.category(sign) in _HIDDEN and sign not in "\n\t" else sign


def diagnose(pod: Pod) -> Diagnosis:
    """Return what is the matter with a pod that is not ready."""
    status, name = pod.raw.get("status", {}), pod.raw["metadata"]["name"]
    container = _container_status(status)
    if _was_ready(status, container):
        container = {**container, "lastState": {}}  # how it ended before is past
    return (
        _evicted(status, name)
        or _unscheduled(status, name)
        or _waiting(container, name)
        or _ended(container, pod.raw, name)
        or _load_failure(pod.report.get("failure"), name)
        or _warned(pod.warning, name)
        or _unrecorded(pod, name)
        or _no_longer_ready(pod, container, name)
        or _on_the_way(pod, name)
    )


def _is_ready(pod: Pod) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.raw.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True"


def _container_status(status: Json) -> Json:
    return next((c for c in status.get("containerStatuses", ()) if c["name"] == names.CONTAINER), {})


def _was_ready(status: Json, container: Json) -> bool:
    """True when readiness was lost after the container had started: by a node that is lost, or a process that hangs."""
    lost: Json = next((c for c in status.get("conditions", ()) if c["type"] == "Ready" and c["status"] != "True"), {})
    started = container.get("state", {}).get("running", {}).get("startedAt")
    return bool(started and started < (lost.get("lastTransitionTime") or ""))


def _evicted(status: Json, name: str) -> Diagnosis | None:
    if status.get("phase") == "Failed" and status.get("reason"):
        return _workload(Reason.POD_EVICTED, f"pod {name}: {status['reason']}: {status.get('message', '')}")
    return None


def _unscheduled(status: Json, name: str) -> Diagnosis | None:
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message", "")
            if re.search(r'persistentvolumeclaim ".*" not found', message):
                return _workload(Reason.VOLUME_CLAIM_NOT_FOUND, f"pod {name}: {message}")
            lacking = re.search(r"Insufficient \S+/\S+", message)
            reason = Reason.INSUFFICIENT_GPU if lacking else Reason.UNSCHEDULABLE
            return _workload(reason, f"pod {name}: {message}")
    return None


def _waiting(container: Json, name: str) -> Diagnosis | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    text = f"pod {name}: {message or reason}"
    if reason in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}:
        return _workload(
            Reason.IMAGE_PULL_FAILED, f"pod {name}: image {container.get('image', '')}: {message or reason}"
        )
    if reason == "CreateContainerConfigError":
        found = next(
            (r for pattern, r in _CONTAINER_CONFIG if pattern.search(message)), Reason.CONTAINER_CONFIG_INVALID
        )
        return _workload(found, text)
    if reason in {"CreateContainerError", "RunContainerError", "StartError"}:
        return _workload(Reason.CONTAINER_START_FAILED, text)
    return None


def _ended(container: Json, raw: Json, name: str) -> Diagnosis | None:
    """A container that ended keeps its failure while it starts anew, until the pod is ready."""
    terminated = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if not terminated:
        return None
    if terminated.get("reason") == "OOMKilled":
        limit = _memory_limit(container, raw)
        return _workload(
            Reason.OUT_OF_MEMORY,
            f"pod {name}: killed at its memory limit ({limit}); raise spec.resources.limits.memory",
        )
    if failure := _load_failure(_json(terminated.get("message", "")), name):
        return failure
    words = terminated.get("message", "").strip().splitlines()
    last = f": {words[-1]}" if words else ""
    return _workload(Reason.CONTAINER_EXITED, f"pod {name}: exit code {terminated.get('exitCode')}{last}")


def _memory_limit(container: Json, raw: Json) -> str:
    """Return the limit in force, or where the kubelet does not tell it, the one that the pod was made with."""
    asked = (c for c in raw.get("spec", {}).get("containers", ()) if c["name"] == names.CONTAINER)
    limits = (c.get("resources", {}).get("limits", {}).get("memory", "") for c in (container, next(asked, {})))
    return next(filter(None, limits), "none")


def _load_failure(failure: object, name: str) -> Diagnosis | None:
    """`failure` comes from the pod, by report or termination message: believed only as far as its form goes."""
    if not isinstance(failure, dict) or str(failure.get("reason")) not in LOAD_FAILURES:
        return None
    reason = str(failure["reason"])
    aspect = Type.MODEL_AVAILABLE
    if reason in VERIFY_FAILURES:
        aspect = Type.MODEL_VERIFIED
    elif reason in DECRYPT_FAILURES:
        aspect = Type.MODEL_DECRYPTED
    elif reason in ENDPOINT_FAILURES:
        aspect = Type.ENDPOINT_SECURED
    elif reason in POLICY_FAILURES:
        aspect = Type.PRIVACY_ENFORCED
    retry = "" if failure.get("permanent") else " (retrying)"
    return Diagnosis(aspect, reason, f"pod {name}: {text(failure.get('message', ''), 900)}{retry}", failed=True)


def _warned(warning: str, name: str) -> Diagnosis | None:
    if not warning:
        return None
    reason = next((r for pattern, r in _WARNINGS if pattern.search(warning)), Reason.CONTAINER_START_FAILED)
    return _workload(reason, f"pod {name}: {warning}"[:1024])


def _unrecorded(pod: Pod, name: str) -> Diagnosis | None:
    """A pod that may not answer without a record takes no requests while its audit log takes none."""
    audit = pod.report.get("audit")
    failure = audit.get("failure") if isinstance(audit, dict) else None
    if pod.report.get("state") != "Ready" or not isinstance(failure, str) or not failure:
        return None
    return _workload(Reason.PODS_NOT_READY, f"pod {name}: its audit log takes no records: {text(failure, 900)}")


def _no_longer_ready(pod: Pod, container: Json, name: str) -> Diagnosis | None:
    if not _was_ready(pod.raw.get("status", {}), container) or str(pod.report.get("state")) in _IN_PROGRESS:
        return None
    silent = "" if pod.report else " and does not report"
    return _workload(
        Reason.PODS_NOT_READY,
        f"pod {name}: was ready and no longer is{silent}; its node may be lost, or its process hangs",
    )


def _on_the_way(pod: Pod, name: str) -> Diagnosis:
    state = str(pod.report.get("state", ""))
    aspect, reason = _IN_PROGRESS.get(state, (Type.WORKLOAD_AVAILABLE, Reason.STARTING))
    words = "loaded, its readiness probe comes next" if state == "Ready" else reason.lower()
    return Diagnosis(aspect, reason, f"pod {name}: {words}", failed=False)


def _workload(reason: Reason, message: str) -> Diagnosis:
    return Diagnosis(Type.WORKLOAD_AVAILABLE, reason, message[:1024], failed=True)


def _json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found
