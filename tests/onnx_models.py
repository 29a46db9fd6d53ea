"""Small ONNX models for the runtime's tests, made with the `onnx` package, that the serving image does not have."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)
value = helper.make_tensor_value_info


def model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: list[Any] | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
) -> onnx.ModelProto:
    """A model of these parts."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def linear(**options: int) -> onnx.ModelProto:
    """y[N, 3] = x[N, 4] @ WEIGHTS."""
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 4])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
        **options,
    )


def identity(datatype: int, *, opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    """y[N, 2] = x[N, 2] of a datatype."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", datatype, ["N", 2])], [value("y", datatype, ["N", 2])], opset=opset, ir=ir)


def external(location: str, **entries: int) -> onnx.ModelProto:
    """`linear`, with its weights said to be in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    for key, content in {"location": location, **entries}.items():
        weights.external_data.add(key=key, value=str(content))
    made = linear()
    made.graph.initializer[0].CopyFrom(weights)
    return made


def slow() -> onnx.ModelProto:
    """y[N, 4] = x[N, 4], after as many rounds of milliseconds as the largest number in x: zeros are quick."""
    size = 512
    body = helper.make_graph(
        [helper.make_node("MatMul", ["inner", "big"], ["next"]), helper.make_node("Identity", ["cond"], ["cond_out"])],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("cond", TensorProto.BOOL, []),
            value("inner", TensorProto.FLOAT, [size, size]),
        ],
        [value("cond_out", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [size, size])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["rounds"], to=TensorProto.INT64),
        helper.make_node("Loop", ["rounds", "", "big"], ["looped"], body=body),
        helper.make_node("ReduceSum", ["looped"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.eye(size, dtype=np.float32), "big"),
        numpy_helper.from_array(np.array(0.0, np.float32), "nothing"),
    ]
    axes = [value("x", TensorProto.FLOAT, ["N", 4])], [value("y", TensorProto.FLOAT, ["N", 4])]
    return model(nodes, *axes, weights)


def save(made: onnx.ModelProto, file: Path) -> Path:
    """Write the model, with folders as needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(made.SerializeToString())
    return file
