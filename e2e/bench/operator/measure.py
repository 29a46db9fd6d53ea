"""What is measured of one contestant: creation, idleness, changes, a restart. Every figure but CPU and memory is the audit log's."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from e2e.bench.operator import meter
from e2e.bench.operator.audit import READS, Call, Log, of
from e2e.bench.operator.contestants import Contestant
from e2e.bench.operator.load import USER, Load, Name

QUIET: Final = 3.0
"""Seconds without a request, and with no more than BUSY of a core, after which an operator counts as quiet."""
BUSY: Final = 0.05
PATIENCE: Final = 600.0
PATIENCE_EACH: Final = 0.2
"""Seconds more for each model that is made: ten thousand with all children take longer than ten minutes on one core."""
RATE: Final = 10.0


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the most; of nothing, nothing."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
        "count": len(ordered),
    }


@dataclass
class Watched:
    """A contestant that runs, the audit log, and what was read of it so far in this phase."""

    who: Contestant
    process: subprocess.Popen[bytes]
    log: Log
    server: tuple[int, ...] = ()
    """Process ids of API server and etcd."""
    calls: list[Call] = field(default_factory=list)
    """What everybody did in this phase."""
    own: list[Call] = field(default_factory=list)
    """Of that, what the contestant did."""
    awaits_quiet: bool = True
    """False where others keep it busy: then a phase ends with its last answer."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def begin(self) -> None:
        """A phase begins: what was before does not count."""
        self.log.skip()
        self.calls, self.own = [], []

    def news(self) -> list[Call]:
        """What it did since somebody looked last."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.who.title} ended with {self.process.returncode}")
        new = self.log.read()
        own = of(new, self.who.key)
        self.calls += new
        self.own += own
        return own

    def look(self) -> list[Call]:
        """All that it did in this phase."""
        self.news()
        return self.own

    async def quiet(self) -> float:
        """Wait until it is quiet; return since when it was, on the monotonic clock."""
        if not self.awaits_quiet:
            return time.monotonic()
        limit = time.monotonic() + PATIENCE
        since, used, seen = time.monotonic(), meter.cpu(self.pid), len(self.look())
        while time.monotonic() - since < QUIET:
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.who.title} is not quiet after {PATIENCE:.0f} s")
            await asyncio.sleep(1.0)
            now, calls = meter.cpu(self.pid), len(self.look())
            if now - used > BUSY or calls != seen:
                since = time.monotonic()
            used, seen = now, calls
        return since


async def started(it: Watched) -> None:
    """Wait until it has come up: on a busy machine a process that has not begun to list yet is quiet as well."""
    it.begin()
    await _until(lambda: bool(it.look()), it)
    await it.quiet()


async def creation(it: Watched, load: Load, models: Sequence[Name]) -> dict[str, Any]:
    """All models at once; until the last child of the last one is there, and then until the operator is quiet."""
    it.begin()
    used, served = meter.cpu(it.pid), sum(map(meter.cpu, it.server))
    bodies = [it.who.manifest(*model) for model in models]
    making = asyncio.create_task(load.create(it.who.models, bodies))
    children = _Children(it.who)
    await _until(lambda: children.take(it.news()) >= len(models), it, PATIENCE + PATIENCE_EACH * len(models))
    await making
    done, served = children.done, sum(map(meter.cpu, it.server)) - served
    begun = _asked(it.calls, it.who.resource, "create")
    await it.quiet()
    calls = it.look()
    first, last = min(begun.values()), max(done.values())
    return {
        "models": len(models),
        "children": it.who.children,
        "seconds": last - first,
        "perSecond": len(models) / (last - first),
        "latency": quantiles([done[model] - begun[model] for model in begun]),
        "serverCpuPerModel": served / len(models),
        "cpuPerModel": (meter.cpu(it.pid) - used) / len(models),
        "writesPerModel": sum(call.is_write for call in calls) / len(models),
        "readsPerModel": sum(call.verb in READS for call in calls) / len(models),
        "calls": tally(calls),
        "memory": meter.memory(it.pid)[0],
    }


class _Children:
    """When the last of a model's children was written first; each call is looked at once, on the core of who is measured."""

    def __init__(self, who: Contestant) -> None:
        self._who = who
        self._first: dict[Name, dict[tuple[str, str], float]] = {}
        self.done: dict[Name, float] = {}
        """Of those models that have all their children."""

    def take(self, calls: Iterable[Call]) -> int:
        """Take what the contestant did; return how many models have all their children."""
        for call in calls:
            if (
                not call.is_write
                or call.verb == "delete"
                or "/" in call.resource
                or call.resource == self._who.resource
            ):
                continue
            namespace, model = call.model
            if model and (namespace, model) not in self.done:
                made = self._first.setdefault((namespace, model), {})
                made.setdefault((call.resource, call.name), call.at)
                if len(made) >= self._who.children:
                    self.done[namespace, model] = max(made.values())
        return len(self.done)


