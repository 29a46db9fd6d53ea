"""What a person reads of a run: a table per case, one of the servers, and the bars. Pure: the JSON of a run in, text out."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from e2e.bench.results import table
from e2e.bench.serving.bars import Verdict
from e2e.bench.serving.figures import alone_in

WORDS: Final = {True: "held", False: "MISSED", None: "not judged"}
HEAD: Final = ("requests/s", "spread", "p50 ms", "p99 ms", "p99.9 ms", "CPU s/1,000")
FULL: Final = 0.95
"""Share of the load generator's core from which on the generator, not the server, may have been the limit."""
CROWDED: Final = 0.1
"""Share of the servers' core that others may take before the table warns."""


def told(figures: Mapping[str, Any], verdicts: list[Verdict]) -> str:
    """Everything, with blank lines between."""
    parts = [*_cases(figures), _servers(figures), *_notes(figures), _bars(verdicts)]
    return "\n\n".join(part for part in parts if part)


def page(figures: Mapping[str, Any], verdicts: list[Verdict]) -> str:
    """The same as Markdown, with the pictures."""
    machine, extent = figures["machine"], figures["extent"]
    asked = f"PEERS={figures['peers']} ROUNDS={extent['rounds']} SECONDS={extent['seconds']}"
    conditions = (
        f"{machine['time'][:10]}, {machine['processor']}, {machine['cpus']} cores, Linux {machine['kernel']}; ONNX Runtime "
        f"{figures['onnxruntime']}; {extent['rounds']} rounds, windows of {extent['seconds']} s; `make bench SUITE=serving {asked}`."
    )
    pictures = "\n".join(f"![{name}]({name}.svg)" for name in ("throughput", "cpu", "latency", "start"))
    says = "Made by `python -m e2e.bench.serving publish` from [serving.json](serving.json); [how it is measured](../README.md)."
    return f"# Figures of one run\n\n{says}\n{conditions}\n\n{pictures}\n\n```\n{told(figures, verdicts)}\n```\n"


def _cases(figures: Mapping[str, Any]) -> Iterator[str]:
    for name, servers in figures["cases"].items():
        if servers:
            rows: list[tuple[str, ...]] = [(f"{name} connection{'s' if not name.endswith(' 1') else ''}", *HEAD)]
            rows += [_row(figures["servers"][key]["title"], one) for key, one in servers.items()]
            if "rate" in (alone := alone_in(figures, name)):
                rows.append(_row("the model alone", alone))
            yield table(rows)
    for name, found in figures["openLoop"].items():
        head = [(f"{name}, open loop at {found['rate']:.0f}/s", *HEAD)]
        yield table([*head, *(_row(figures["servers"][key]["title"], one) for key, one in found["servers"].items())])


def _row(title: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    rate = found["rate"]
    spread = (rate["max"] - rate["min"]) / 2 / rate["median"] if rate["median"] else 0.0
    full = ">" if found.get("generator", {}).get("median", 0.0) > FULL else ""
    times = (f"{found[name]['median']:.3g}" for name in ("p50", "p99", "p99.9"))
    return (title, f"{full}{rate['median']:,.0f}", f"±{spread:.0%}", *times, f"{found['cpu']['median']:.3g}")


def _servers(figures: Mapping[str, Any]) -> str:
    models = list(figures["alone"])
    rows: list[tuple[str, ...]] = [
        ("server", "version", *(f"start s, {model}" for model in models), *(f"MB, {model}" for model in models))
    ]
    for key, server in figures["servers"].items():
        starts = (_cell(figures["starts"].get(key, {}), model, "{:.2f}", 1) for model in models)
        memory = (_cell(figures["memory"].get(key, {}), model, "{:.0f}", 1e-6) for model in models)
        rows.append((server["title"], server["version"], *starts, *memory))
    return table(rows)


def _cell(found: Mapping[str, float], model: str, form: str, scale: float) -> str:
    return form.format(found[model] * scale) if model in found else "-"


def _notes(figures: Mapping[str, Any]) -> Iterator[str]:
    """What is missing and why; where the generator or the machine was the limit."""
    lines = [
        f"{figures['servers'][key]['title']}: {text}" for key, texts in figures["reasons"].items() for text in texts
    ]
    if lines:
        yield "not measured:\n" + "\n".join(f"  {line}" for line in lines)
    windows = [(name, key, found) for name, servers in figures["cases"].items() for key, found in servers.items()]
    if any(found["generator"]["median"] > FULL for _, _, found in windows):
        yield "> the load generator's core was full: the server may do more"
    crowded = [found["others"]["median"] for _, _, found in windows if found["others"]["median"] > CROWDED]
    if crowded:
        yield f"the machine was busy: others took {CROWDED:.0%} of the servers' core and more in {len(crowded)} of {len(windows)} windows"


def _bars(verdicts: list[Verdict]) -> str:
    rows = [("bar", "case", "ours; theirs", "")]
    rows += [(one.bar, one.case, one.says, WORDS[one.held]) for one in verdicts]
    held = sum(one.held is True for one in verdicts)
    judged = sum(one.held is not None for one in verdicts)
    return f"{table(rows)}\n\n{held} of {judged} bars held; {len(verdicts) - judged} not judged"
