"""Suite sealed: what it costs that a model is sealed, next to the same model plain with its digest checked. Needs no cluster.

    1. start    `modelward run` from the start of the process to its first correct prediction over HTTP, and its peak memory:
                plain and sealed side by side, one after the other, in rounds
    2. bare     what no sealed model can do without (bare.py): AES-GCM for the same bytes, on as many threads, and what does not depend
                on the size: importing `cryptography`, two signatures, one wrapped key
    3. a core   our decryption on one thread, without hashing, next to bare AES-GCM on one thread

The models (sealed_models.py) are made in a temporary folder. Their bytes are in the page cache when the rounds begin: this measures no
disk.

The bar of time: (sealed - plain) <= 1.25 x (bare AES-GCM + the rest). The stricter bar that was set first, 1.25 x bare AES-GCM alone, is
printed beside as `added / AES-GCM`: a model of 1 MB would have 0.7 ms for all of it, and the import alone takes ten times as long.

The bar of memory: peak of sealed <= 1.1 x peak of plain + one segment for each thread + what the rest takes, most of it the library itself.
The stricter bar that was set first leaves the library out, and is printed beside as `peak / bar`: at 1 MB it is more than all else.

Bars compare the fastest rounds: whatever else the machine does only adds. Processor time is told beside, which other work hardly moves.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from e2e.bench import bare, results, sealed_models
from e2e.bench.sealed_models import IDENTITY, MEGABYTE, ROWS
from modelward_runtime.store.sealed import stream
from modelward_runtime.store.verify import digest_of
from tests.ports import free_ports

SIZES = (1, 100, 1000)  # MB
BAR_TIME = 1.25  # of the least that is possible, for what sealing adds
BAR_MEMORY = 1.1  # of the plain load's peak, and one segment for each thread
BAR_CORE = 0.8  # of bare AES-GCM
VARIANTS = ("plain", "sealed")
LIMIT = 120.0  # seconds for a start


@dataclass(frozen=True)
class Start:
    """One start: seconds to the first correct prediction, of the clock and of processors; peak bytes; the report's stages."""

    seconds: float
    cpu: float
    peak: int
    stages: dict[str, float]


@dataclass(frozen=True)
class Least:
    """What opening a sealed model costs at the least: bare AES-GCM of its bytes, and what does not depend on them."""

    aes: bare.Cost
    rest: bare.Cost

    @property
    def seconds(self) -> float:
        """Of the clock."""
        return self.aes.seconds + self.rest.seconds

    @property
    def cpu(self) -> float:
        """Of processors."""
        return self.aes.cpu + self.rest.cpu


def run(rounds: int) -> bool:
    """Runs all parts, prints and writes the results; whether every bar was held."""
    print(results.busy())
    threads = len(os.sched_getaffinity(0))
    told: dict[str, Any] = {"threads": threads, "models": {}}
    bars: dict[str, bool] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="modelward-bench-") as home:
            folder = Path(home)
            expected = sealed_models.make(folder / "plain" / "model.onnx", size)
            sealed_models.seal(folder)
            starts, rest = _rounds(folder, expected, _count(size, rounds))
        aes = _least([bare.aes_gcm(size * MEGABYTE, threads) for _ in range(3)])
        told["models"][f"{size} MB"] = {**_summary(starts), "bare": aes._asdict(), "rest": rest._asdict()}
        bars |= _tell(size, threads, starts, Least(aes, rest))
    core = _core()
    told |= {"bytesPerSecondOnOneThread": core}
    bars["decryption on one core"] = core["ours"] >= BAR_CORE * core["bare"]
    print(
        f"\none thread: ours {core['ours'] / 1e9:.2f} GB/s, bare {core['bare'] / 1e9:.2f} GB/s, {core['ours'] / core['bare']:.2f} of it"
    )
    path = results.write("sealed", {**told, "bars": bars})
    print(
        f"\n{path.relative_to(path.parents[3])}; bars: "
        + ", ".join(f"{k} {'held' if v else 'MISSED'}" for k, v in bars.items())
    )
    return all(bars.values())


