"""Rows to predict with, their truth, and what onnxruntime itself answers: the yardstick of the demo and the e2e cases.

Written by the build beside each model as `<version>.rows.json`; read by anyone who wants to know whether a served
prediction is right. Inputs and outputs have the shape of an Open Inference Protocol v2 request and response; the bare
request lies beside it as `<version>.request.json`, ready for `curl --data @FILE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Array = NDArray[Any]

# The protocol's names of the types our models use (OIP v2, "Tensor Data Types").
DATATYPES = {"float32": "FP32", "int64": "INT64"}
DTYPES = {oip: np.dtype(name) for name, oip in DATATYPES.items()}


@dataclass(frozen=True)
class Rows:
    """Real rows for one model version.

    `inputs` and `outputs` map tensor names to arrays whose first axis is the row; `outputs` are onnxruntime's own
    answers. `truths` names the right answer of each row in words, `texts` the row itself where it is text, and
    `labels` the classes by index.
    """

    model: str
    version: str
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    truths: list[str]
    texts: list[str]
    labels: list[str]


def run_onnxruntime(model: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of `model` (a .onnx file) for `inputs`, run here by hand on one CPU thread."""
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, dict(inputs))), strict=True))


def as_tensors(arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
    """The arrays as the `inputs` of an OIP v2 JSON request. A float32 survives JSON exactly: repr of its double."""
    return [
        {
            "name": name,
            "datatype": DATATYPES[array.dtype.name],
            "shape": list(array.shape),
            "data": array.ravel().tolist(),
        }
        for name, array in arrays.items()
    ]


def from_tensors(tensors: list[dict[str, Any]]) -> dict[str, Array]:
    """The reverse of `as_tensors`; also reads the `outputs` of an OIP v2 JSON response."""
    return {
        tensor["name"]: np.asarray(tensor["data"], DTYPES[tensor["datatype"]]).reshape(tensor["shape"])
        for tensor in tensors
    }


def write_rows(folder: Path, rows: Rows) -> None:
    """Writes `<version>.rows.json` and `<version>.request.json` into the model's folder."""
    request = {"inputs": as_tensors(rows.inputs)}
    document = {
        "model": rows.model,
        "version": rows.version,
        **request,
        "outputs": as_tensors(rows.outputs),
        "truths": rows.truths,
        "texts": rows.texts,
        "labels": rows.labels,
    }
    (folder / f"{rows.version}.rows.json").write_text(json.dumps(document) + "\n")
    (folder / f"{rows.version}.request.json").write_text(json.dumps(request) + "\n")


def read_rows(path: Path) -> Rows:
    document = json.loads(path.read_text())
    document |= {key: from_tensors(document[key]) for key in ("inputs", "outputs")}
    return Rows(**document)
