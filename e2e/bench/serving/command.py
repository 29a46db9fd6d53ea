"""`python -m e2e.bench serving`: installs what is missing, measures, judges, prints, and keeps JSON and pictures.

    PEERS=none|all|mlserver,kserve,…    whom to measure beside ours (none)
    ROUNDS=3 SECONDS=3                  rounds, and seconds of each window
    QUICK=1                             each peer once, one round of one second: a look, not a figure to quote

`python -m e2e.bench.serving publish` copies the last run into published/, from where the README shows it.
"""

import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime

from e2e.bench import results
from e2e.bench.serving import servers as catalogue
from e2e.bench.serving.bars import judge
from e2e.bench.serving.failures import ImpossibleError
from e2e.bench.serving.load import Generators
from e2e.bench.serving.plots import plots
from e2e.bench.serving.processes import pin_load, taken
from e2e.bench.serving.servers import Server
from e2e.bench.serving.suite import Extent, Found, Suite
from e2e.bench.serving.tables import page, told
from e2e.cluster import packages
from e2e.cluster.binaries import binary, build
from e2e.cluster.progress import Screen
from e2e.peers.environments import NotInstalledError, environment

SUITE: Final = "serving"
PUBLISHED: Final = Path(__file__).parent / "published"
SECONDS: Final = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for."""

    peers: str
    quick: bool
    extent: Extent


def settings(environment: Mapping[str, str], rounds: int) -> Settings:
    """From the environment, and the rounds that were asked for; ImpossibleError says what is wrong."""
    quick = environment.get("QUICK", "") not in {"", "0"}
    text = environment.get("SECONDS", "") or ("1" if quick else str(SECONDS))
    if not (text.isdecimal() and int(text)):
        raise ImpossibleError("SECONDS must be a whole number above 0")
    return Settings(environment.get("PEERS", "") or "none", quick, Extent(1 if quick else rounds, int(text)))


def run(rounds: int) -> bool:
    """Measure, print, keep; whether no bar was missed."""
    asked = settings(os.environ, rounds)
    chosen = catalogue.chosen(asked.peers, quick=asked.quick)
    programs = _programs(Screen())
    found, installed = _installed(chosen)
    if busy := taken(port for server in installed for port in catalogue.ports(server)):
        raise ImpossibleError(
            f"ports {', '.join(map(str, busy))} are taken: end what listens there, or wait for a run that goes on"
        )
    _measure(installed, found, asked.extent, programs)
    figures = _kept(chosen, asked, found)
    verdicts = judge(figures)
    print(f"\n{told(figures, verdicts)}")
    return all(verdict.held is not False for verdict in verdicts)


def publish() -> None:
    """The last run's JSON, tables and pictures, to be committed: without the folders of the machine that servers name when they fail."""
    PUBLISHED.mkdir(exist_ok=True)
    text = re.sub(
        r"/(?:tmp|root|home|work)/[^\s\"]*", "…", (results.RESULTS / f"{SUITE}.json").read_text(encoding="utf-8")
    )
    (PUBLISHED / f"{SUITE}.json").write_text(text, encoding="utf-8")
    figures = json.loads(text)
    write_plots(figures, PUBLISHED)
    (PUBLISHED / "README.md").write_text(page(figures, judge(figures)), encoding="utf-8")


def write_plots(figures: Mapping[str, Any], folder: Path) -> None:
    """All pictures of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in plots(figures).items():
        (folder / name).write_text(text, encoding="utf-8")


def _programs(screen: Screen) -> Generators:
    """Installed and built where they are missing."""
    packages.install(screen, ("wrk",))
    build(("ghz", "vegeta"), screen)
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ImpossibleError("wrk is installed, and not on PATH")
    return Generators(Path(wrk), binary("ghz"), binary("vegeta"))


def _installed(chosen: Sequence[Server]) -> tuple[Found, list[Server]]:
    """Those whose environment is there, or can be made; of the others, why not."""
    found, there = Found(), []
    for server in chosen:
        try:
            if server.product.peer:
                environment(server.product.peer)
        except NotInstalledError as error:
            found.reasons[server.key].append(str(error))
        else:
            there.append(server)
    return found, there


def _measure(servers: Sequence[Server], found: Found, extent: Extent, programs: Generators) -> None:
    """A polite kill ends the servers as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    cores = os.sched_getaffinity(0)
    pin_load()
    try:
        with tempfile.TemporaryDirectory(prefix="modelward-") as folder:
            Suite(extent, programs, Path(folder), found, _clock()).measure(servers)
    finally:
        os.sched_setaffinity(0, cores)
        signal.signal(signal.SIGTERM, before)


def _clock() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)


def _kept(chosen: Sequence[Server], asked: Settings, found: Found) -> dict[str, Any]:
    """Write results/serving.json and the pictures beside it; return what the JSON says."""
    extent = asked.extent
    path = results.write(
        SUITE,
        {
            "peers": asked.peers,
            "quick": asked.quick,
            "extent": {"rounds": extent.rounds, "seconds": extent.seconds},
            "onnxruntime": onnxruntime.__version__,
            "servers": {server.key: _about(server) for server in chosen},
            "alone": found.alone,
            "aloneIn": found.alone_in,
            "starts": found.starts,
            "memory": found.memory,
            "cases": found.cases,
            "openLoop": found.open_loop,
            "reasons": found.reasons,
        },
    )
    figures: dict[str, Any] = json.loads(path.read_text())
    write_plots(figures, path.with_suffix(""))
    print(f"kept in {path} and {path.with_suffix('')}/")
    return figures


def _about(server: Server) -> dict[str, str]:
    product = server.product
    return {
        "title": server.title,
        "product": product.title,
        "kind": product.kind,
        "peer": product.peer,
        "version": product.version,
    }
