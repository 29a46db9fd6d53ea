"""The pictures of a run, as SVG text by file name. Pure: made from the JSON of a run and from nothing else.

Of each product the best configuration in a case is drawn, of ours the one that is judged.
"""

from collections.abc import Mapping
from typing import Final

from e2e.bench.serving.asking import ENCODINGS
from e2e.bench.serving.figures import Figures, alone_in
from e2e.bench.serving.models import MODELS
from e2e.bench.serving.servers import JUDGED
from e2e.bench.serving.svg import OURS, PEER, YARDSTICK, Bar, Panel, draw, spell

COLOURS: Final = {"ours": OURS, "peer": PEER, "yardstick": YARDSTICK}
MOST: Final = 16
"""Connections of what is drawn of the closed loop."""


def plots(figures: Figures) -> dict[str, str]:
    """File name to picture."""
    foot = _conditions(figures)
    rate = f"Requests a second, {MOST} connections (more is better)"
    cpu = f"CPU milliseconds of a request, all processes, {MOST} connections (less is better)"
    return {
        "throughput.svg": draw(rate, _grid(figures, "rate"), foot),
        "cpu.svg": draw(cpu, _grid(figures, "cpu"), foot),
        "latency.svg": draw(
            "Open loop at 70 % of the best peer's capacity: p99 in ms (less is better)", _paced(figures), foot
        ),
        "start.svg": draw(
            "To be there: seconds to the first correct answer, and MB after load (less is better)",
            _starts(figures),
            foot,
        ),
    }


def _grid(figures: Figures, figure: str) -> list[list[Panel]]:
    return [[_panel(figures, model, encoding, figure) for model in MODELS] for encoding in ENCODINGS]


def _panel(figures: Figures, model: str, encoding: str, figure: str) -> Panel:
    servers = figures["cases"].get(f"{model} {encoding} {MOST}", {})
    found = {key: one[figure]["median"] for key, one in servers.items()}
    alone = alone_in(figures, f"{model} {encoding} {MOST}").get(figure)  # in the title: its bar would dwarf the others
    title = f"{model}, {encoding}" + (f" (the model alone: {spell(alone['median'])})" if alone else "")
    return Panel(title, _best(figures, found, most=figure == "rate"), "not measured")


def _paced(figures: Figures) -> list[list[Panel]]:
    def panel(model: str, encoding: str) -> Panel:
        found = figures["openLoop"].get(f"{model} {encoding}")
        if not found:
            return Panel(f"{model}, {encoding}", [], "not measured")
        values = {key: one["p99"]["median"] for key, one in found["servers"].items()}
        return Panel(f"{model}, {encoding}, {found['rate']:,.0f} a second", _best(figures, values, most=False))

    return [[panel(model, encoding) for model in MODELS] for encoding in ENCODINGS]


def _starts(figures: Figures) -> list[list[Panel]]:
    def panel(what: str, title: str, model: str, scale: float) -> Panel:
        found = {key: values[model] * scale for key, values in figures[what].items() if model in values}
        return Panel(f"{title}, {model}", _best(figures, found, most=False), "not measured")

    models = [model for model in MODELS if model in figures["alone"]]
    return [
        [panel("starts", "seconds", model, 1.0) for model in models],
        [panel("memory", "MB", model, 1e-6) for model in models],
    ]


def _best(figures: Figures, found: Mapping[str, float], *, most: bool) -> list[Bar]:
    """Of each product one bar, ours first, then the best first."""
    bars: dict[str, Bar] = {}
    for key, value in sorted(found.items(), key=lambda item: item[1], reverse=most):
        server = figures["servers"][key]
        if server["kind"] != "ours" or key == JUDGED:
            bars.setdefault(server["product"], Bar(server["product"], value, COLOURS[server["kind"]]))
    return sorted(bars.values(), key=lambda bar: bar.colour != OURS)


def _conditions(figures: Figures) -> str:
    machine, extent = figures["machine"], figures["extent"]
    return (
        f"{machine['processor']}, {machine['cpus']} cores: servers on one, load on the other; ONNX Runtime {figures['onnxruntime']}, "
        f"1 thread; rounds: {extent['rounds']}, windows of {extent['seconds']} s, medians; {machine['time'][:10]}"
    )
