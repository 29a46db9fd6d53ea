"""The models of the suite scaling: made, watched and called. Used by scaling_burst.py, scaling_cold.py and scaling_added.py."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from numpy.typing import NDArray

from e2e.bench.pods import pods_of
from e2e.cluster.progress import Screen
from e2e.demo.kube import Json, Seen, apply, condition, kubectl, read, watching
from e2e.demo.place import manifest, put_models, secret
from e2e.models.builder import BUILD
from e2e.models.rows import read_rows

NAMESPACE = "bench-scaling"
MODEL = "breast-cancer"
LIMIT = 180.0


@cache
def inputs() -> Mapping[str, NDArray[Any]]:
    """What every call sends."""
    return read_rows(BUILD / MODEL / "1.rows.json").inputs


@contextmanager
def place() -> Iterator[None]:
    """A namespace of the suite's own, with the models in the store."""
    put_models(Screen())
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, secret(NAMESPACE))
    try:
        yield
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@contextmanager
def served(name: str, **scaling: Any) -> Iterator[str]:
    """A model that everybody may call, ready; the address of its Service. It is gone afterwards, with its pods."""
    drawn = manifest(MODEL)
    drawn["metadata"] = {"name": name, "namespace": NAMESPACE}
    drawn["spec"]["model"] |= {"uri": f"s3://models/{MODEL}/1/", "name": MODEL}
    drawn["spec"] |= {"scaling": scaling, "security": {"authentication": {"mode": "None"}}}
    apply(drawn)
    try:
        until(lambda: is_ready(name), f"{name} is ready")
        yield str(read("service", name, "-n", NAMESPACE)["spec"]["clusterIP"])
    finally:
        kubectl("delete", "mdep", name, "-n", NAMESPACE)
        until(lambda: not _left(name), f"the pods of {name} are gone")


def is_ready(name: str) -> bool:
    return bool(condition(read("mdep", name, "-n", NAMESPACE), "Ready")["status"] == "True")


def pods(name: str) -> list[Json]:
    return pods_of(NAMESPACE, f"modelward.dev/model={name}")


def _left(name: str) -> list[Json]:
    """Its pods, those that end included."""
    items: list[Json] = read("pods", "-n", NAMESPACE, "-l", f"modelward.dev/model={name}")["items"]
    return items


def has_settled(name: str, text: str) -> bool:
    """Its autoscaler has looked at it, and says so."""
    found = condition(read("mdep", name, "-n", NAMESPACE), "Autoscaling")
    return bool(found["status"] == "True" and text in found["message"])


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LIMIT:.0f} s: {what}")
        time.sleep(0.2)


class Watched:
    """What the API server's watch tells of one model's Deployment and pods, and when."""

    def __init__(self, name: str, seen: queue.Queue[Seen]) -> None:
        self._name, self._seen = name, seen
        self._wanted = -1
        self._pods: set[str] = set()

    def asked(self, least: int, since: float) -> float:
        """When the Deployment first asked for so many replicas, from `since` on."""
        return self._times(since, f"{self._name} asks for {least} replicas", lambda event: self._asks(event, least))[0]

    def woken(self, since: float) -> list[float]:
        """When the Deployment first asked for a replica, and when there was a pod."""
        return self._times(
            since, f"a pod of {self._name}", lambda event: self._asks(event, 1), lambda event: bool(self._is_pod(event))
        )

    def until_zero(self) -> None:
        """Until no pods are wanted and none are left, those that end included."""
        deadline = time.monotonic() + LIMIT
        while self._wanted or self._pods:
            self._next(deadline, f"{self._name} is at zero")

    def _times(self, since: float, what: str, *matches: Callable[[Seen], bool]) -> list[float]:
        """When each was first matched: the events of different kinds come in no order."""
        found: dict[int, float] = {}
        deadline = time.monotonic() + LIMIT
        while len(found) < len(matches):
            event = self._next(deadline, what)
            if event.at >= since and event.type != "DELETED":
                for number, match in enumerate(matches):
                    if match(event):
                        found.setdefault(number, event.at)
        return [found[number] for number in range(len(matches))]

    def _next(self, deadline: float, what: str) -> Seen:
        try:
            event = self._seen.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise TimeoutError(f"not within {LIMIT:.0f} s: {what}") from None
        if self._asks(event, 0):
            self._wanted = event.object["spec"].get("replicas", 1)
        if self._is_pod(event):
            (self._pods.discard if event.type == "DELETED" else self._pods.add)(event.object["metadata"]["uid"])
        return event

    def _asks(self, event: Seen, least: int) -> bool:
        is_its = event.object["kind"] == "Deployment" and event.name == self._name
        return bool(is_its and event.object["spec"].get("replicas", 1) >= least)

    def _is_pod(self, event: Seen) -> bool:
        labels = event.object["metadata"].get("labels", {})
        return bool(event.object["kind"] == "Pod" and labels.get("modelward.dev/model") == self._name)


@contextmanager
def watched(name: str) -> Iterator[Watched]:
    with watching(NAMESPACE, "deployments", "pods") as seen:
        time.sleep(1)  # the watches list first
        yield Watched(name, seen)
