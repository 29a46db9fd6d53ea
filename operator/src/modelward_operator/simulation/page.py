"""The outcomes as a page that a person reads: side by side, then each over time. Called by `command.py`."""

from collections.abc import Iterator, Sequence
from typing import Final

from modelward_operator.simulation.outcome import Outcome
from modelward_operator.simulation.plot import strips
from modelward_operator.simulation.purse import Step
from modelward_operator.simulation.replay import Options
from modelward_operator.simulation.trace import Trace

STEPS: Final = 12
"""Steps of the budgets that are shown of a model at most; the JSON has all."""


def page(trace: Trace, options: Options, outcomes: Sequence[Outcome]) -> str:
    """Return the page."""
    return "\n".join(_lines(trace, options, outcomes))


def _lines(trace: Trace, options: Options, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield (
        f"{trace.requests:,} requests in {_span(trace.length)}; a replica works on {options.parallel} at once, is ready after "
        f"{options.start_seconds:g} s; service times {options.service}, seed {options.seed}"
    )
    yield ""
    yield from _table([("", *(outcome.name for outcome in outcomes)), *_rows(outcomes)])
    for outcome in outcomes:
        yield ""
        yield f"{outcome.name}  ({_span(trace.length)} from left to right; a full block is the number at the right)"
        yield from strips(outcome)
        yield from _steps(outcome)


def _rows(outcomes: Sequence[Outcome]) -> Iterator[Sequence[str]]:
    yield "answered", *(_share(o.fates["answered"], o.requests) for o in outcomes)
    for fate, words in (
        ("refused", "429: queue full"),
        ("expired", "503: held too long"),
        ("failed", "503: no pod"),
        ("denied", "503: over budget"),
    ):
        if any(o.fates[fate] for o in outcomes):
            yield words, *(_share(o.fates[fate], o.requests) for o in outcomes)
    for key in ("mean", "p50", "p90", "p99", "p999", "max"):
        yield f"latency {key}", *(_seconds(o.latency.get(key)) for o in outcomes)
    yield "cold starts", *(str(o.cold_starts) for o in outcomes)
    yield "  of it, p50", *(_seconds(o.cold_start.get("p50")) for o in outcomes)
    yield "  of it, max", *(_seconds(o.cold_start.get("max")) for o in outcomes)
    yield "requests held", *(f"{o.held:,}" for o in outcomes)
    yield "replica hours", *(f"{o.replica_hours:,.1f}" for o in outcomes)
    yield "replicas at most", *(str(o.peak) for o in outcomes)
    yield "places busy", *(f"{o.utilization:.0%}" for o in outcomes)
    yield "price of a replica", *(f"{o.price} {o.currency}/h" if o.price else "not known" for o in outcomes)
    yield "cost", *(f"{float(o.cost):,.2f} {o.currency}" if o.cost else "not known" for o in outcomes)
    yield "warnings of budgets", *(str(sum(step.action == "Alert" for step in o.steps)) for o in outcomes)


def _steps(outcome: Outcome) -> Iterator[str]:
    if not outcome.price:
        yield f"{'':>9}  no price: {outcome.priced_by}"
    bounds = list(_bounds(outcome.steps))
    for step in bounds[:STEPS]:
        yield f"{_at(step.time):>9}  budget {step.budget}: {step.action} at {float(step.spent):,.2f} {outcome.currency} spent"
    if len(bounds) > STEPS:
        yield f"{'':>9}  … and {len(bounds) - STEPS} steps more: --json has them"


def _bounds(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps with which a budget begins or ends to bound the replicas."""
    held: set[str] = set()
    for step in steps:
        is_bound = step.action not in {"None", "Alert"}
        if is_bound or step.budget in held:
            yield step
        held = held | {step.budget} if is_bound else held - {step.budget}


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.3%})" if of else "0"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _span(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.1f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def _at(seconds: float) -> str:
    """A time of the trace: day, hour and minute."""
    minutes = int(seconds) // 60
    return f"{minutes // 1440}d {minutes // 60 % 24:02}:{minutes % 60:02}"
