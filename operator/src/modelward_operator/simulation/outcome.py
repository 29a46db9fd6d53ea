"""What came of one replay: notes along the way (`Diary`), and the sums at its end (`Outcome`). Made by `replay.py`."""

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from modelward_operator.pricing.money import units
from modelward_operator.simulation.case import Case
from modelward_operator.simulation.purse import Purse, Step
from modelward_operator.simulation.trace import Trace
from modelward_operator.simulation.world import World

NOTES: Final = 1000
"""Notes of a timeline at most; none is shorter than a minute."""


@dataclass(frozen=True, slots=True)
class Note:
    """A stretch of the timeline, as it was at its end. Times in seconds, money in units of the currency."""

    time: float
    requests: int
    """That came in the stretch."""
    wanted: int
    """By the autoscaler."""
    replicas: int
    """Not leaving: those that start, and those that are ready."""
    ready: int
    concurrency: int
    held: int
    p99: float
    """Of the requests that were answered in the stretch; 0 where none was."""
    hourly: str
    spent: str
    """Since the trace's start."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The sums, the timeline, and the steps of the budgets."""

    name: str
    requests: int
    fates: dict[str, int]
    latency: dict[str, float]
    """Mean, p50, p90, p99, p999 and max of the answered, in seconds."""
    held: int
    cold_starts: int
    cold_start: dict[str, float]
    """p50, p99 and max, in seconds: from the first request that was held until a pod was ready."""
    replica_hours: float
    peak: int
    """Replicas at most."""
    utilization: float
    """Share of the replicas' places that was busy, over the time that they were charged."""
    currency: str
    cost: str
    """For the trace's length; empty where the price is not known."""
    price: str
    """Of a replica and hour; empty where it is not known."""
    priced_by: str
    steps: Sequence[Step]
    timeline: Sequence[Note]

    def document(self) -> dict[str, Any]:
        """Return it as JSON, without the timeline."""
        return {key: value for key, value in asdict(self).items() if key != "timeline"}


class Diary:
    """Takes notes at even distances."""

    def __init__(self, case: Case, trace: Trace) -> None:
        self._case = case
        self._every = 60.0 * max(ceil(trace.length / 60.0 / NOTES), 1)
        self._arrived = 0
        self._answered = 0
        self.notes: list[Note] = []
        self.due = self._every

    def note(self, world: World, purse: Purse, wanted: int) -> None:
        """Note down how things are now, unless that was done."""
        if self.notes and self.notes[-1].time == world.now:
            return
        tally = world.tally
        recent = sorted(tally.latencies[self._answered :])
        self.notes.append(
            Note(
                time=world.now,
                requests=tally.arrived - self._arrived,
                wanted=wanted,
                replicas=world.wanted,
                ready=world.ready,
                concurrency=world.concurrency,
                held=world.held,
                p99=round(_quantile(recent, 0.99), 4),
                hourly=units(purse.hourly),
                spent=units(purse.total),
            )
        )
        self._arrived, self._answered = tally.arrived, len(tally.latencies)
        self.due = world.now + self._every

    def close(self, world: World, purse: Purse, bill: int, pod_seconds: float) -> Outcome:
        """Return the sums."""
        tally, rate = world.tally, self._case.rate
        places = pod_seconds * world.shape.parallel
        return Outcome(
            name=self._case.name,
            requests=tally.arrived,
            fates={fate.value: count for fate, count in tally.fates.items()},
            latency=_summary(tally.latencies, {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}),
            held=tally.held,
            cold_starts=len(tally.cold_starts),
            cold_start=_summary(tally.cold_starts, {"p50": 0.5, "p99": 0.99}),
            replica_hours=round(pod_seconds / 3600, 4),
            peak=world.peak,
            utilization=round(tally.work_seconds / places, 4) if places else 0.0,
            currency=rate.currency if rate else "",
            cost=units(bill) if rate else "",
            price=units(rate.nano) if rate else "",
            priced_by=self._case.price,
            steps=tuple(purse.steps),
            timeline=tuple(self.notes),
        )


def _summary(values: "array[float]", shares: dict[str, float]) -> dict[str, float]:
    """Return mean, the quantiles and the maximum, rounded to a tenth of a millisecond; nothing of nothing."""
    if not values:
        return {}
    found = sorted(values)
    told = {"mean": sum(found) / len(found)} | {name: _quantile(found, share) for name, share in shares.items()}
    return {name: round(value, 4) for name, value in (told | {"max": found[-1]}).items()}


def _quantile(found: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed."""
    return found[max(ceil(share * len(found)) - 1, 0)] if found else 0.0
