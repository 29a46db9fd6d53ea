"""`python -m e2e.gpu.check`: the runtime's own load path on a GPU held against the processor, and batch curves; 1 when an answer is wrong.

Each model of the serving benchmark is loaded as `modelward run` loads it, on the processor and on the GPU in each way that
`spec.runtime.cuda` knows. First every answer is compared, for every number of rows up to 65: with exact products to 1e-4 of the largest
value, with TF32 to 1e-2. Then rows a second are measured by the size of the batch, for the model alone and for requests of one row each
through the exchange, as many at once. Where there is no GPU nothing is checked, and it says so; `--on CPU` tries the script itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from e2e.bench import results
from e2e.bench.serving.models import MODELS, SHAPES, make
from modelward_runtime import cuda, engine, providers, warming
from modelward_runtime.batch import Batching
from modelward_runtime.caller import Caller
from modelward_runtime.config import Cuda
from modelward_runtime.engine import OnnxModel
from modelward_runtime.exchange import Exchange
from modelward_runtime.hardware import measure
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Face
from modelward_runtime.states import Decoded, Released

Where = Literal["CPU", "CUDA"]
MOST = 64
SIZES = (1, 2, 4, 8, 16, 32, MOST)
COMPARED = (*range(1, 18), 31, 32, 33, MOST, MOST + 1)  # with those between two sizes, and one too many
SECONDS = 0.5
NOTHING = "no GPU: nothing was checked"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to use a GPU."""

    cuda: Cuda
    padded: bool = False

    @property
    def tolerance(self) -> float:
        """Of the largest value of an answer."""
        return 1e-2 if self.cuda.tf32 or self.cuda.tensor_rt else 1e-4


WAYS = {
    "exact": Way(Cuda(tf32=False)),
    "TF32": Way(Cuda()),
    "padded": Way(Cuda(tf32=False), padded=True),
    "graphs": Way(Cuda(tf32=False, graphs=True)),
    "exhaustive": Way(Cuda(tf32=False, convolution_search="Exhaustive")),
    "TensorRT": Way(Cuda(tensor_rt=True), padded=True),
}


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="e2e.gpu.check", description=__doc__)
    parser.add_argument(
        "--on", choices=("CUDA", "CPU"), default="CUDA", help="CPU: try the script, which checks no GPU"
    )
    on: Where = parser.parse_args(arguments).on
    if reason := "" if on == "CPU" else why_not():
        print(f"{NOTHING} ({reason})")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = {name: _check(make(name, Path(folder)).path, name, on) for name in MODELS}
    rows = [
        (name, way, *(f"{curve[size]:.0f}" for size in SIZES))
        for name, ways in found.items()
        for way, curve in ways.items()
    ]
    print(results.table([("model", "rows/s, batch of", *map(str, SIZES)), *rows]))
    if on == "CUDA":
        print("GPU memory in use: {:.0f} of {:.0f} MiB".format(*(size / 2**20 for size in cuda.memory() or (0, 0))))
    results.write("gpu", {"on": on, "rowsPerSecond": found})
    return 0


def why_not() -> str:
    """Why no GPU can be checked here; empty where one can."""
    ort = engine.onnxruntime()
    if providers.CUDA not in ort.get_available_providers():
        return f"this onnxruntime {ort.__version__} is built without CUDA; requirements-cuda.lock has the one with it"
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
        ort.preload_dlls()
    if cuda.memory() is None:
        return f"no device is found; onnxruntime {ort.__version__}: {providers.wants(ort)}"
    return ""


def _check(file: Path, name: str, on: Where) -> dict[str, dict[int, float]]:
    """Rows a second by way and size, once every answer was right. SystemExit else."""
    bare = engine.load(file, name, "1", hardware=measure())
    curves = {"processor": {size: _rate(bare, name, size) for size in SIZES}}
    for label, way in WAYS.items():
        model = _load(file, name, on, way)
        if way.cuda.tensor_rt and model.execution_provider != providers.TENSORRT:
            print(f"{name}, {label}: not checked, it is not installed")  # that a build knows it does not say so
            continue
        if on == "CUDA" and model.execution_provider == providers.CPU:
            sys.exit(f"{name}, {label}: CUDA was asked for, and the model is on the processor")
        for rows in COMPARED:
            _compare(bare, model, _rows(name, rows), f"{name}, {label}", way.tolerance)
        curves[label] = {size: _rate(model, name, size) for size in SIZES}
        curves[f"{label}, served"] = {size: asyncio.run(_serve(model, name, size)) for size in SIZES}
    return curves


def _load(file: Path, name: str, on: Where, way: Way) -> OnnxModel:
    """As `load.py` does, with a batching of 64 rows."""
    model = engine.load(file, name, "1", accelerator=on, cuda=way.cuda, hardware=measure())
    device = "cpu" if on == "CPU" else "cuda"
    return warming.warm_up(model, MOST, padded=way.padded, graphs=way.cuda.graphs, device=device)


def _rows(name: str, count: int) -> Any:
    return np.random.default_rng(count).random((count, *SHAPES[name]), dtype=np.float32)


def _compare(bare: OnnxModel, model: OnnxModel, rows: Any, what: str, tolerance: float) -> None:
    (expected,), (found,) = bare.run({"x": rows}, ["y"]), model.run({"x": rows}, ["y"])
    if expected.shape != found.shape:
        sys.exit(f"{what}: {len(rows)} rows gave the shape {found.shape}, the processor gives {expected.shape}")
    off = float(np.abs(expected - found).max() / np.abs(expected).max())
    if not off <= tolerance:
        sys.exit(f"{what}: an answer to {len(rows)} rows is off by {off:.2g} of the largest value, over {tolerance:g}")


def _rate(model: OnnxModel, name: str, size: int) -> float:
    """Rows a second of the model alone."""
    rows, runs, began = _rows(name, size), 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS or not runs:
        model.run({"x": rows}, ["y"])
        runs += 1
    return runs * size / (time.perf_counter() - began)


class _Call:
    """One row."""

    version, size, parses, prints = "", 0, 0, False

    def __init__(self, name: str, row: Any) -> None:
        self.name = name
        self._row = row

    def decode(self, face: Face) -> Decoded:
        return Decoded({"x": self._row}, ("y",))

    def encode(self, face: Face, released: Released) -> Any:
        return released.outputs["y"]


async def _serve(model: OnnxModel, name: str, callers: int) -> float:
    """Rows a second of so many callers, who ask for one row at a time."""
    exchange = Exchange(name, "1", Metrics())
    exchange.serve(model, Batching(MOST))
    loop, call = asyncio.get_running_loop(), _Call(name, _rows(name, 1))
    end, answered = loop.time() + SECONDS, 0

    async def ask() -> None:
        nonlocal answered
        while loop.time() < end:
            await exchange.infer(call, Caller(), loop.time() + 60)
            answered += 1

    await asyncio.gather(*(ask() for _ in range(callers)))
    exchange.close()
    return answered / SECONDS


if __name__ == "__main__":
    sys.exit(main())
