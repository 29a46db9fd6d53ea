"""Models for the runtime's tests: doubles of its engine seam in plain numpy, and a tiny real ONNX file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime.model import Array, TensorSpec

Compute = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True)
class Double:
    """A model whose arithmetic is a Python function."""

    compute: Compute
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    name: str = "tiny"
    version: str = "1"
    execution_provider: str = "CPUExecutionProvider"
    batchable: bool = True

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        computed = self.compute(inputs)
        return [computed[name] for name in outputs]


def doubler(shape: tuple[int, ...] = (-1, 4), datatype: str = "FP32", *, batchable: bool = True) -> Double:
    """y is twice x, of the same type and shape."""

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": inputs["x"] + inputs["x"]}

    return Double(
        compute, (TensorSpec("x", datatype, shape),), (TensorSpec("y", datatype, shape),), batchable=batchable
    )


def echo(*specs: TensorSpec) -> Double:
    """An output `out_NAME` for each input NAME, with the very same values."""

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {f"out_{name}": array for name, array in inputs.items()}

    outputs = tuple(TensorSpec(f"out_{spec.name}", spec.datatype, spec.shape) for spec in specs)
    return Double(compute, specs, outputs, batchable=False)


def write_linear_onnx(path: Path) -> Array:
    """A real model file, y[n,3] = x[n,4] @ w; returns w."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 4
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return weights


_ONNX_TYPES = {
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
    "BYTES": TensorProto.STRING,
}


def write_echo_onnx(path: Path, datatypes: Sequence[str]) -> None:
    """A real model file that gives every input back: `in_FP32` comes out as `out_FP32`, of shape [n, 2]."""
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in datatypes]
    inputs = [helper.make_tensor_value_info(f"in_{name}", _ONNX_TYPES[name], ["n", 2]) for name in datatypes]
    outputs = [helper.make_tensor_value_info(f"out_{name}", _ONNX_TYPES[name], ["n", 2]) for name in datatypes]
    graph = helper.make_graph(nodes, "echo", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
