"""The benchmark of the serving runtime, run for a moment with our own server alone: it measures, and leaves nothing behind."""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from e2e.bench.serving import tree
from e2e.bench.serving.asking import JSON
from e2e.bench.serving.bars import judge
from e2e.bench.serving.cases import CASES, Case
from e2e.bench.serving.launching import Launch, Place, Setting
from e2e.bench.serving.load import Generators
from e2e.bench.serving.models import Made, make
from e2e.bench.serving.processes import Running, running
from e2e.bench.serving.servers import JUDGED, SERVERS, Server
from e2e.bench.serving.suite import LIVES, Contender, Extent, Found, Samples, Suite
from e2e.cluster.binaries import binary
from tests.ports import free_ports

OURS = next(server for server in SERVERS if server.key == JUDGED)
FORKS = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); print('up', flush=True)"
LIES = """
import http.server, sys
class Wrong(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"outputs": [{"data": [1, 2, 3]}]}')
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Wrong).serve_forever()
"""

BREAKS = """
import http.server, os, sys
class Breaks(http.server.BaseHTTPRequestHandler):
    left = 2
    def do_POST(self):
        if not Breaks.left:
            os._exit(1)
        Breaks.left -= 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[2].encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Breaks).serve_forever()
"""


@pytest.fixture
def generators() -> Generators:
    """`make integration` installs and builds them."""
    return Generators(Path(str(shutil.which("wrk"))), binary("ghz"), binary("vegeta"))


