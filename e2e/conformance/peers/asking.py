"""Serves all models by one server, asks it every rule, and writes what it answered."""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import e2e.conformance.levels  # noqa: F401  -- registers the rules
from e2e.conformance.models import ROLES, model_name, write_models
from e2e.conformance.peers.catalogue import PEERS, ROOT, Peer, Start
from e2e.conformance.report import Result, as_json, ask
from e2e.conformance.rule import Level
from e2e.conformance.target import Endpoint, Target
from e2e.peers.environments import environment, version
from tests.ports import free_ports
from tests.processes import serve

REPORTS: Final = Path(__file__).parents[1] / "reports"
OURS: Final = "modelward"
NAMES: Final = (OURS, *PEERS)
STARTING, ANSWER = 180.0, 2.0
"""Seconds for a server to load its models, and to say whether it has."""


def report(name: str, log: Path | None = None) -> dict[str, Any]:
    """Serve, ask, and return the whole report. `log`: where a peer's own words go."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        models = folder / "models"
        write_models(models)
        with _ours(models, folder) if name == OURS else _peer(PEERS[name], models, log) as endpoints:
            about = Target(endpoints["numbers"]).get("/v2").ok().json
            results = ask(endpoints, Level)
    return _told(name, about, results)


def write_report(name: str, log: Path | None = None) -> Path:
    """Write reports/NAME.json."""
    REPORTS.mkdir(exist_ok=True)
    path = REPORTS / f"{name}.json"
    path.write_text(json.dumps(report(name, log), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _told(name: str, about: Mapping[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    title = (
        f"{PEERS[name].title} {version(name, PEERS[name].package)}"
        if name in PEERS
        else f"ModelWard {about['version']}"
    )
    found = as_json(title, results)
    listed = list(about.get("extensions") or ())
    return {"server": title, "asked": f"{datetime.now(UTC):%Y-%m-%d}", "extensions": listed, **found}


@contextlib.contextmanager
def _ours(models: Path, folder: Path) -> Iterator[dict[str, Endpoint]]:
    """`modelward serve`, a process a model."""
    with contextlib.ExitStack() as stack:
        endpoints = {}
        for role in ROLES:
            process = stack.enter_context(serve(models / model_name(role), folder / role))
            process.until_ready()
            endpoints[role] = Endpoint(
                f"http://127.0.0.1:{process.ports[0]}", f"127.0.0.1:{process.ports[1]}", model_name(role)
            )
        yield endpoints


@contextlib.contextmanager
def _peer(peer: Peer, models: Path, log: Path | None) -> Iterator[dict[str, Endpoint]]:
    """One process of the peer with every model whose datatypes it knows."""
    for folder in models.iterdir():
        if folder.name == model_name("bf16"):  # no datatype of the protocol's text, and of none of these servers
            (folder / "model.onnx").unlink()
            folder.rmdir()
        else:
            peer.prepare(folder)
    rest, wire = free_ports(2)
    with _started(peer, Start(environment(peer.name), models, rest, wire), log) as child:
        found = {
            role: Endpoint(f"http://127.0.0.1:{rest}", f"127.0.0.1:{wire}", model_name(role))
            for role in ROLES
            if (models / model_name(role)).exists()
        }
        for endpoint in found.values():
            _until_ready(child, endpoint)
        yield found


@contextlib.contextmanager
def _started(peer: Peer, start: Start, log: Path | None) -> Iterator["subprocess.Popen[bytes]"]:
    path = os.pathsep.join([str(start.bin), os.environ.get("PATH", "")])
    given = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "VIRTUAL_ENV": str(start.bin.parent)}
    with (log or Path(os.devnull)).open("wb") as out:
        child = subprocess.Popen(
            peer.start(start), cwd=start.models.parent, env=given, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _until_ready(child: "subprocess.Popen[bytes]", endpoint: Endpoint) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the server ended with {child.returncode}; --log FILE says why")
        with contextlib.suppress(AssertionError):
            if Target(endpoint, timeout=ANSWER).get(f"/v2/models/{endpoint.model}/ready").status == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"{endpoint.model} is not ready after {STARTING:.0f} s; --log FILE says why")
