"""Small ONNX models made on the spot, sound and broken: what the cases upload beside the real ones.

The sound one computes y = x + version, so that a prediction tells which version answered.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET, IR = 17, 8


def adder(addend: float) -> onnx.ModelProto:
    """y = x + addend on rows of four numbers."""
    return _model(numpy_helper.from_array(np.array([addend], np.float32), "addend"))


def echo() -> onnx.ModelProto:
    """Says what it was told: a text in, the same text out, and its rows, so that a policy has something to leave out."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["said"]), helper.make_node("Shape", ["text"], ["rows"])],
        "echo",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["rows"])],
        [
            helper.make_tensor_value_info("said", TensorProto.STRING, ["rows"]),
            helper.make_tensor_value_info("rows", TensorProto.INT64, [1]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def hungry(mebibytes: int) -> onnx.ModelProto:
    """A model of some bytes that fills this much memory as soon as it runs: y = x + the sum of a tensor of zeros."""
    length = numpy_helper.from_array(np.array([mebibytes * 2**20 // 4], np.int64), "length")
    nodes = [
        helper.make_node("ConstantOfShape", ["length"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["addend"], keepdims=0),
    ]
    return _model(length, nodes_before=nodes)


def _model(initialiser: TensorProto, opset: int = OPSET, nodes_before: Sequence[NodeProto] = ()) -> onnx.ModelProto:
    shape: list[str | int | None] = ["rows", 4]
    graph = helper.make_graph(
        [*nodes_before, helper.make_node("Add", ["x", "addend"], ["y"])],
        "adder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [initialiser],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR)


def _leaving_its_folder() -> bytes:
    """A model whose weights are said to lie outside of its folder."""
    initialiser = TensorProto(name="addend", data_type=TensorProto.FLOAT, dims=[1])
    initialiser.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../etc/passwd"), ("offset", "0"), ("length", "4")):
        initialiser.external_data.add(key=key, value=value)
    return bytes(_model(initialiser).SerializeToString())


def write_all(folder: Path) -> None:
    """Write every model of the cases: `adder/1`, `adder/2`, and one folder for each way to be broken."""
    sound = adder(1).SerializeToString()
    contents = {
        "adder/1/model.onnx": sound,
        "adder/2/model.onnx": adder(2).SerializeToString(),
        "single/adder.onnx": sound,
        "echo/model.onnx": echo().SerializeToString(),
        "hungry/model.onnx": hungry(160).SerializeToString(),
        "truncated/model.onnx": sound[: len(sound) // 2],
        "no-model/README.txt": b"The model was never uploaded.\n",
        "new-opset/model.onnx": _model(
            numpy_helper.from_array(np.array([1], np.float32), "addend"), 99
        ).SerializeToString(),
        "leaving/model.onnx": _leaving_its_folder(),
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
