"""The models that a server under test serves: one for each role, all of them trivial, so that a wrong answer is the server's.

numbers   conformance-numbers   x FP32 [rows, 4]  ->  double = x + x FP32 [rows, 4], total = the rows' sums FP32 [rows]
TYPE      conformance-fp16 …    value TYPE [n]    ->  same: the value as it came   (every datatype, BYTES as text)
slow      conformance-slow      x FP32 [rows]     ->  y: some hundred milliseconds of work a call
"""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8
PREFIX: Final = "conformance-"
TYPES: Final = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
ROLES: Final = ("numbers", *(name.lower() for name in TYPES), "slow")


def model_name(role: str) -> str:
    """The name under which a server serves the model of a role."""
    return PREFIX + role


def write_models(folder: Path) -> list[Path]:
    """Write every model as FOLDER/NAME/model.onnx; return the folders."""
    folders = []
    for role in ROLES:
        place = folder / model_name(role)
        place.mkdir(parents=True, exist_ok=True)
        onnx.save(build(role), place / "model.onnx")
        folders.append(place)
    return folders


def build(role: str) -> onnx.ModelProto:
    """The model of a role."""
    if role == "numbers":
        return _numbers()
    return _slow() if role == "slow" else _identity(TYPES[role.upper()])


def _numbers() -> onnx.ModelProto:
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"]),
        helper.make_node("ReduceSum", ["x", "axes"], ["total"], keepdims=0),
    ]
    outputs = [_value("double", TensorProto.FLOAT, ["rows", 4]), _value("total", TensorProto.FLOAT, ["rows"])]
    return _model("numbers", nodes, [_value("x", TensorProto.FLOAT, ["rows", 4])], outputs, [axes])


def _identity(kind: int) -> onnx.ModelProto:
    node = helper.make_node("Identity", ["value"], ["same"])
    return _model("identity", [node], [_value("value", kind, ["n"])], [_value("same", kind, ["n"])], [])


def _slow() -> onnx.ModelProto:
    """Multiplies a matrix by itself in a loop: the work cannot be folded away, because it starts from the input."""
    size, turns = 256, 220
    seed = numpy_helper.from_array(np.eye(size, dtype=np.float32), "seed")
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Mul", ["seed", "most"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{turn}", "seed"], [f"m{turn + 1}"]) for turn in range(turns)),
        helper.make_node("ReduceMax", [f"m{turns}"], ["peak"], keepdims=0),
        helper.make_node("Add", ["x", "peak"], ["y"]),
    ]
    return _model(
        "slow", nodes, [_value("x", TensorProto.FLOAT, ["n"])], [_value("y", TensorProto.FLOAT, ["n"])], [seed]
    )


def _value(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initialisers: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs, initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
