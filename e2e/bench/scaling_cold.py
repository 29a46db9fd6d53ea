"""Suite scaling, part cold: to zero and back, with requests held each time; what each takes beyond the pod's own start, and which are lost.

request ──▶ Deployment asks for one ──▶ pod is made ──▶ its runtime is ready ──▶ answer
             activator, operator         controllers      the pod's own start      probing, handing on

Several models take turns: while one comes back, the others are on their way to zero, which takes most of a cycle.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from e2e.bench.pods import admin
from e2e.bench.scaling_model import MODEL, Watched, inputs, pods, served, watched
from e2e.cases.clients import grpc, rest_binary

ABREAST = 4
"""Models that take turns."""
TRANSPORTS = (rest_binary, grpc)


@dataclass
class Cycle:
    """One time to zero and back."""

    own_start: float = 0.0
    """Seconds from the pod's creation until its runtime said that it is ready."""
    total: list[float] = field(default_factory=list)
    """Seconds that each answered request took."""
    lost: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def beyond(self) -> list[float]:
        """Of each answered request, what the pod's own start does not explain."""
        return [seconds - self.own_start for seconds in self.total]


def cold_starts(cycles: int, held: int) -> list[Cycle]:
    """Go to zero and back so many times in all, with so many requests each time."""
    turn = threading.Lock()
    shares = [len(range(first, cycles, ABREAST)) for first in range(min(ABREAST, cycles))]
    with ThreadPoolExecutor(len(shares)) as pool:
        runs = [pool.submit(_cycles, f"cold-{n}", share, held, turn) for n, share in enumerate(shares)]
        return [cycle for run in runs for cycle in run.result()]


def _cycles(name: str, cycles: int, held: int, turn: threading.Lock) -> list[Cycle]:
    """Those of one model, after one that warms up. A cold start begins only when it is the model's turn: none falls upon another."""
    done: list[Cycle] = []
    with (
        watched(name) as watch,
        served(name, minReplicas=0, maxReplicas=1, idleSeconds=1, scaleDownSeconds=0) as host,
    ):
        for number in range(cycles + 1):
            watch.until_zero()
            with turn:
                cycle = _cycle(watch, name, host, held)
            label = f"{name}, cycle {number}" if number else f"{name}, warm-up"
            print(
                f"{label}: {max(cycle.total, default=0.0):.2f} s, own start {cycle.own_start:.2f} s",
                *cycle.lost,
                flush=True,
            )
            done.append(cycle)
    return done[1:]


def _cycle(watch: Watched, name: str, host: str, held: int) -> Cycle:
    cycle = Cycle()
    callers = [threading.Thread(target=_call, args=(cycle, host, n)) for n in range(held)]
    began = time.monotonic()
    for caller in callers:
        caller.start()
    asked, made = watch.woken(began)
    for caller in callers:
        caller.join()
    ready = _ready_at(name)
    cycle.own_start = ready - made
    first = began + min(cycle.total, default=0.0)
    cycle.stages = {"wake": asked - began, "controllers": made - asked, "handing on": first - ready}
    return cycle


def _call(cycle: Cycle, host: str, number: int) -> None:
    began = time.monotonic()
    try:
        TRANSPORTS[number % 2](host, MODEL, inputs())
    except Exception as error:  # noqa: BLE001  -- whatever it is, the request is lost
        cycle.lost.append(repr(error))
    else:
        cycle.total.append(time.monotonic() - began)


def _ready_at(name: str) -> float:
    """When the runtime was ready by its own report, in monotonic seconds of this machine."""
    report = admin(pods(name)[0], "/report").json()
    up = datetime.fromisoformat(report["startedAt"]).timestamp()
    return up + sum(map(float, report["stageSeconds"].values())) - (time.time() - time.monotonic())
