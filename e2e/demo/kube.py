"""The demo's and the benchmarks' way to the cluster: kubectl, as a user would call it, and its watch as a stream.

Nothing here knows what a ModelDeployment means; `follow` reads conditions, `diagnose` prints what explains a failure.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
KUBECTL_LIMIT = 60.0


class KubectlError(Exception):
    """kubectl's own words."""


@dataclass(frozen=True)
class Seen:
    """One watch event and when it reached us (monotonic seconds)."""

    at: float
    type: str
    object: Json

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=KUBECTL_LIMIT, check=False
    )
    if done.returncode:
        raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def read(*arguments: str) -> Json:
    document: Json = json.loads(kubectl("get", *arguments, "-o", "json"))
    return document


def apply(*documents: Json) -> None:
    """Server-side, as the field manager of a user."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    kubectl("apply", "--server-side", "--field-manager=modelward-demo", "-f", "-", stdin=json.dumps(listed))


def condition(item: Json, kind: str) -> Json:
    """The condition of that type, or one that reads Unknown. A condition about an older spec reads Unknown too."""
    generation = item["metadata"].get("generation", 0)
    for found in item.get("status", {}).get("conditions", []):
        if found["type"] == kind and found.get("observedGeneration", generation) >= generation:
            return dict(found)
    return {"type": kind, "status": "Unknown", "reason": "NotReported", "message": "nothing reported yet"}


@contextmanager
def watching(namespace: str, *resources: str) -> Iterator[queue.Queue[Seen]]:
    """A queue of watch events, starting with what exists; one kubectl per resource, as kubectl watches one at a time."""
    seen: queue.Queue[Seen] = queue.Queue()
    processes = [_start_watch(namespace, resource, seen) for resource in resources]
    try:
        yield seen
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)
            if process.stdout:
                process.stdout.close()


def _start_watch(namespace: str, resource: str, seen: queue.Queue[Seen]) -> subprocess.Popen[str]:
    command = ["kubectl", "get", resource, "-n", namespace, "--watch", "--output-watch-events", "-o", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    threading.Thread(target=_pump, args=(process, seen), daemon=True).start()
    return process


def _pump(process: subprocess.Popen[str], seen: queue.Queue[Seen]) -> None:
    """kubectl prints indented documents one after the other; each ends with a brace in the first column."""
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line)
        if line.rstrip() == "}":
            document = json.loads("".join(lines))
            lines.clear()
            seen.put(Seen(time.monotonic(), document["type"], document["object"]))


def diagnose(namespace: str, name: str) -> Iterator[str]:
    """What explains a ModelDeployment that does not become ready: conditions, pods, events, the end of the log."""
    selector = f"modelward.dev/model={name}"
    for title, arguments in (
        ("conditions", ("get", "mdep", name, "-n", namespace, "-o", _CONDITIONS)),
        ("pods", ("get", "pods", "-n", namespace, "-l", selector, "-o", "wide")),
        ("events", ("get", "events", "-n", namespace, "--sort-by=.lastTimestamp")),
        ("log", ("logs", "-n", namespace, "-l", selector, "--tail=20", "--prefix")),
    ):
        yield f"{title}:"
        try:
            yield from (f"  | {line[:300]}" for line in kubectl(*arguments).splitlines()[-20:])
        except (KubectlError, subprocess.TimeoutExpired) as error:
            yield f"  | {error}"


_CONDITIONS = r'jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}'
