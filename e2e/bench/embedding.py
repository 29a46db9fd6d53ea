"""A model of any size that loads fast: a table of weights in a file beside it, and the rows of it that are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from onnx import TensorProto, helper

WIDTH = 256


def write_model(folder: Path, megabytes: int) -> Path:
    """A folder with model.onnx and so many megabytes of weights.bin."""
    folder.mkdir(parents=True)
    rows = megabytes * 1_000_000 // 4 // WIDTH
    size = rows * WIDTH * 4
    block = os.urandom(1 << 20)
    with (folder / "weights.bin").open("wb") as file:
        for at in range(0, size, len(block)):
            file.write(block[: size - at])
    table = onnx.TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, WIDTH])
    table.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(size))):
        table.external_data.add(key=key, value=value)
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    ends = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", WIDTH])]
    graph = helper.make_graph([node], "embedding", ends, out, [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder
