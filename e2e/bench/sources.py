"""Suite sources: how fast a model of 1 GB comes, next to curl from the same server, and what a restart with it on disk costs. No cluster.

    1. fetch     our fetch and curl in turn, from a real registry over TLS (the HTTP client of oci:// and https://) and from a real S3
                 store; both write to the same disk. Ours hashes besides; `curl, sha256sum` is what curl's user has then
    2. start     `modelward run` to readiness: cold, then again with what it kept (emptyDir), then a new pod with the shared cache; the
                 line is held at 1 Gbit/s by a proxy, for loopback is as fast as hashing is
    3. probes    /readyz and /metrics asked without pause during all of these starts; what is held against the bar is without the time in
                 which threads were ready to run and had no processor (tests/waiting.py), and what the clock says stands beside it

`make bench SUITE=apply` runs it after its own parts, `make bench SUITE=sources` alone. `MEGABYTES` makes it smaller.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from e2e.bench import results
from e2e.bench.embedding import write_model
from e2e.cluster.binaries import build
from e2e.cluster.progress import Screen
from tests.integration.objectstore import CREDENTIALS, certificates, object_store
from tests.integration.registry import TITLE, Registry, manifest, registry
from tests.processes import Process, call
from tests.processes import run as modelward
from tests.waiting import Wait, wait_for

MEGABYTES: Final = int(os.environ.get("MEGABYTES", "1000"))
LINE: Final = 125_000_000  # bytes a second: 1 Gbit/s
BAR_SPEED: Final = 0.9  # of curl's
BAR_BUFFERS: Final = 64_000_000  # bytes
BAR_WARM: Final = 0.2  # of the cold start
BAR_PROBE: Final = 0.1  # seconds
STARTS: Final = 3  # at most, of each kind
FETCH: Final = """
import json, re, sys, time
from pathlib import Path
import msgspec
from modelward_runtime.config import ModelSource
from modelward_runtime.store import oci, s3
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.receiving import Progress
source = msgspec.json.decode(sys.argv[1], type=ModelSource)
def peak():  # not ru_maxrss, which a process inherits from the one that started it
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before, began, work = peak(), time.monotonic(), time.process_time()
fetch(source, Cache(Path(sys.argv[2])), Progress(), 60)
seconds, cpu = time.monotonic() - began, time.process_time() - work
print(json.dumps({"seconds": seconds, "buffers": peak() - before, "cpu": cpu}))
"""


class Place(NamedTuple):
    """Where the model lies: as our process is told, and as curl is."""

    source: dict[str, Any]
    curl: list[str]


def run(rounds: int) -> bool:
    """Runs all parts, prints and writes the results; whether every bar was held."""
    build(["registry", "versitygw"], Screen())
    print(results.busy())
    with tempfile.TemporaryDirectory(prefix="modelward-sources-") as name:
        home = Path(name)
        folder = write_model(home / "model", MEGABYTES)
        with _places(home, folder) as (places, plain):
            fetches = {kind: _race(place, home, rounds) for kind, place in places.items()}
            starts = _starts(plain, home, min(rounds, STARTS))
    bars = _tell(fetches, starts)
    path = results.write("sources", {"megabytes": MEGABYTES, "fetches": fetches, "starts": starts, "bars": bars})
    print(f"\n{path.name}; bars: " + ", ".join(f"{k} {'held' if v else 'MISSED'}" for k, v in bars.items()))
    return all(bars.values())


@contextmanager
def _places(home: Path, folder: Path) -> Iterator[tuple[dict[str, Place], Registry]]:
    """The model in a registry with TLS and in an S3 store; and the same registry without TLS, for a proxy to stand before."""
    made = certificates(home / "tls")
    weights = folder / "weights.bin"
    with registry(home / "registry") as plain:
        digest = _push(plain, folder)
        with registry(home / "registry", tls=made) as locked, object_store(home / "store") as store:
            for file in folder.iterdir():
                store.put("models", f"m/{file.name}", file)
            oci = {"uri": "oci://bench.example/m:1", "oci": {"endpoint": locked.endpoint}, "caBundleFile": str(made.ca)}
            blob = f"{locked.endpoint}/v2/m/blobs/{digest}"
            s3 = {"uri": "s3://models/m/", "s3": {"endpoint": store.endpoint}}
            signed = store.sign("models", f"m/{weights.name}")
            yield (
                {
                    "registry, TLS": Place(oci, ["--cacert", str(made.ca), blob]),
                    "S3 store": Place(s3, [signed]),
                },
                plain,
            )


def _push(there: Registry, folder: Path) -> str:
    files = sorted(folder.iterdir())
    layers = [{**there.blob("m", file.read_bytes()), "annotations": {TITLE: file.name}} for file in files]
    there.manifest("m", "1", json.dumps(manifest(there.blob("m", b"{}"), layers)).encode())
    return str(layers[-1]["digest"])


# ── 1. our fetch and curl ───────────────────────────────────────────────────────────────────────────────────────


def _race(place: Place, home: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turn; peak growth of our process in bytes. The first round warms up and does not count."""
    found: dict[str, list[float]] = {"ours": [], "curl": [], "curl, sha256sum": [], "buffers": [], "cpu": []}
    source = json.dumps({"name": "m", "version": "1", **place.source})
    for number in range(rounds + 1):
        target = home / "ours"
        _free_pages(home)
        told = subprocess.run(
            [sys.executable, "-c", FETCH, source, str(target)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **CREDENTIALS},
        )
        shutil.rmtree(target)
        _free_pages(home)
        curl, both = _curl(place, home / "curl.bin")
        if number:
            ours = json.loads(told.stdout)
            for key, value in (("ours", ours["seconds"]), ("curl", curl), ("curl, sha256sum", both)):
                found[key].append(value)
            found["buffers"].append(ours["buffers"])
            found["cpu"].append(ours["cpu"])
    return found