def _asked(calls: Iterable[Call], resource: str, verb: str) -> dict[Name, float]:
    """When each model was made or changed by its user."""
    return {c.model: c.at for c in calls if c.user == USER and c.verb == verb and c.resource == resource and c.is_write}


async def idleness(it: Watched, seconds: float) -> dict[str, Any]:
    """What it does while nothing happens."""
    await it.quiet()
    it.begin()
    used, begun = meter.cpu(it.pid), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - begun
    calls = it.look()
    return {
        "seconds": passed,
        "cpu": (meter.cpu(it.pid) - used) / passed,
        "writesPerMinute": sum(call.is_write for call in calls) * 60 / passed,
        "readsPerMinute": sum(call.verb in READS for call in calls) * 60 / passed,
        "calls": tally(calls),
        "memory": meter.memory(it.pid)[0],
    }


async def changes(it: Watched, load: Load, models: Sequence[Name], count: int) -> dict[str, Any]:
    """Ten changes a second, each of another model; until each has reached its Deployment."""
    it.begin()
    step = max(1, len(models) // count)
    some = models[::step][:count]
    await load.change(it.who.models, some, it.who.change, RATE)
    await _until(lambda: it.look() is not None and len(_reached(it)) >= len(some), it)
    asked = _asked(it.calls, it.who.resource, "patch")
    reached = _reached(it)
    await it.quiet()
    calls = it.look()
    return {
        "present": len(models),
        "perSecond": RATE,
        "latency": quantiles([reached[model] - asked[model] for model in asked]),
        "writesPerChange": sum(call.is_write for call in calls) / len(some),
        "calls": tally(calls),
    }


def _reached(it: Watched) -> dict[Name, float]:
    """When a change of a model reached its Deployment."""
    asked, reached = _asked(it.calls, it.who.resource, "patch"), dict[Name, float]()
    for call in it.own:
        model = call.model
        if call.resource == "deployments" and call.is_write and model in asked and call.at >= asked[model]:
            reached.setdefault(model, call.at)
    return reached


async def restart(it: Watched, start: Callable[[], subprocess.Popen[bytes]]) -> dict[str, Any]:
    """It was ended; another begins. What it writes, and when it is quiet: nothing has changed meanwhile."""
    it.begin()
    begun = time.monotonic()
    it.process = start()
    await _until(lambda: bool(it.look()), it)  # it has begun to list: before that, it is quiet as well
    quiet = await it.quiet()
    calls = it.look()
    return {
        "seconds": quiet - begun,
        "cpu": meter.cpu(it.pid),
        "writes": sum(call.is_write for call in calls),
        "reads": sum(call.verb in READS for call in calls),
        "calls": tally(calls),
        "memory": meter.memory(it.pid)[0],
        "peakMemory": meter.memory(it.pid)[1],
    }


async def _until(true: Callable[[], bool], it: Watched, patience: float = PATIENCE) -> None:
    limit = time.monotonic() + patience
    while not true():
        if time.monotonic() > limit:
            raise TimeoutError(f"{it.who.title} is not done after {patience:.0f} s: {tally(it.look())}")
        await asyncio.sleep(0.5)


def tally(calls: Iterable[Call]) -> dict[str, int]:
    """How often each request was made."""
    return dict(sorted(Counter(f"{call.verb} {call.resource} {call.code}" for call in calls).items()))
