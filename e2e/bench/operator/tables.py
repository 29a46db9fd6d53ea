"""The figures as tables: for a terminal, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from e2e.bench import results
from e2e.bench.operator.bars import Figures, Verdict

TITLES: Final = {
    "ours": "ModelWard, three children",
    "kserve": "KServe's controller",
    "control": "plain kopf operator",
    "bare-apply": "bare client, apply",
    "bare-create": "bare client, POST",
    "full": "ModelWard, all children",
}
ROWS: Final = (
    ("children per model", "create.children", "{:.0f}"),
    ("models a second, all children applied", "create.perSecond", "{:.1f}"),
    ("creation to all children, p50, s", "create.latency.p50", "{:.2f}"),
    ("creation to all children, p99, s", "create.latency.p99", "{:.2f}"),
    ("operator's CPU per model, ms", "create.cpuPerModel", "{:.1f}"),
    ("API server's and etcd's CPU per model, ms", "create.serverCpuPerModel", "{:.1f}"),
    ("writes per model", "create.writesPerModel", "{:.2f}"),
    ("reads per model", "create.readsPerModel", "{:.2f}"),
    ("change to Deployment, p50, ms", "change.latency.p50", "{:.0f}"),
    ("change to Deployment, p99, ms", "change.latency.p99", "{:.0f}"),
    ("idle: writes a minute", "idle.writesPerMinute", "{:.1f}"),
    ("idle: reads a minute", "idle.readsPerMinute", "{:.1f}"),
    ("idle: CPU, % of a core", "idle.cpu", "{:.1f}"),
    ("restart: writes", "restart.writes", "{:.0f}"),
    ("restart: seconds to quiet", "restart.seconds", "{:.1f}"),
    ("restart: CPU seconds", "restart.cpu", "{:.1f}"),
    ("memory without models, MB", "start.memory", "{:.0f}"),
    ("memory, MB", "idle.memory", "{:.0f}"),
    ("memory after a restart, MB", "restart.memory", "{:.0f}"),
    ("most memory in a restart, MB", "restart.peakMemory", "{:.0f}"),
    ("with a pod each: until all serve, s", "pods.seconds", "{:.1f}"),
    ("with a pod each: operator's CPU per model, ms", "pods.cpuPerModel", "{:.1f}"),
    ("with a pod each: writes per model", "pods.writesPerModel", "{:.2f}"),
    ("with a pod each: memory, MB", "pods.memory", "{:.0f}"),
    ("with a pod each: idle writes a minute", "pods.idle.writesPerMinute", "{:.1f}"),
    ("with a pod each: idle CPU, % of a core", "pods.idle.cpu", "{:.1f}"),
    ("with a pod each: restart, seconds to quiet", "pods.restart.seconds", "{:.1f}"),
    ("with a pod each: restart, writes", "pods.restart.writes", "{:.0f}"),
    ("with a pod each: most memory in a restart, MB", "pods.restart.peakMemory", "{:.0f}"),
    ("crash fail-over, s", "failover.crash.seconds", "{:.1f}"),
    ("graceful fail-over, s", "failover.graceful.seconds", "{:.1f}"),
)
SCALES: Final = {
    "create.cpuPerModel": 1e3,
    "create.serverCpuPerModel": 1e3,
    "idle.cpu": 100.0,
    "pods.cpuPerModel": 1e3,
    "pods.idle.cpu": 100.0,
    "change.latency.p50": 1e3,
    "change.latency.p99": 1e3,
}
Cells = list[tuple[str, ...]]


def table(figures: Figures) -> str:
    """All sizes, for a terminal."""
    return "\n\n".join(f"{int(size):,} models\n{results.table(cells(at))}" for size, at in figures["sizes"].items())


def cells(at: Mapping[str, Any]) -> Cells:
    """One size: a row a figure, a column for each that was measured."""
    found = [key for key in TITLES if key in at]
    rows: Cells = [("", *(TITLES[key] for key in found))]
    for title, path, form in ROWS:
        row = tuple(_cell(at[key], path, form) for key in found)
        if any(row):
            rows.append((title, *row))
    return rows


def _cell(of: Any, path: str, form: str) -> str:
    found = of
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    if found is None:
        found = of.get(path.removeprefix("create."))  # of a bare client
    if found is None:
        return ""
    scale = 1e-6 if path.rsplit(".", maxsplit=1)[-1].lower().endswith("memory") else SCALES.get(path, 1.0)
    return form.format(found * scale)


def page(figures: Figures, verdicts: Sequence[Verdict]) -> str:
    """The published page."""
    machine, said = figures["machine"], figures["asked"]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    parts = [
        "# How many models an operator holds: figures of one run",
        "Made by `make bench SUITE=operator` and `python -m e2e.bench.operator publish`; [how it is measured](../README.md).",
        f"* {machine['time']}, {machine['cpus']} cores of {machine['processor']}, Linux {machine['kernel']}, load average at the end "
        f"{machine['loadAverage']:.1f}; API server and etcd on one core, who is measured and the load on another"
        + ("; both with real-time priority, because others worked on the machine" if said["priority"] else ""),
        f"* {versions}",
        *(f"* Not measured: {who}: {why}" for who, why in figures.get("absent", {}).items()),
        *(f"* Broke off: {what}: {why}" for what, why in figures.get("broken", {}).items()),
    ]
    for size, at in figures["sizes"].items():
        parts += [f"## {int(size):,} models", _markdown(cells(at))]
    if fair := figures.get("fairness"):
        parts += [f"## {fair['good']:,} good models among {fair['broken']:,} broken ones", _markdown(_fair(fair))]
    rows: Cells = [("bar", "measured", "")]
    words = {True: "held", False: "**missed**", None: "not measured"}
    rows += [(verdict.what, verdict.measured, words[verdict.held]) for verdict in verdicts]
    parts += ["## Bars", _markdown(rows)]
    lists = "\n\n".join(parts)
    return lists.replace("\n\n* ", "\n* ").replace("(../README.md).\n* ", "(../README.md).\n\n* ") + "\n"


def _fair(fair: Mapping[str, Any]) -> Cells:
    rows: Cells = [("", "alone", "among broken ones")]
    for what in ("create", "change"):
        for quantile in ("p50", "p99"):
            title = f"{'creation to all children' if what == 'create' else 'change to Deployment'}, {quantile}, s"
            rows.append((title, *(f"{fair[side][what][quantile]:.3f}" for side in ("alone", "among"))))
    rows.append(("models a second", *(f"{fair[side]['perSecond']:.1f}" for side in ("alone", "among"))))
    rows.append(("CPU for the broken ones alone, % of a core", "", f"{fair['cpuForBroken'] * 100:.1f}"))
    return rows


def _markdown(rows: Cells) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
