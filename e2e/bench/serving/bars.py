"""The bars: what our server must reach next to its peers and to the model alone, in one run. Pure: figures in, verdicts out.

One configuration of ours is judged in every case (`servers.JUDGED`); of the peers the best configuration of all counts, in each case by
itself. A bar whose figures are missing, because a peer was not asked for or did not serve, is neither held nor missed: `held` is None.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from e2e.bench.serving.asking import BINARY, GRPC, JSON
from e2e.bench.serving.cases import CASES
from e2e.bench.serving.figures import Figures, alone_in
from e2e.bench.serving.servers import JUDGED, PEER

WITHOUT_BATCHING: Final = "modelward"
MLSERVER: Final = "mlserver"
NOISE: Final = 1.05
"""Two medians closer than this are the same, whatever their rounds say."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar in one case."""

    case: str
    bar: str
    held: bool | None
    says: str


@dataclass(frozen=True, slots=True)
class Reached:
    """What a server reached in a case."""

    title: str
    value: float


def judge(figures: Figures) -> list[Verdict]:
    """Every bar in every case, in the order of the list."""
    return [verdict for bar in BARS for verdict in bar(figures)]


def _rates(figures: Figures) -> Iterator[Verdict]:
    for case, factor in (
        ("tiny JSON 16", 3.0),  # the server is all of it
        ("tiny gRPC 16", 1.5),  # grpc.aio is the ceiling
        ("middle JSON 16", 1.3),  # by batching
        ("middle binary 16", 1.3),
        ("middle gRPC 16", 1.3),
        ("image JSON 16", 1.5),  # by decoding
    ):
        bar = f"requests a second ≥ {factor:g} x the best peer's"
        yield _compared(figures, case, bar, "rate", partial(_at_least, factor))


def _alone(figures: Figures) -> Iterator[Verdict]:
    for encoding in (JSON, BINARY, GRPC):
        yield _beside(
            figures,
            f"middle {encoding} 16",
            "requests a second ≥ the model alone, a run each",
            "rate",
            lambda a, b: a >= b,
        )
    for encoding in (BINARY, GRPC):
        bar = "CPU of a request ≤ 1.1 x the model alone"
        yield _beside(figures, f"image {encoding} 16", bar, "cpu", lambda a, b: a <= 1.1 * b)


def _added(figures: Figures) -> Iterator[Verdict]:
    """Round trip less the model's own time."""
    for model in ("tiny", "middle"):
        for encoding in (JSON, BINARY, GRPC):
            case, bar = f"{model} {encoding} 1", "added latency p50 ≤ 0.5 x the best peer's"
            bare = _median(alone_in(figures, case), "p50") or 0.0
            yield _compared(figures, case, bar, "p50", lambda ours, peer: ours <= 0.5 * peer, less=bare)


def _batching(figures: Figures) -> Iterator[Verdict]:
    """With one connection there is nothing to batch, and so nothing to pay."""
    for case in [case for case in CASES if case.connections == 1]:
        servers = figures["cases"].get(case.name, {})
        off, on = servers.get(WITHOUT_BATCHING), servers.get(JUDGED)
        if off and on:
            ours, theirs = on["p50"]["median"], off["p50"]["median"]
            held = ours <= max(theirs * NOISE, off["p50"]["max"])
            yield Verdict(
                case.name, "batching costs nothing measurable, p50", held, f"{ours:.3g} ms, without {theirs:.3g}"
            )


def _open_loop(figures: Figures) -> Iterator[Verdict]:
    bar = "open loop, p99 ≤ 0.5 x that peer's"
    for case, found in figures["openLoop"].items():
        ours, peer = (_median(found["servers"].get(key, {}), "p99") for key in (JUDGED, found["peer"]))
        if ours is None or peer is None:
            yield Verdict(case, bar, None, "not measured")
            continue
        title = figures["servers"][found["peer"]]["title"]
        yield Verdict(
            case, bar, ours <= 0.5 * peer, f"{ours:.3g} ms; {title} {peer:.3g}, at {found['rate']:.0f} a second"
        )


def _start_and_memory(figures: Figures) -> Iterator[Verdict]:
    """Against MLServer's best configuration, each model by itself."""
    for what, factor, scale, unit, bar in (
        ("starts", 0.25, 1.0, "s", "start to the first correct answer ≤ 0.25 x MLServer's"),
        ("memory", 0.7, 1e-6, "MB", "memory after load ≤ 0.7 x MLServer's"),
    ):
        for model, ours in figures[what].get(JUDGED, {}).items():
            keys = [key for key, server in figures["servers"].items() if server["peer"] == MLSERVER]
            peers = [figures[what][key][model] for key in keys if model in figures[what].get(key, {})]
            if not peers:
                yield Verdict(model, bar, None, "MLServer was not measured")
                continue
            says = f"{ours * scale:.3g} {unit}; MLServer {min(peers) * scale:.3g}"
            yield Verdict(model, bar, ours <= factor * min(peers), says)


def _cpu(figures: Figures) -> Iterator[Verdict]:
    for case in CASES:
        bar = "CPU seconds per 1,000 requests: the lowest of all"
        yield _compared(figures, case.name, bar, "cpu", lambda ours, peer: ours <= peer)


BARS: Final[tuple[Callable[[Figures], Iterator[Verdict]], ...]] = (
    _rates,  # throughput next to the best peer
    _alone,  # throughput and work next to the model alone
    _added,  # latency with nobody else there
    _batching,  # and what batching costs then
    _open_loop,  # latency under a load that does not wait
    _start_and_memory,  # what it takes to be there
    _cpu,  # what it takes to run
)


def _at_least(factor: float, ours: float, theirs: float) -> bool:
    return ours >= factor * theirs


def _compared(
    figures: Figures, case: str, bar: str, figure: str, holds: Callable[[float, float], bool], *, less: float = 0.0
) -> Verdict:
    """Ours with the best peer's in a case; more is better for rates only."""
    servers = figures["cases"].get(case, {})
    ours = _median(servers.get(JUDGED, {}), figure)
    peers = [
        Reached(figures["servers"][key]["title"], found[figure]["median"] - less)
        for key, found in servers.items()
        if figures["servers"][key]["kind"] == PEER
    ]
    if ours is None or not peers:
        return Verdict(case, bar, None, "ours was not measured" if ours is None else "no peer was measured")
    best = (max if figure == "rate" else min)(peers, key=lambda peer: peer.value)
    mine = ours - less
    ratio = mine / best.value if best.value else float("inf")
    return Verdict(case, bar, holds(mine, best.value), f"{mine:.4g}; {best.title} {best.value:.4g}: {ratio:.2f} x")


def _beside(figures: Figures, case: str, bar: str, figure: str, holds: Callable[[float, float], bool]) -> Verdict:
    """Ours with the model alone."""
    ours = _median(figures["cases"].get(case, {}).get(JUDGED, {}), figure)
    bare = _median(alone_in(figures, case), figure)
    if ours is None or bare is None:
        return Verdict(case, bar, None, "ours was not measured")
    return Verdict(case, bar, holds(ours, bare), f"{ours:.4g}; alone {bare:.4g}: {ours / bare:.2f} x")


def _median(found: Mapping[str, Any], figure: str) -> float | None:
    return found[figure]["median"] if figure in found else None
