"""ONNX Runtime alone in a loop, the yardstick of every bar: `--model M.onnx --rows ROWS.npy --seconds S --batch N`, one line of JSON."""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from e2e.bench.serving.adapters.model import Model


def main() -> None:
    """Run the same rows for so many seconds, after a tenth of that to warm up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    model, row = Model(given.model), np.load(given.rows)
    rows = np.ascontiguousarray(np.repeat(row, given.batch, axis=0))
    _loop(model, rows, given.seconds / 10)
    worked, began = time.process_time(), time.perf_counter()
    times = _loop(model, rows, given.seconds)
    lasted, worked = time.perf_counter() - began, time.process_time() - worked
    cuts = {f"p{share:g}": float(np.percentile(times, share)) * 1000 for share in (50, 99, 99.9)}
    print(json.dumps({"requests": len(times), "rate": len(times) / lasted, "cpu": worked / len(times) * 1000, **cuts}))


def _loop(model: Model, rows: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", seconds: float) -> list[float]:
    times: list[float] = []
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        model.run(rows)
        then, now = now, time.perf_counter()
        times.append(now - then)
    return times


if __name__ == "__main__":
    main()