# ── 1. starts ───────────────────────────────────────────────────────────────────────────────────────────────────


def _rounds(home: Path, expected: np.ndarray[Any, Any], count: int) -> tuple[dict[str, list[Start]], bare.Cost]:
    """Starts of each variant in turns, and the fastest of what does not depend on the size, measured between them."""
    starts: dict[str, list[Start]] = {variant: [] for variant in VARIANTS}
    rest: list[bare.Cost] = []
    for number in range(count + 1):  # the first warms up the page cache
        for variant in VARIANTS:
            one = _start(home, variant, expected)
            if number:
                starts[variant].append(one)
        rest.append(bare.rest(bare.surroundings(home / "bytecode")))
    return starts, _least(rest)


def _count(size: int, rounds: int) -> int:
    """Rounds for a size: many of the short ones, whose bar is a few milliseconds wide, and at most three of the long ones."""
    return {1: 3 * rounds, 1000: 3}.get(size, max(3, rounds))


def _least(costs: list[bare.Cost]) -> bare.Cost:
    """The least of each kind: whatever else the machine does only adds."""
    return bare.Cost(*map(min, zip(*costs, strict=True)))


def _start(home: Path, variant: str, expected: np.ndarray[Any, Any]) -> Start:
    """One process from its start to its first correct prediction."""
    boot = _boot(home, variant)
    (home / "boot.json").write_text(json.dumps(boot))
    (home / "policy.json").write_text(json.dumps({"apiVersion": "runtime/v1", "kind": "Policy", "generation": "1"}))
    command = [str(Path(sys.executable).with_name("modelward")), "run", "--boot", str(home / "boot.json")]
    command += ["--policy", str(home / "policy.json"), "--termination-log", str(home / "none")]
    with (home / "log").open("w") as log:
        began = time.monotonic()
        child = subprocess.Popen(command, stderr=log, env=bare.surroundings(home / "bytecode"))
    try:
        seconds = _ask(boot["server"]["httpPort"], expected, child) - began
        report = httpx.get(f"http://127.0.0.1:{boot['server']['adminPort']}/report", trust_env=False).json()
        return Start(seconds, _cpu(child.pid), _peak(child.pid), report["stageSeconds"])
    finally:
        child.kill()
        child.wait()


def _boot(home: Path, variant: str) -> Any:
    folder = home / variant
    ports = {**dict(zip(("httpPort", "grpcPort", "adminPort"), free_ports(3), strict=True)), "drainSeconds": 0}
    model = {"name": IDENTITY.model, "version": IDENTITY.version, "uri": "pvc://bench/m", "directory": str(folder)}
    boot = {
        "apiVersion": "runtime/v1",
        "kind": "Boot",
        "server": ports,
        "model": {**model, "digest": digest_of(folder)},
    }
    if variant != "plain":
        boot["security"] = {
            "tenant": IDENTITY.tenant,
            "encryption": {"mode": "Required", "keys": {"provider": "Secret", "directory": str(home / "keys")}},
            "verification": {"mode": "Required", "trustDirectory": str(home / "trust")},
        }
    return boot


def _ask(port: int, expected: np.ndarray[Any, Any], child: subprocess.Popen[bytes]) -> float:
    """When the first prediction came; it must be the right one."""
    tensor = {"name": "x", "datatype": "INT64", "shape": [ROWS], "data": list(range(ROWS))}
    body = json.dumps({"inputs": [tensor]}).encode()
    deadline = time.monotonic() + LIMIT
    with httpx.Client(trust_env=False, timeout=10) as client:
        while time.monotonic() < deadline and child.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                answer = client.post(f"http://127.0.0.1:{port}/v2/models/{IDENTITY.model}/infer", content=body)
                if answer.status_code == 200:
                    now = time.monotonic()
                    found = np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(expected.shape)
                    np.testing.assert_allclose(expected, found, rtol=0.05, atol=1e-3)
                    return now
            time.sleep(0.005)
    raise TimeoutError(f"no prediction within {LIMIT:.0f} s, or the process ended with {child.poll()}")


