"""An account of what pods cost that owes nothing to the operator: a thread that polls the API server for pods, and clocks them.

A pod costs from when the scheduler bound it until the first poll that misses it. Used by test_cost.py, beside the CostLedger.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from types import TracebackType

import httpx

from e2e.cases.kube import Kube, Object

POLL = 0.25  # seconds
HOUR = 3600


@dataclass
class PodBill:
    """Clocks the pods of one namespace. `per_core` is the price of a core per hour."""

    kube: Kube
    namespace: str
    per_core: int
    _begun: dict[str, tuple[float, Fraction]] = field(default_factory=dict)
    """By UID: when the pod was bound, and the cores that it requests."""
    _ended: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "PodBill":
        self._thread = threading.Thread(target=self._run, name="pod bill")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def total(self) -> float:
        """Return what all pods have cost until now."""
        now = time.time()
        seconds = {uid: self._ended.get(uid, now) - begun for uid, (begun, _) in dict(self._begun).items()}
        return float(sum(Fraction(seconds[uid]) * self._begun[uid][1] for uid in seconds) * self.per_core / HOUR)

    def _run(self) -> None:
        while not self._stop.wait(POLL):
            try:
                pods = {pod["metadata"]["uid"]: pod for pod in self.kube.list("Pod", self.namespace)}
            except httpx.HTTPError as error:  # the next poll looks again
                print(f"pods were not listed: {error}")
                continue
            self._take(pods, time.time())

    def _take(self, pods: Mapping[str, Object], now: float) -> None:
        for uid, pod in pods.items():
            bound = _bound(pod)
            if bound and uid not in self._begun:
                self._begun[uid] = (bound, _cores(pod))
        for uid in self._begun.keys() - pods.keys() - self._ended.keys():
            self._ended[uid] = now


def _bound(pod: Object) -> float | None:
    conditions = pod.get("status", {}).get("conditions", [])
    times = [c["lastTransitionTime"] for c in conditions if c["type"] == "PodScheduled" and c["status"] == "True"]
    return datetime.fromisoformat(times[0]).timestamp() if times else None


def _cores(pod: Object) -> Fraction:
    requests = [container["resources"]["requests"]["cpu"] for container in pod["spec"]["containers"]]
    return sum((Fraction(int(cpu[:-1]), 1000) if cpu.endswith("m") else Fraction(cpu) for cpu in requests), Fraction(0))
