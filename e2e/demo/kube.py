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
    if not documents:
        return
    listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    kubectl("apply", "--server-side", "--field-manager=modelward-demo", "-f", "-", stdin=json.dumps(listed))


def put_back(document: Json) -> None:
    """Make the spec exactly the document's again, whoever has added fields to it since."""
    metadata = document["metadata"]
    patch = json.dumps([{"op": "replace", "path": "/spec", "value": document["spec"]}])
    target = (document["kind"].lower(), metadata["name"], "-n", metadata["namespace"])
    kubectl("patch", *target, "--type=json", "-p", patch)


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
    """kubectl prints a document to a line, or indented ones that each end with a brace in the first column."""
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line)
        if line.rstrip() == "}" or (line.startswith("{") and line.rstrip().endswith("}")):
            document = json.loads("".join(lines))
            lines.clear()
            seen.put(Seen(time.monotonic(), document["type"], document["object"]))


def diagnose(namespace: str, name: str) -> Iterator[str]:
    """What explains a ModelDeployment that does not become ready: conditions, pods, events, logs; the operator if it is mute."""
    yield f"\n{name}, conditions:"
    conditions = _tail("get", "mdep", name, "-n", namespace, "-o", _CONDITIONS)
    yield from conditions or ["  | none: the operator has not looked at it"]
    selector = f"modelward.dev/model={name}"
    yield "pods:"
    yield from _tail("get", "pods", "-n", namespace, "-l", selector, "-o", "wide")
    yield "events:"
    events = _tail("get", "events", "-n", namespace, "--sort-by=.lastTimestamp", lines=200)
    yield from [line for line in events if f"/{name}" in line][-12:]
    yield "log:"
    yield from _tail("logs", "-n", namespace, "-l", selector, "--tail=20", "--prefix")
    if not conditions:
        yield "operator:"
        yield from _tail("get", "pods", "-n", _OPERATOR_NAMESPACE, "-o", "wide")
        yield from _tail("logs", "-n", _OPERATOR_NAMESPACE, "deployment/modelward-operator", "--tail=20")


def _tail(*arguments: str, lines: int = 20) -> list[str]:
    """The end of kubectl's answer, or of its complaint, ready to print."""
    try:
        text = kubectl(*arguments)
    except (KubectlError, subprocess.TimeoutExpired) as error:
        text = str(error)
    return [f"  | {line[:300]}" for line in text.splitlines()[-lines:]]


_OPERATOR_NAMESPACE = "modelward-system"
_CONDITIONS = r'jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}'
