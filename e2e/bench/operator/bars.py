"""The bars of the issue "Ten thousand models": which are held, which are missed, and which nothing was measured for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

Figures = Mapping[str, Any]

LARGE: Final = 5000
"""Models from which on only ours are measured."""
KSERVE: Final = "kserve"
CONTROL: Final = "control"
RIVALS: Final = {KSERVE: "KServe's controller", CONTROL: "the plain kopf operator"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar."""

    what: str
    measured: str
    held: bool | None
    """None: one of the two figures is missing."""


def judge(figures: Figures) -> list[Verdict]:
    """All bars, in the issue's order. Those for 1,000 models are held against the largest run of everybody; each says how many."""
    size = max((int(size) for size in figures["sizes"] if int(size) < LARGE), default=0)
    at_most_a_thousand = [replace(v, what=f"{size:,} models: {v.what}") for v in _beside_others(figures, size)]
    return [*at_most_a_thousand, *_at_ten_thousand(figures), *_fairness(figures)]


def told(verdicts: list[Verdict]) -> str:
    """For a terminal."""
    words = {True: "held  ", False: "MISSED", None: "-     "}
    return "\n".join(f"{words[verdict.held]}  {verdict.what}: {verdict.measured}" for verdict in verdicts)


def _beside_others(figures: Figures, size: int) -> Iterator[Verdict]:
    at = figures["sizes"].get(str(size), {})
    for rival, factor in ((KSERVE, 4.0), (CONTROL, 2.0)):
        yield _ratio(at, "models a second", "create.perSecond", rival, factor, least=True)
    yield _ratio(at, "models a second", "create.perSecond", "bare-apply", 0.8, least=True, theirs="perSecond")
    for quantile in ("p50", "p99"):
        for rival, factor in ((KSERVE, 0.25), (CONTROL, 0.5)):
            yield _ratio(at, f"creation to all children, {quantile}", f"create.latency.{quantile}", rival, factor)
    for rival in RIVALS:
        yield _ratio(at, "CPU per model created", "create.cpuPerModel", rival, 0.3)
    yield _ratio(at, "change to child, p99", "change.latency.p99", KSERVE, 0.5)
    yield _most(at, "ours", "writes per model created, three children", "create.writesPerModel", 4.0)
    children = _find(at, "full", "create.children")
    yield _most(at, "full", "writes per model created, all children", "create.writesPerModel", (children or 0) + 1)
    yield _most(at, "ours", "writes of a restart", "restart.writes", 0)
    for rival in RIVALS:
        yield _ratio(at, "restart to quiet", "restart.seconds", rival, 0.3)
    yield _most(at, "ours", "idle writes a minute", "idle.writesPerMinute", 0)
    yield _ratio(at, "memory", "idle.memory", KSERVE, 1.0)
    yield _most(at, "ours", "crash fail-over, s", "failover.crash.seconds", 20)
    yield _most(at, "ours", "graceful fail-over, s", "failover.graceful.seconds", 3)
    yield _most(at, "ours", "writes to other models at a take-over", "failover.crash.writesToOthers", 0)


def _at_ten_thousand(figures: Figures) -> Iterator[Verdict]:
    at = figures["sizes"].get("10000", {})
    for key, title in (("ours", "three children"), ("full", "all children")):
        yield _most(at, key, f"10,000 models, {title}: change to child, p99, s", "change.latency.p99", 1.0)
        yield _most(at, key, f"10,000 models, {title}: writes of a restart", "restart.writes", 0)
        yield _most(at, key, f"10,000 models, {title}: restart to quiet, s", "restart.seconds", 60)
        yield _most(at, key, f"10,000 models, {title}: idle writes a minute", "idle.writesPerMinute", 0)
        yield _most(at, key, f"10,000 models, {title}: idle CPU, of a core", "idle.cpu", 0.05)
        yield _most(at, key, f"10,000 models, {title}: most memory, bytes", "restart.peakMemory", 400_000_000)
        with_pods = f"10,000 models, {title}, with a pod each"
        yield _most(at, key, f"{with_pods}: writes of a restart", "pods.restart.writes", 0)
        yield _most(at, key, f"{with_pods}: idle CPU, of a core", "pods.idle.cpu", 0.05)
        yield _most(at, key, f"{with_pods}: most memory, bytes", "pods.restart.peakMemory", 400_000_000)


def _fairness(figures: Figures) -> Iterator[Verdict]:
    """Not slowed: within a half more, which is what two runs of the same differ by on a shared machine."""
    at = figures.get("fairness", {})
    for what, path in (("creation", "create.p99"), ("change", "change.p99")):
        alone, among = _find(at, "alone", path), _find(at, "among", path)
        title = f"{what} of good models among as many broken ones, p99, ≤ 1.5 of alone"
        if alone is None or among is None:
            yield Verdict(title, "not measured", None)
        else:
            yield Verdict(title, f"{among:.3f} s, alone {alone:.3f} s", among <= 1.5 * alone)


def _ratio(
    at: Figures, what: str, path: str, rival: str, factor: float, *, least: bool = False, theirs: str = ""
) -> Verdict:
    title = f"{what}, {'≥' if least else '≤'} {factor:g} of {RIVALS.get(rival, 'a bare client')}"
    mine, other = _find(at, "ours", path), _find(at, rival, theirs or path)
    if mine is None or other is None:
        return Verdict(title, "not measured", None)
    ratio = mine / other if other else float("inf")
    return Verdict(title, f"{ratio:.2f} ({mine:.4g} and {other:.4g})", _holds(ratio, factor, least=least))


def _most(at: Figures, who: str, what: str, path: str, limit: float) -> Verdict:
    title = f"{what}, ≤ {limit:,g}"
    found = _find(at, who, path)
    return Verdict(title, "not measured", None) if found is None else Verdict(title, f"{found:,.4g}", found <= limit)


def _holds(ratio: float, factor: float, *, least: bool) -> bool:
    return ratio >= factor if least else ratio <= factor


def _find(at: Figures, who: str, path: str) -> float | None:
    """A figure by its path; None where it was not measured."""
    found: Any = at.get(who)
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None
