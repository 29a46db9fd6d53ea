"""The model under each peer's adapter: ONNX Runtime, and the checks of a request that a careful user of these servers would write.

A peer fails no rule because its adapter was written carelessly: names, datatypes, shapes and requested outputs are checked here. What a
server does before its adapter sees the request (parsing, decoding, status codes) stays the server's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class RefusedError(ValueError):
    """The request is at fault; each adapter raises its server's own exception for that."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a request says of a tensor, or a model; -1 for what varies."""

    name: str
    datatype: str
    shape: Sequence[int]


class OnnxModel:
    """One model, loaded."""

    def __init__(self, path: str | Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [_described(node) for node in self._session.get_inputs()]
        self.outputs = [_described(node) for node in self._session.get_outputs()]

    def check(self, given: Sequence[Tensor], wanted: Sequence[str]) -> None:
        """Refuse inputs that are missing, strange, given twice or of another kind, and outputs that the model lacks."""
        names = [tensor.name for tensor in given]
        expected = {tensor.name: tensor for tensor in self.inputs}
        if len(set(names)) != len(names) or set(names) != set(expected):
            raise RefusedError(f"inputs {names}: the model takes {list(expected)}")
        if strange := set(wanted) - {tensor.name for tensor in self.outputs}:
            raise RefusedError(f"the model has no output {', '.join(sorted(strange))}")
        for tensor in given:
            _fits(tensor, expected[tensor.name])

    def run(self, arrays: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
        """The wanted outputs, or all."""
        names = list(wanted) or [tensor.name for tensor in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(arrays)), strict=True))
        except (InvalidArgument, Fail) as error:
            raise RefusedError(str(error)) from None


def words(values: Iterable[Any]) -> list[str]:
    """Text as ONNX Runtime takes it; what is none is refused."""
    found = [value.decode() if isinstance(value, bytes) else value for value in values]
    if strange := [value for value in found if not isinstance(value, str)]:
        raise RefusedError(f"{strange[0]!r} is no text")
    return found


def servable(path: Path) -> bool:
    """Whether the model's datatypes are among those of the protocol's text, which is what these servers know: BF16 is not."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return all(node.type in DATATYPES for node in session.get_inputs())


def _described(node: Any) -> Tensor:
    return Tensor(node.name, DATATYPES[node.type], [axis if isinstance(axis, int) else -1 for axis in node.shape])


def _fits(given: Tensor, expected: Tensor) -> None:
    if given.datatype != expected.datatype:
        raise RefusedError(f"input {given.name} is {given.datatype}: the model takes {expected.datatype}")
    axes = zip(given.shape, expected.shape, strict=False)
    right = len(given.shape) == len(expected.shape)
    if not right or any(axis < 0 or fixed not in {-1, axis} for axis, fixed in axes):
        raise RefusedError(f"input {given.name} has the shape {list(given.shape)}: the model takes {expected.shape}")
