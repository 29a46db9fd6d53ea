"""What the models' pods cost, clocked by the hands that make and end them, beside what the operator's CostLedgers say.

Prices are such that a pod costs one USD a second, so that money reads as seconds. A pod costs from when it is bound to its node, which
here is when it is made, until it is gone.

What nobody could see is not held against the operator (operator/src/modelward_operator/ledger/README.md): a leader that ends takes with it
what it has not written yet, a minute at most, and how long a pod that ended since then was there its successor can only estimate. So a pod
that ended in the minute before a fault or while it was going on was charged at least for its time before that minute. What is more than
its time must be called an estimate, but where its end came while the fault was going on: then at most until all was well again. Of every
other pod each second counts.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

Json = dict[str, Any]
Charges = Mapping[str, "Charge"]
"""By model."""
CORES: Final = "100m"
"""That each pod requests."""
PRICE_BOOK: Final[Json] = {
    "apiVersion": "modelward.dev/v1alpha1",
    "kind": "PriceBook",
    "metadata": {"name": "chaos"},
    "spec": {"currency": "USD", "nodes": [{"name": "any", "price": {"cpu": "36000"}}]},
}
HOURLY: Final = 3600.0
"""USD that a pod costs."""
WRITTEN: Final = 75.0
"""Seconds by which a ledger may be behind: it is written once a minute."""
BLURRED: Final = 5.0
"""Seconds by which a pod's beginning and end may be off: whole seconds, and the way of an event on a busy machine."""


@dataclass
class Life:
    """A pod, in seconds since the epoch."""

    model: str
    begun: float
    ended: float | None = None

    def seconds(self, until: float) -> float:
        """For how long it has cost something by then."""
        return max(min(until, self.ended or until) - self.begun, 0.0)


@dataclass
class Bill:
    """All pods that ever were. `clock` gives seconds since the epoch."""

    clock: Callable[[], float] = time.time
    lives: dict[str, Life] = field(default_factory=dict)
    """By UID."""
    unwell: list[tuple[float, float]] = field(default_factory=list)
    """From when until when each fault went on, until all was well again."""

    def see(self, pods: Iterable[Json]) -> None:
        """Take note of those that are there now."""
        for pod in pods:
            meta = pod["metadata"]
            begun = datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
            self.lives.setdefault(meta["uid"], Life(meta["labels"]["modelward.dev/model"], begun))

    def end(self, uid: str) -> None:
        """A pod is gone, as of now."""
        if (life := self.lives.get(uid)) and life.ended is None:
            life.ended = self.clock()

    def bounds(self, now: float) -> dict[str, tuple[float, float]]:
        """By model: the least and the most that its pods can have been charged."""
        found = defaultdict[str, tuple[float, float]](lambda: (0.0, 0.0))
        for life in self.lives.values():
            least, most = self._bounds(life, now)
            low, high = found[life.model]
            found[life.model] = low + max(least - BLURRED, 0.0), high + most + BLURRED
        return dict(found)

    def _bounds(self, life: Life, now: float) -> tuple[float, float]:
        ended = life.ended or now
        blurred = [(low - WRITTEN, over) for low, over in self.unwell if life.ended and low - WRITTEN <= ended <= over]
        least = min((low for low, _ in blurred), default=now - WRITTEN)
        most = max((over for low, over in blurred if low + WRITTEN <= ended), default=now)
        return life.seconds(least), max(most - life.begun, 0.0) if most < now else life.seconds(now)


@dataclass(frozen=True)
class Charge:
    """What a model's rows come to, and the part of it that they call an estimate: an end that nobody saw."""

    spent: float = 0.0
    estimated: float = 0.0


def charged(ledgers: Iterable[Json]) -> dict[str, Charge]:
    """By model."""
    found = defaultdict[str, Charge](Charge)
    for row in (row for ledger in ledgers for row in ledger["spec"].get("rows", ())):
        cells = (cell.partition("=")[2] for cell in row["quarters"].split())
        known, estimated = found[row["model"]], int(row.get("estimated", "0"))
        found[row["model"]] = Charge(known.spent + sum(map(int, cells)) / 10**9, known.estimated + estimated / 10**9)
    return dict(found)


def too_much(before: Charges, after: Charges, bounds: Mapping[str, tuple[float, float]]) -> list[str]:
    """What must not be seen at any time: money that was given back, and, estimates apart, more than the pods can have cost."""
    found = [
        f"{model}: the ledger said {charge.spent:.0f} USD and says {after.get(model, Charge()).spent:.0f}"
        for model, charge in before.items()
        if after.get(model, Charge()).spent < charge.spent
    ]
    return found + [
        f"{model}: charged {charge.spent:.1f} s, {charge.estimated:.1f} s of them as an estimate, "
        f"of pods that were there for {most:.1f} at most"
        for model, charge in after.items()
        if charge.spent - charge.estimated > (most := bounds.get(model, (0.0, 0.0))[1])
    ]


def too_little(after: Charges, bounds: Mapping[str, tuple[float, float]]) -> list[str]:
    """What must be there once the ledgers were written."""
    return [
        f"{model}: charged {after.get(model, Charge()).spent:.1f} s of pods that were there for {least:.1f} at least"
        for model, (least, _) in bounds.items()
        if after.get(model, Charge()).spent < least
    ]


def not_told(status: Mapping[str, Any], replicas: int) -> Sequence[str]:
    """What is wrong with the price that a model's status says."""
    said = status.get("cost", {})
    if float(said.get("hourly", "-1")) == HOURLY * replicas:
        return []
    return [f"the status says {said or 'no cost'}, and {replicas} pods cost {HOURLY * replicas:.0f} USD an hour"]
