"""Looks at the processes of pods from outside: memory, start time, admin port. Used by the suites.

The embedded cluster's pods are processes of this machine, found by the POD_NAME that the operator and the chart set. So
what is read is the kernel's own word on them, and nothing is installed in the pods to measure them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import httpx

from e2e.cluster.paths import AUDIT_LOG
from e2e.demo.kube import Json, read

WRITES = ("create", "update", "patch", "delete")
OPERATOR_USER = "system:serviceaccount:modelward-system:modelward-operator"


def pods_of(namespace: str, selector: str) -> list[Json]:
    items: list[Json] = read("pods", "-n", namespace, "-l", selector)["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def processes_of(pod: Json) -> list[Path]:
    """The /proc folders of the pod's processes."""
    wanted = f"POD_NAME={pod['metadata']['name']}".encode()
    return [folder for folder in Path("/proc").glob("[0-9]*") if wanted in _environment(folder)]


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def resident_bytes(pod: Json) -> int:
    """Resident memory (VmRSS) of all processes of the pod: shared libraries counted in full."""
    return sum(_status_kilobytes(folder, "VmRSS") for folder in processes_of(pod)) * 1024


def _status_kilobytes(folder: Path, field: str) -> int:
    lines = (folder / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def started_at(pod: Json) -> float:
    """When the pod's first process was made (monotonic seconds, to 10 ms): proc(5), /proc/PID/stat, field 22."""
    ticks = min(int((folder / "stat").read_text().rsplit(")", 1)[1].split()[19]) for folder in processes_of(pod))
    since_boot = ticks / os.sysconf("SC_CLK_TCK")
    return since_boot - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()


def admin(pod: Json, path: str, port: int = 8082) -> httpx.Response:
    address = pod["status"]["podIP"]
    return httpx.get(f"http://{address}:{port}{path}", timeout=10, trust_env=False).raise_for_status()


def counter(text: str, name: str) -> float:
    """The sum of a Prometheus counter over all its labels."""
    samples = (line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} ")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in samples)


def audited() -> int:
    """Where the API server's audit log ends now: what `operator_writes` counts from."""
    return AUDIT_LOG.stat().st_size


def operator_writes(namespace: str, start: int) -> list[str]:
    """What the operator wrote in a namespace since `start`, as "patch services": the API server's word, not ours."""
    with AUDIT_LOG.open("rb") as log:
        log.seek(start)
        entries = [json.loads(line) for line in log if line.endswith(b"\n")]
    return [
        f"{entry['verb']} {entry['objectRef']['resource']}"
        for entry in entries
        if entry["verb"] in WRITES
        and entry["user"]["username"] == OPERATOR_USER
        and entry.get("objectRef", {}).get("namespace") == namespace
    ]
