"""Whether the server held: pure arithmetic on what was seen. Called by `run.py`; its test feeds it leaks."""

from dataclasses import dataclass
from statistics import median

from e2e.soak.tally import Tally
from e2e.soak.watch import Sample

WINDOWS = 10
MOST_GROWTH = 0.05
SHORT, SHORT_GROWTH = 100_000, 0.15  # in windows of some hundred requests a single body of a megabyte shows
POOL = 4  # threads that large requests are decoded on come as they are needed, and stay


@dataclass(frozen=True)
class Window:
    """The medians of what was seen while a tenth of the requests was answered."""

    requests: int  # at its end
    rss: float
    own: float
    descriptors: float
    threads: float


@dataclass(frozen=True)
class Seen:
    """Everything that a soak saw of the server.

    `before` and `after` are looks at it without a client: when the warm-up had left, and at the end. `samples` are of the time between.
    `in_flight` and `waiting` are its own figures at the end, `traces` the tracebacks in its log.
    """

    before: Sample
    samples: list[Sample]
    after: Sample
    tally: Tally
    alive: bool
    in_flight: float
    waiting: float
    traces: list[str]


@dataclass(frozen=True)
class Verdict:
    """One thing that must hold, whether it does, and the figures."""

    what: str
    held: bool
    figures: str


def cut(samples: list[Sample]) -> list[Window]:
    """Windows of as many requests each; fewer where there were fewer samples."""
    first, last = samples[0].requests, samples[-1].requests
    made = []
    for number in range(WINDOWS):
        low, high = (first + (last - first) * n / WINDOWS for n in (number, number + 1))
        inside = [one for one in samples if low <= one.requests < high or one.requests == high == last]
        if inside:
            figures = ((one.rss, one.own, one.descriptors, one.threads) for one in inside)
            made.append(Window(round(high), *(median(column) for column in zip(*figures, strict=True))))
    return made


def judge(seen: Seen) -> list[Verdict]:
    """Each thing that must hold."""
    windows = cut(seen.samples)
    growths = {name: _growth([getattr(window, name) for window in windows]) for name in ("rss", "own")}
    first, last = windows[0], windows[-1]
    most = MOST_GROWTH if seen.samples[-1].requests >= SHORT else SHORT_GROWTH
    return [
        Verdict("every answer is the right one", not seen.tally.found, f"{seen.tally.found} wrong"),
        Verdict("the process lives and is idle", seen.alive and not seen.in_flight and not seen.waiting, _idle(seen)),
        Verdict("its log has no traceback", not seen.traces, f"{len(seen.traces)}"),
        Verdict(
            f"resident memory is flat within {most:.0%}",
            growths["rss"] <= most,
            _memory(first.rss, last.rss, growths["rss"]),
        ),
        Verdict(
            "anonymous memory grows by no more than that",
            growths["own"] * first.own <= most * first.rss,
            _memory(first.own, last.own, growths["own"]),
        ),
        Verdict(
            "no descriptor is left behind",
            seen.after.descriptors <= seen.before.descriptors and last.descriptors <= first.descriptors * 1.1 + 1,
            _counts(seen.before.descriptors, seen.after.descriptors, first.descriptors, last.descriptors),
        ),
        Verdict(
            "threads do not grow in number",
            seen.after.threads <= seen.before.threads + POOL,
            _counts(seen.before.threads, seen.after.threads, first.threads, last.threads),
        ),
    ]


def _growth(medians: list[float]) -> float:
    """From the lowest window to the highest one after it: what sinks does not count, what sinks and rises again does."""
    lowest, worst = medians[0], 0.0
    for one in medians:
        lowest = min(lowest, one)
        worst = max(worst, one / lowest - 1 if lowest else 0.0)
    return worst


def _memory(first: float, last: float, growth: float) -> str:
    return f"{first / 2**20:.1f} MiB, then {last / 2**20:.1f}; the largest rise between windows {growth:.1%}"


def _idle(seen: Seen) -> str:
    return f"{'alive' if seen.alive else 'DEAD'}, in flight {seen.in_flight:.0f}, waiting {seen.waiting:.0f}"


def _counts(idle: int, idle_then: int, first: float, last: float) -> str:
    return f"idle {idle}, then {idle_then}; under load {first:.0f}, then {last:.0f}"
