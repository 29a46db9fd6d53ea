"""The model under every adapter: an ONNX Runtime session with one thread; and the protocol's JSON for servers that have none."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

VARIABLE: Final = "MODELWARD_BENCH_SERVING"
LARGEST_BATCH: Final = 16
"""Rows of a batch where a server batches: as many as there are connections, so that none waits for rows that cannot come."""
LONGEST_WAIT: Final = 0.001
"""Seconds that a server may wait for a batch to fill, where it must be told."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every adapter is told."""

    model: Path
    name: str
    shape: tuple[int, ...]
    """Of a row."""
    rest: int
    grpc: int
    admin: int
    """A port for metrics, where a server wants one."""
    tuned: bool
    batching: bool


def options() -> Options:
    """What this process is to serve: JSON in the environment, because command lines belong to the servers."""
    given = json.loads(os.environ[VARIABLE])
    return Options(**{**given, "model": Path(given["model"]), "shape": tuple(given["shape"])})


class Model:
    """A model with one input `x` and one output `y`, both FP32 with the batch first."""

    def __init__(self, path: str | Path) -> None:
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = 1
        chosen.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])

    def run(self, rows: Any) -> Any:
        """The answer to FP32 rows."""
        return self._session.run(None, {"x": rows})[0]


def rows_of(body: dict[str, Any]) -> Any:
    """The rows of a request in the protocol's JSON."""
    tensor = body["inputs"][0]
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def told(name: str, rows: Any) -> dict[str, Any]:
    """The answer in the protocol's JSON."""
    return {"model_name": name, "outputs": [{**described(rows), "data": rows.ravel().tolist()}]}


def described(rows: Any) -> dict[str, Any]:
    """What the protocol says of an output beside its data."""
    return {"name": "y", "datatype": "FP32", "shape": list(rows.shape)}
