"""The model alone: ONNX Runtime in a loop on the servers' core, in our environment; the yardstick that `suite.py` asks beside ours."""

import json
import subprocess
import sys
from typing import Any

from e2e.bench.serving.adapters.model import LARGEST_BATCH
from e2e.bench.serving.launching import ROOT
from e2e.bench.serving.models import Made
from e2e.bench.serving.processes import SERVERS_CORE, on_core

MODULE = "e2e.bench.serving.adapters.alone"


def alone(made: Made, seconds: float) -> dict[str, float]:
    """Runs a second of one row each, percentiles in ms, and CPU seconds per 1,000 of them."""
    single = _loop(made, seconds, 1)
    return {name: single[name] for name in ("rate", "p50", "p99", "p99.9", "cpu")}


def alone_in_batches(made: Made, seconds: float) -> float:
    """Rows a second at the largest batch."""
    rows: float = _loop(made, seconds, LARGEST_BATCH)["rate"] * LARGEST_BATCH
    return rows


def _loop(made: Made, seconds: float, batch: int) -> dict[str, Any]:
    command = [sys.executable, "-m", MODULE, "--model", str(made.path), "--rows", str(made.rows_path)]
    command += ["--seconds", str(seconds), "--batch", str(batch)]
    with on_core(SERVERS_CORE):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
