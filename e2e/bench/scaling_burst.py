"""Suite scaling, part burst: from the first call of a burst to the Deployment that asks for more replicas, by autoscaler, in one run.

    Concurrency  ours
    KEDA         the real one (scaling_peers.py), polling every 5 s (its default is 30) how many callers there are
    HPA          Kubernetes' own, on CPU, with the real metrics-server at the resolution of its own manifest

The same model under the same callers, each time one that nobody has called and that its autoscaler has found idle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from e2e.bench.scaling_model import MODEL, has_settled, inputs, served, until, watched
from e2e.bench.scaling_peers import Desk
from e2e.cases.clients import rest_binary
from e2e.demo.kube import Json

CALLERS = 6
BOUNDS: Json = {"minReplicas": 1, "maxReplicas": 2}


@dataclass(frozen=True)
class Way:
    """An autoscaler: what it is told, and the words by which it says that it has found the model idle."""

    scaling: Callable[[Desk], Json]
    idle: str


WAYS: Mapping[str, Way] = {
    "Concurrency": Way(lambda _: BOUNDS | {"targetConcurrency": "0.2"}, "is wanted"),
    "KEDA": Way(
        lambda desk: BOUNDS | {"autoscaler": "KEDA", "keda": {"triggers": [desk.trigger], "pollingSeconds": 5}},
        "wants 1 of",
    ),
    "HPA": Way(lambda _: BOUNDS | {"autoscaler": "HPA", "hpa": {"cpuUtilizationPercent": 80}}, "wants 1 of"),
}


def bursts(name: str, rounds: int, desk: Desk) -> list[float]:
    """Seconds until two replicas were asked for, in each round, by the autoscaler of that name."""
    done = []
    for number in range(rounds):
        done.append(_burst(f"{name.lower()}-{number}", WAYS[name], desk))
        print(f"burst, {name}: {done[-1]:.2f} s", flush=True)
    return done


def _burst(name: str, way: Way, desk: Desk) -> float:
    with watched(name) as watch, served(name, **way.scaling(desk)) as host:
        until(lambda: has_settled(name, way.idle), f"the autoscaler has found {name} idle")
        ended = threading.Event()
        callers = [threading.Thread(target=_call, args=(host, ended)) for _ in range(CALLERS)]
        began = time.monotonic()
        for caller in callers:
            caller.start()
        desk.callers = CALLERS
        try:
            return watch.asked(2, began) - began
        finally:
            desk.callers = 0
            ended.set()
            for caller in callers:
                caller.join()


def _call(host: str, ended: threading.Event) -> None:
    while not ended.is_set():
        rest_binary(host, MODEL, inputs())
