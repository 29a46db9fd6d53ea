"""Suite scaling: how soon a burst gets replicas, what scaling to zero costs a request, and how many models one core decides for.

    burst      a model with one replica, then callers: until the Deployment asks for two. Beside ours, by the same load, HPA and KEDA
               (PEERS=none: ours alone)
    cold       CYCLES times to zero and back, with HELD requests each time over REST and gRPC: none may be lost, and of the time that each
               takes, what is beyond the pod's own start (from the pod's creation until its runtime says that it is ready)
    added      calls through the activator and straight to the pod, by turns, each on a fresh connection: the difference at the median
    decisions  pods' answers for 10,000 simulated models taken and decided on, on one core

What is measured is what clients see and the API server's watch tells; the pod's own start is the pod's own word.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from typing import Any

from e2e.bench import decisions, results
from e2e.bench.scaling_added import added
from e2e.bench.scaling_burst import WAYS, bursts
from e2e.bench.scaling_cold import Cycle, cold_starts
from e2e.bench.scaling_model import place
from e2e.bench.scaling_peers import open_desk, peers

BARS = {"burst": 2.0, "cold50": 0.3, "cold99": 1.0, "added50": 0.002}
"""Seconds."""
HELD = 10
MODELS = 10_000
OURS = "Concurrency"
PEER_ROUNDS = 3
"""An HPA takes a minute to find a model idle, and half of one to decide."""


def run(rounds: int) -> bool:
    """Measure, print, keep; whether the bars were held."""
    if warning := results.busy():
        print(warning)
    cycles = int(os.environ.get("CYCLES", "100"))
    with place():
        found: dict[str, Any] = {
            "burst": _bursts(rounds),
            "added": added(),
            "cold": _cold(cold_starts(cycles, HELD)),
        }
    found["decisions"] = decisions.measure(MODELS, rounds)
    rows, held = _judge(found)
    print(results.table([("", "measured", "bar", ""), *rows]))
    results.write("scaling", {"bars": BARS, "held": held, "cycles": cycles, "heldRequests": HELD, **found})
    return held


def _bursts(rounds: int) -> dict[str, dict[str, float]]:
    """By autoscaler; ours alone where there are no peers, so that nothing of theirs runs beside what is measured next."""
    with open_desk() as desk:
        found = {OURS: bursts(OURS, rounds, desk)}
        if os.environ.get("PEERS") != "none":
            with peers():
                found |= {name: bursts(name, min(rounds, PEER_ROUNDS), desk) for name in WAYS if name != OURS}
    return {name: results.summary(seconds) for name, seconds in found.items()}


def _cold(cycles: list[Cycle]) -> dict[str, Any]:
    beyond = [seconds for cycle in cycles for seconds in cycle.beyond]
    quantiles = statistics.quantiles(beyond, n=100, method="inclusive")
    return {
        "requests": len(beyond) + sum(len(cycle.lost) for cycle in cycles),
        "lost": [words for cycle in cycles for words in cycle.lost],
        "beyondStart50": statistics.median(beyond),
        "beyondStart99": quantiles[98],
        "ownStart50": statistics.median(cycle.own_start for cycle in cycles),
        "total50": statistics.median(seconds for cycle in cycles for seconds in cycle.total),
        "stages50": {stage: statistics.median(cycle.stages[stage] for cycle in cycles) for stage in cycles[0].stages},
    }


def _judge(found: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], bool]:
    cold, lost = found["cold"], len(found["cold"]["lost"])
    lines = [
        ("replicas decided after a burst, slowest", found["burst"][OURS]["max"], BARS["burst"], "s"),
        ("cold request beyond the pod's own start, p50", cold["beyondStart50"], BARS["cold50"], "s"),
        ("cold request beyond the pod's own start, p99", cold["beyondStart99"], BARS["cold99"], "s"),
        ("added by the activator, REST p50", found["added"]["REST"]["added50"], BARS["added50"], "s"),
        ("added by the activator, gRPC p50", found["added"]["gRPC"]["added50"], BARS["added50"], "s"),
    ]
    rows: list[tuple[str, ...]] = [
        (name, f"{value:.4f} {unit}", f"{bar:g} {unit}", _word(value <= bar)) for name, value, bar, unit in lines
    ]
    rows += [
        (f"the same by {name}, median", f"{seconds['median']:.4f} s", "", "")
        for name, seconds in found["burst"].items()
        if name != OURS
    ]
    rows.append((f"lost of {cold['requests']} requests", str(lost), "0", _word(lost == 0)))
    rows.append(("the pod's own start, p50", f"{cold['ownStart50']:.2f} s", "", ""))
    rows.append((f"decisions a second, {MODELS} models", f"{found['decisions']['decisionsPerSecond']:.0f}", "", ""))
    held = lost == 0 and all(value <= bar for _, value, bar, _ in lines)
    return rows, held


def _word(is_held: bool) -> str:
    return "held" if is_held else "MISSED"