def _cpu(pid: int) -> float:
    """Seconds of processors so far, of all threads: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime(~pid << 3 | 2)


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


# ── 2. and 3. AES-GCM ───────────────────────────────────────────────────────────────────────────────────────────


def _core() -> dict[str, float]:
    """Bytes a second on one thread: bare AES-GCM, and our reader of Tink's streams; the best of five, in turns."""
    size = 64 << 20
    parts: list[bytes] = []
    encryptor = stream.Encryptor(bytes(32), b"bound", parts.append, os.urandom)
    encryptor.write(bytes(size))
    encryptor.finish()
    sealed = memoryview(b"".join(parts))
    best = {"ours": 0.0, "bare": 0.0}
    for _ in range(5):
        plain = memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        began = time.monotonic()
        cipher = stream.StreamCipher(bytes(32), b"bound", bytes(sealed[: stream.HEADER]))
        for place in (stream.segment(number, size) for number in range(stream.segments(size))):
            content = sealed[place.start : place.end]
            cipher.decrypt_into(place, content, plain[place.plain_start : place.plain_end])
        best["ours"] = max(best["ours"], size / (time.monotonic() - began))
        best["bare"] = max(best["bare"], size / bare.aes_gcm(size, 1).seconds)
    return best


# ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _summary(starts: dict[str, list[Start]]) -> dict[str, Any]:
    return {
        variant: {
            "seconds": results.summary([one.seconds for one in ones]),
            "processorSeconds": results.summary([one.cpu for one in ones]),
            "peakBytes": max(one.peak for one in ones),
            "stageSeconds": ones[len(ones) // 2].stages,
        }
        for variant, ones in starts.items()
    }


def _tell(size: int, threads: int, starts: dict[str, list[Start]], least: Least) -> dict[str, bool]:
    """A table for one size; whether its bars were held."""
    fastest = {variant: min(one.seconds for one in ones) for variant, ones in starts.items()}
    peaks = {variant: max(one.peak for one in ones) for variant, ones in starts.items()}
    strict = BAR_MEMORY * peaks["plain"] + threads * (1 << 20)
    print(
        f"\n{size} MB, {len(starts['plain'])} rounds; bare AES-GCM on {threads} threads {1e3 * least.aes.seconds:.1f} ms, "
        f"the rest {1e3 * least.rest.seconds:.1f} ms and {least.rest.memory / 1e6:.1f} MB "
        f"(processors: {1e3 * least.aes.cpu:.1f} and {1e3 * least.rest.cpu:.1f} ms)"
    )
    rows: list[tuple[str, ...]] = [
        (
            "",
            "median s",
            "min",
            "max",
            "min CPU s",
            "peak MB",
            "added / least",
            "… CPU",
            "added / AES-GCM",
            "peak / plain",
            "peak / bar",
        )
    ]
    for variant, ones in starts.items():
        added = fastest[variant] - fastest["plain"]
        worked = min(one.cpu for one in ones)
        more = (worked - min(one.cpu for one in starts["plain"])) / least.cpu
        grown = peaks[variant] / peaks["plain"], peaks[variant] / strict
        ratios = (added / least.seconds, more, added / least.aes.seconds, *grown)
        rows.append(
            (
                variant,
                *(f"{value:.3f}" for value in results.summary([one.seconds for one in ones]).values()),
                f"{worked:.3f}",
                f"{peaks[variant] / 1e6:.0f}",
                *("" if variant == "plain" else f"{ratio:.2f}" for ratio in ratios),
            )
        )
    print(results.table(rows))
    bars: dict[str, bool] = {}
    for variant in VARIANTS[1:]:
        bars[f"{size} MB {variant}: time"] = fastest[variant] - fastest["plain"] <= BAR_TIME * least.seconds
        bars[f"{size} MB {variant}: memory"] = peaks[variant] <= strict + least.rest.memory
    return bars
