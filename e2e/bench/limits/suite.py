"""Suite limits: latency, throughput and processor time under a CPU limit of 0.5, 1 and 2, for the defaults and what else could be.

A serving process as a pod runs it (`modelward run`, REST, binary tensors), alone in a cgroup with the quota; this process asks from outside
of it, over 1 and over 16 connections. One server at a time, all of them by turns in each round, and of each the best round counts: whatever
else the machine does only adds. `operator/decisions/0018` draws the conclusions. Without a cgroup that can be written it measures nothing,
and says so.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from e2e.bench import results
from e2e.bench.limits.cgroup import Cgroup, NoCgroup, cgroup
from e2e.bench.limits.load import ask, request
from e2e.bench.serving.models import ask_rows, make
from tests.ports import free_ports

MODELS = ("tiny", "middle")
LIMITS = (0.5, 1.0, 2.0)
VARIANTS: dict[str, dict[str, Any]] = {  # what is done otherwise: of the engine's fields, or by `server.py`
    "default": {},
    "1 thread": {"threads": 1},
    "2 threads": {"threads": 2},
    "spinning": {},
    "no arena": {},
    "2 workers": {},
    "never inline": {},
    "always inline": {},
}
BATCHING = {"maxBatchSize": 32, "maxDelayMicroseconds": 0}
SECONDS = 1.0
TICK = os.sysconf("SC_CLK_TCK")
HEAD = ("model", "CPUs", "", "p50 ms 1", "p99 ms 1", "p50 ms 16", "p99 ms 16", "req/s 16", "CPU ms/1000 1", "16")


def run(rounds: int) -> bool:
    """Measure, print, keep. There is no bar: the figures are for choosing defaults."""
    try:
        with cgroup() as group, tempfile.TemporaryDirectory() as folder:
            found = _measure(group, Path(folder), max(1, min(rounds, 3)))
    except NoCgroup as error:
        print(f"bench limits: nothing was measured: {error}. It needs root and a CPU controller.")
        return True
    rows = [(model, f"{cpus:g}", variant, *_cells(best)) for (model, cpus, variant), best in found.items()]
    print(results.table([HEAD, *rows]))
    told = [{"model": m, "cpus": c, "variant": v, **best} for (m, c, v), best in found.items()]
    results.write("limits", {"seconds": SECONDS, "measured": told})
    return True


def _measure(group: Cgroup, folder: Path, rounds: int) -> dict[tuple[str, float, str], dict[str, float]]:
    if warning := results.busy():
        print(warning)
    found: dict[tuple[str, float, str], dict[str, float]] = {}
    for name in MODELS:
        make(name, folder)
    for _, name, cpus, variant in itertools.product(range(rounds), MODELS, LIMITS, VARIANTS):
        measured = _serve(group, folder, name, cpus, variant)
        best = found.setdefault((name, cpus, variant), measured)
        for figure, value in measured.items():
            best[figure] = (max if figure == "rate" else min)(best[figure], value)
    return found


def _serve(group: Cgroup, folder: Path, name: str, cpus: float, variant: str) -> dict[str, float]:
    """One server's figures."""
    ports = free_ports(3)
    boot, policy = folder / "boot.json", folder / "policy.json"
    engine = {"accelerator": "CPU", "threads": 0} | VARIANTS[variant]
    model = {"name": name, "version": "1", "uri": f"pvc://claim/{name}", "directory": str(folder / name)}
    server = dict(zip(("httpPort", "grpcPort", "adminPort"), ports, strict=True)) | {"drainSeconds": 0}
    told = {"apiVersion": "runtime/v1", "kind": "Boot", "model": model, "engine": engine, "server": server}
    boot.write_text(json.dumps(told | {"batching": BATCHING}))
    policy.write_text(json.dumps({"apiVersion": "runtime/v1", "kind": "Policy", "generation": "1"}))
    command = [sys.executable, "-m", "e2e.bench.limits.server", variant, "run"]
    command += ["--boot", str(boot), "--policy", str(policy), "--termination-log", str(folder / "end")]
    group.limit(max(cpus, 2.0))  # to start up: not what is measured
    # its log goes nowhere: writing a line for each request to a file is the file system's time, and no default's
    process = subprocess.Popen(
        group.wrap(command), stderr=subprocess.DEVNULL, env=os.environ | {"LOG_LEVEL": "warning"}
    )
    try:
        group.limit(cpus)
        _await_ready(ports[2], process)
        sent = request(name, ask_rows(name))
        ask(ports[0], sent, 16, SECONDS / 2)
        return _ask(process.pid, ports[0], sent)
    finally:
        process.terminate()
        process.wait(30)


def _ask(pid: int, port: int, sent: bytes) -> dict[str, float]:
    figures = {}
    for connections in (1, 16):
        busy, began = _busy(pid), time.perf_counter()
        times = ask(port, sent, connections, SECONDS)
        seconds, busy = time.perf_counter() - began, _busy(pid) - busy
        figures[f"p50-{connections}"] = statistics.median(times) * 1e3
        figures[f"p99-{connections}"] = sorted(times)[int(len(times) * 0.99)] * 1e3
        figures[f"cpu-{connections}"] = busy / len(times) * 1e6
    return figures | {"rate": len(times) / seconds}


def _busy(pid: int) -> float:
    """Seconds of processor time that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _await_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server did not become ready")


def _cells(best: dict[str, float]) -> tuple[str, ...]:
    latencies = (f"{best[key]:.2f}" for key in ("p50-1", "p99-1", "p50-16", "p99-16"))
    return (*latencies, f"{best['rate']:.0f}", f"{best['cpu-1']:.0f}", f"{best['cpu-16']:.0f}")