def _free_pages(home: Path) -> None:
    """Memory that was in use a moment ago: a hypervisor takes back what is free, and who writes first after a pause would pay for it."""
    file, block = home / "pages", bytes(1 << 20)
    with file.open("wb") as sink:
        for _ in range(MEGABYTES):
            sink.write(block)
    file.unlink()


def _curl(place: Place, file: Path) -> tuple[float, float]:
    """Seconds of the download by curl's own clock, and with hashing after it."""
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "-o", str(file), "-w", "%{time_total}", *place.curl]
    seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    began = time.monotonic()
    subprocess.run(["sha256sum", str(file)], capture_output=True, check=True)
    hashing = time.monotonic() - began
    file.unlink()
    return seconds, seconds + hashing


# ── 2. and 3. starts, and what answers meanwhile ────────────────────────────────────────────────────────────────


def _starts(plain: Registry, home: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds to readiness, and the longest wait of a probe in each start: by the clock, and without waiting for a processor."""
    found: dict[str, list[float]] = {"cold": [], "warm": [], "shared": [], "probe by the clock": [], "probe": []}
    digest = _digest(home / "model")
    with _line(plain.port) as port:
        for number in range(rounds):
            claim = home / f"claim-{number}"
            claim.mkdir()
            source = {
                "uri": "oci://bench.example/m:1",
                "oci": {"endpoint": f"http://127.0.0.1:{port}"},
                "digest": digest,
                "cache": {"directory": str(claim), "maxBytes": 1 << 40},
            }
            for kind, pod in (("cold", "a"), ("warm", "a"), ("shared", "b")):
                seconds, longest = _start(home / f"pod-{number}-{pod}", source)
                found[kind].append(seconds)
                found["probe by the clock"].append(longest.clock)
                found["probe"].append(longest.ours)
            for folder in (claim, home / f"pod-{number}-a", home / f"pod-{number}-b"):
                shutil.rmtree(folder)
    return found


def _start(folder: Path, source: dict[str, Any]) -> tuple[float, Wait]:
    began, waits = time.monotonic(), [Wait(0.0, 0.0)]
    with modelward(folder, source) as process:
        while not _is_ready(process, waits):
            if process.child.poll() is not None:
                raise TimeoutError(f"the process ended: {process.log()[-2000:]}")
            time.sleep(0.005)
        return time.monotonic() - began, Wait(*map(max, zip(*waits, strict=True)))


def _is_ready(process: Process, waits: list[Wait]) -> bool:
    """Ask both, and note how long each kept us waiting; as long as nobody listens there is nothing to note."""
    told: list[int] = []

    def ask(path: str) -> Wait:
        return wait_for(lambda: told.append(call(process.ports[2], "GET", path)[0]), process.child.pid)

    with suppress(OSError):
        waits += [ask("/readyz"), ask("/metrics")]
    return told[:1] == [200]


def _digest(folder: Path) -> str:
    lines = (f"{_sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def _line(target: int) -> Iterator[int]:
    """A line of LINE to `target`, in a process of its own: in ours it would keep the probes waiting."""
    command = [sys.executable, "-m", "e2e.bench.line", str(target), str(LINE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        if child.stdout is None:
            raise TimeoutError("the line has no end")
        try:
            yield int(child.stdout.readline())
        finally:
            child.kill()


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────


def _tell(fetches: dict[str, dict[str, list[float]]], starts: dict[str, list[float]]) -> dict[str, bool]:
    head = (f"seconds for {MEGABYTES} MB", "median", "min", "max")
    rows = [
        (f"{kind}: {who}", *(f"{value:.2f}" for value in results.summary(times[who]).values()))
        for kind, times in fetches.items()
        for who in ("ours", "curl", "curl, sha256sum")
    ]
    rows += [
        (f"start, {kind}", *(f"{value:.2f}" for value in results.summary(starts[kind]).values()))
        for kind in ("cold", "warm", "shared")
    ]
    print(results.table([head, *rows]))
    speed = {kind: min(times["curl"]) / min(times["ours"]) for kind, times in fetches.items()}
    buffers = max(max(times["buffers"]) for times in fetches.values())
    warm = {kind: min(starts[kind]) / min(starts["cold"]) for kind in ("warm", "shared")}
    probe, clock = max(starts["probe"]), max(starts["probe by the clock"])
    print(
        "\nof curl's speed, fastest rounds: "
        + ", ".join(f"{kind} {value:.2f}" for kind, value in speed.items())
        + f" (bar {BAR_SPEED})\npeak of buffers: {buffers / 1e6:.0f} MB (bar {BAR_BUFFERS / 1e6:.0f})\nof the cold start at 1 Gbit/s: "
        + ", ".join(f"{kind} {value:.2f}" for kind, value in warm.items())
        + f" (bar {BAR_WARM}, for warm)\nlongest wait of a probe: {1000 * probe:.0f} ms (bar {1000 * BAR_PROBE:.0f}), "
        f"and by the clock {1000 * clock:.0f}: with the waiting for a processor, which is this machine's"
    )
    return {
        "speed": min(speed.values()) >= BAR_SPEED,
        "buffers": buffers < BAR_BUFFERS,
        "warm": warm["warm"] <= BAR_WARM,
        "probe": probe <= BAR_PROBE,
    }
