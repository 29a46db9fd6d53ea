"""Suite decisions: how many models the built-in autoscaler decides about in a second, on one core. Needs no cluster.

Ten thousand models of two pods each, whose loads walk at random. Every turn, one pod of every model says its load, what to ask it next
is chosen, and the number is decided: what the operator does for a model that is busy, but for the GET itself (`autoscaler/sampler.py`
gives its cost). `measure` is for the suite scaling, too.
"""

from __future__ import annotations

import random
import statistics
import time

from e2e.bench import results
from modelward_operator.autoscaler.decide import Settings
from modelward_operator.autoscaler.load import Load
from modelward_operator.autoscaler.track import Track

MODELS = 10_000
PODS = ("a", "b")
STEP = 2.0  # seconds of the models' time in a turn
WARM_UP = 35  # turns, until the windows are full
BAR = 10_000  # decisions a second


def run(rounds: int) -> bool:
    """Measure, print, keep; whether the bar was held."""
    found = measure(rounds=rounds)
    held = found["decisionsPerSecond"] >= BAR
    print(
        f"{found['decisionsPerSecond']:,.0f} models decided in a second on one core ({found['microseconds']:.1f} µs each; "
        f"median of {rounds} rounds over {MODELS:,} models of {len(PODS)} pods)"
    )
    print(f"{'held' if held else 'MISSED'}: at least {BAR:,} a second")
    results.write("decisions", {"models": MODELS, "pods": len(PODS), "bar": BAR, "held": held, **found})
    return held


def measure(models: int = MODELS, rounds: int = 7, seed: int = 1) -> dict[str, float]:
    """Return decisions a second of CPU time, and microseconds for each: hearing one pod, choosing the next ask, deciding."""
    chance = random.Random(seed)
    tracks = [Track(Settings(0, 20, 8.0), 1) for _ in range(models)]
    busy = [[0.0, 0.0] for _ in range(models)]
    now, spent = 0.0, []
    for turn in range(WARM_UP + rounds):
        now += STEP
        levels = [max(chance.gauss(6.0, 4.0), 0.0) for _ in range(models)]
        loads = []
        for of_model, level in zip(busy, levels, strict=True):
            of_model[turn % 2] += level * 2 * STEP
            loads.append(Load(now, level, of_model[turn % 2], float(turn), 0.0))
        pod, began = PODS[turn % 2], time.process_time()
        for track, load in zip(tracks, loads, strict=True):
            track.meet(PODS, now)
            track.hear(pod, load, now)
            track.ask(pod, now)
            track.decide(now)
        spent.append(time.process_time() - began)
    seconds = statistics.median(spent[WARM_UP:])
    return {"decisionsPerSecond": round(models / seconds), "microseconds": round(seconds / models * 1e6, 2)}
