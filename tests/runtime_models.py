"""Models for the tests of the request path: doubles of the engine's seam in plain numpy, and a real one of every datatype."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

from modelward_runtime.model import Array, TensorSpec
from tests.onnx_models import model, value

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
    defaults: frozenset[str] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)

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


ONNX_TYPES = {
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


def every_type() -> onnx.ModelProto:
    """A real model that gives every input back: in_FP32 of shape [n, 2] comes out as out_FP32."""
    names = list(ONNX_TYPES)
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in names]
    inputs = [value(f"in_{name}", ONNX_TYPES[name], ["n", 2]) for name in names]
    outputs = [value(f"out_{name}", ONNX_TYPES[name], ["n", 2]) for name in names]
    return model(nodes, inputs, outputs)
