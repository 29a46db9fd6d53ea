"""Small ONNX models for the runtime's tests, made with the `onnx` package, that the serving image does not have."""

from collections.abc import Sequence
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


def scaled(factor: float, outputs: int = 3) -> onnx.ModelProto:
    """y = factor * x @ WEIGHTS, of the first `outputs` columns."""
    made = linear()
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(factor * WEIGHTS[:, :outputs].copy(), "w"))
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = outputs
    return made


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


def optional() -> onnx.ModelProto:
    """y[N, 2] = more[N, 2] where it is given, else x[N, 2]."""
    kind = TensorProto.FLOAT
    given = helper.make_graph(
        [helper.make_node("OptionalGetElement", ["more"], ["got"])], "given", [], [value("got", kind, None)]
    )
    absent = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])], "absent", [], [value("same", kind, None)]
    )
    nodes = [
        helper.make_node("OptionalHasElement", ["more"], ["has"]),
        helper.make_node("If", ["has"], ["y"], then_branch=given, else_branch=absent),
    ]
    more = helper.make_optional_type_proto(helper.make_tensor_type_proto(kind, ["N", 2]))
    inputs = [value("x", kind, ["N", 2]), helper.make_value_info("more", more)]
    return model(nodes, inputs, [value("y", kind, ["N", 2])], opset=18)


def settable(names: str) -> onnx.ModelProto:
    """y[N, 2] = x[N, 2] * factor[1] + offset[1], 2 and 0 by default; callers may set what the metadata name."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["m"]), helper.make_node("Add", ["m", "offset"], ["y"])]
    inputs = [value("x", TensorProto.FLOAT, ["N", 2])]
    inputs += [value(name, TensorProto.FLOAT, [1]) for name in ("factor", "offset")]
    weights = [numpy_helper.from_array(np.array([n], np.float32), name) for name, n in (("factor", 2), ("offset", 0))]
    made = model(nodes, inputs, [value("y", TensorProto.FLOAT, ["N", 2])], weights)
    made.metadata_props.add(key="optional_inputs", value=names)
    return made


def zipmap(classes: Sequence[int | str]) -> onnx.ModelProto:
    """y: a map for each row of x[N, classes], as skl2onnx makes a classifier's probabilities unless told otherwise."""
    texts = isinstance(classes[0], str)
    listed: Any = {"classlabels_strings" if texts else "classlabels_int64s": list(classes)}
    made = model(
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **listed)],
        [value("x", TensorProto.FLOAT, ["N", len(classes)])],
        [],
    )
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    key = TensorProto.STRING if texts else TensorProto.INT64
    mapping = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    made.graph.output.append(helper.make_value_info("y", helper.make_sequence_type_proto(mapping)))
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
