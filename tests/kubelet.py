"""What the kubelet says of a pod, where a test has an API server and no node."""

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def pod_status(pod: Json, address: str, *, is_ready: bool) -> Json:
    """Return the status of a pod at this address whose container runs, bound when it was made, and ready since now or not at all."""
    now, bound = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), pod["metadata"]["creationTimestamp"]
    before = pod.get("status", {}).get("containerStatuses") or [{"state": {"running": {"startedAt": now}}}]
    container = {
        "name": "runtime",
        "ready": is_ready,
        "started": is_ready,
        "restartCount": 0,
        "image": "registry.example/runtime:1",
        "imageID": "registry.example/runtime@sha256:" + "0" * 64,
        "containerID": "containerd://" + "0" * 64,
        "state": before[0]["state"],
    }
    since = {"PodScheduled": bound, "Initialized": bound, "ContainersReady": now, "Ready": now}
    always = {"PodScheduled", "Initialized"}
    conditions = [
        {"type": type_, "status": "True" if is_ready or type_ in always else "False", "lastTransitionTime": at}
        for type_, at in since.items()
    ]
    return {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": [container],
        "podIP": address,
        "podIPs": [{"ip": address}],
    }