@pytest.fixture(autouse=True)
def _ports_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark may be running beside the tests."""

    def place(server: Server, made: Made, folder: Path) -> Place:
        return Place(made, folder / made.name / server.key, *free_ports(3))

    monkeypatch.setattr("e2e.bench.serving.suite.place_for", place)


def suite(folder: Path, generators: Generators, said: Callable[[str], None] = print) -> Suite:
    return Suite(Extent(1, 1, ("tiny",)), generators, folder, Found(), said)


@pytest.mark.process
def test_our_server_is_measured_in_every_case(tmp_path: Path, generators: Generators) -> None:
    run = suite(tmp_path, generators)
    run.measure([OURS])
    assert not run.found.reasons
    assert {case.name for case in CASES if case.model == "tiny"} == set(run.found.cases)
    for name, servers in run.found.cases.items():
        figures = {figure: found["median"] for figure, found in servers[JUDGED].items()}
        assert 0 < figures["p50"] <= figures["p99"] <= figures["p99.9"], name
        assert 0 < figures["rate"], name
        assert 0 < figures["cpu"] < 1000 / figures["rate"] * 1.5, (
            "no more than one core for as long as the window lasts"
        )
    assert 0 < run.found.starts[JUDGED]["tiny"] < 60
    assert 20e6 < run.found.memory[JUDGED]["tiny"] < 500e6
    for name, alone in run.found.alone_in.items():
        assert alone["rate"]["median"] > run.found.cases[name][JUDGED]["rate"]["median"], name
    assert set(run.found.alone_in) == set(run.found.cases)
    assert run.found.alone["tiny"]["rows"]["median"] > run.found.alone["tiny"]["rate"]["median"], "rows share a run"


@pytest.mark.process
def test_a_start_is_measured_as_often_as_there_are_rounds(tmp_path: Path, generators: Generators) -> None:
    said: list[str] = []
    run = Suite(Extent(3, 1, ("tiny",)), generators, tmp_path, Found(), said.append)
    run._rehearse([OURS], make("tiny", tmp_path / "models"))
    seconds = run._seconds[JUDGED, "tiny"]
    assert (2, 2) == (len(seconds), sum("first answer after" in line for line in said))
    assert min(seconds) <= run.found.starts[JUDGED]["tiny"] <= max(seconds)


@pytest.mark.process
def test_a_server_that_answers_wrongly_is_not_timed(tmp_path: Path, generators: Generators) -> None:
    def lies(_: Setting, place: Place) -> Launch:
        return Launch([sys.executable, "-c", LIES, str(place.rest)], {})

    run = suite(tmp_path, generators)
    liar = replace(OURS, product=replace(OURS.product, launcher=lies))
    run.measure([liar])
    assert {} == run.found.cases
    assert "JSON: not what ONNX Runtime answers" in run.found.reasons[JUDGED][0]
    assert {None} == {verdict.held for verdict in judge(figures(run.found))}


def figures(found: Found) -> dict[str, Any]:
    shown = {"cases": found.cases, "alone": found.alone, "aloneIn": found.alone_in, "openLoop": found.open_loop}
    return {**shown, "starts": found.starts, "memory": found.memory, "servers": {}}


@pytest.mark.process
def test_a_server_that_ends_says_why(tmp_path: Path, generators: Generators) -> None:
    run = suite(tmp_path, generators)
    dead = replace(
        OURS, product=replace(OURS.product, launcher=lambda _, __: Launch([sys.executable, "-c", "exit('no')"], {}))
    )
    run.measure([dead])
    assert ["tiny: ended with 1: no"] == run.found.reasons[JUDGED]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.process
def test_what_a_server_started_ends_with_it_although_it_was_left_alone(tmp_path: Path) -> None:
    """The root ends at once, and its child goes on as an orphan."""
    with running([sys.executable, "-c", FORKS], {}, tmp_path) as server:
        until(lambda: "up" in (tmp_path / "log").read_text())  # the root may have ended by then
        orphans = [stat.pid for stat in tree.tree(server.pid) if stat.pid != server.pid]
        assert len(orphans) == 1
    assert [] == [
        pid
        for pid in orphans
        if Path(f"/proc/{pid}").exists() and tree.parse_stat(Path(f"/proc/{pid}/stat").read_text()).state not in "ZX"
    ]


@pytest.mark.process
def test_paused_it_takes_no_time(tmp_path: Path) -> None:
    with running([sys.executable, "-c", "print('up', flush=True)\nwhile True: pass"], {}, tmp_path) as server:
        server.wait_for(lambda: "up" in (tmp_path / "log").read_text())
        tree.pause(server.pid)
        assert {"T"} == {stat.state for stat in tree.tree(server.pid)}
        before = tree.cpu_seconds(server.pid)
        make("middle", tmp_path)  # while something else takes the machine's time
        assert before == tree.cpu_seconds(server.pid)
        with server.awake():
            while tree.cpu_seconds(server.pid) == before:
                pass


@pytest.mark.process
def test_a_server_that_breaks_down_is_started_anew(tmp_path: Path, generators: Generators) -> None:
    """It answers right twice, to be compared, and ends at the third request."""
    made = make("tiny", tmp_path / "models")
    answer = {"outputs": [{"data": made.answer.ravel().tolist()}]}

    def breaks(_: Setting, place: Place) -> Launch:
        return Launch([sys.executable, "-c", BREAKS, str(place.rest), json.dumps(answer)], {})

    said: list[str] = []
    run = suite(tmp_path, generators, said.append)
    product = replace(OURS.product, launcher=breaks, asks={JSON: OURS.asks[JSON]})
    run.measure([replace(OURS, product=product)])
    assert LIVES + 1 == sum("first answer after" in line for line in said)
    assert 1 == len(run._seconds[JUDGED, "tiny"]), "only a start in its turn is measured"
    assert {} == run.found.cases["tiny JSON 16"]


def test_a_peer_that_breaks_down_under_the_steady_load_makes_way_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {JUDGED: 9000.0, "pytriton": 2000.0, "kserve": 1000.0, "mlserver": 500.0}
    broken = {"pytriton"}

    def window(_: Suite, one: Contender, __: Made, ___: Case, ____: object, samples: Samples) -> None:
        if one.server.key not in broken:
            samples[one.server.key]["p99"].append(1.0)

    monkeypatch.setattr(Suite, "_window", window)
    run = suite(tmp_path, Generators(Path(), Path(), Path()))
    made = make("tiny", tmp_path / "models")
    known = {server.key: server for server in SERVERS}
    for case in CASES:
        speak = [key for key in rates if case.encoding in known[key].asks]
        run.found.cases[case.name] = {key: {"rate": {"median": rates[key]}} for key in speak}
    contenders = [
        Contender(known[key], Place(made, tmp_path, 1, 2, 3), Mock(spec=Running), contextlib.ExitStack())
        for key in rates
    ]
    run._open(contenders, made)
    found = run.found.open_loop["tiny JSON"]
    assert ("kserve", 700.0, {JUDGED, "kserve"}) == (found["peer"], found["rate"], set(found["servers"]))
    broken |= set(rates) - {JUDGED}
    run._open(contenders, made)
    found = run.found.open_loop["tiny JSON"]
    assert ("mlserver", {JUDGED}) == (found["peer"], set(found["servers"])), "and without any, nothing is judged"
