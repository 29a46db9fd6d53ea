"""What must hold of a decoded request, whatever bytes it came from: the invariants that the rest of the runtime builds on."""

import json
from typing import Any

import numpy as np

from modelward_runtime.errors import ApiError
from modelward_runtime.model import NUMPY_TYPES, Array, Face, TensorSpec
from modelward_runtime.states import Decoded

DATATYPES = tuple(sorted(NUMPY_TYPES))


def face(*specs: TensorSpec) -> Face:
    """A model that gives each input NAME back as out_NAME."""
    outputs = tuple(TensorSpec(f"out_{spec.name}", spec.datatype, spec.shape) for spec in specs)
    return Face("tiny", "1", "CPUExecutionProvider", specs, outputs)


FACES = (
    face(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,))),
    face(*(TensorSpec(name.lower(), name, (-1, 2)) for name in DATATYPES)),
    face(TensorSpec("x", "INT64", ())),
    face(TensorSpec("x", "FP64", (2, -1, 3))),
)


def is_sorry(error: ApiError) -> None:
    """A refusal that may be told: a 4xx, short, and writable."""
    assert 400 <= error.status < 500, error
    assert 0 < len(error.message) < 2000, error.message
    error.message.encode()


def is_sound(decoded: Decoded, of: Face) -> None:
    """Tensors that fit the model."""
    assert [spec.name for spec in of.inputs] == list(decoded.inputs)
    for spec in of.inputs:
        array = decoded.inputs[spec.name]
        assert array.dtype == NUMPY_TYPES[spec.datatype], (spec, array.dtype)
        assert array.ndim == len(spec.shape)
        assert all(want in {-1, got} for got, want in zip(array.shape, spec.shape, strict=True)), (spec, array.shape)
        assert array.flags.c_contiguous
        assert array.flags.aligned
        if spec.datatype == "BYTES":
            assert all(isinstance(item, str) for item in array.ravel().tolist())
    assert set(decoded.outputs) <= {spec.name for spec in of.outputs}
    assert len(set(decoded.outputs)) == len(decoded.outputs)


def same(one: Array, other: Array) -> bool:
    """The same tensor, to the bit; NaN is NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype == object:
        return bool(one.ravel().tolist() == other.ravel().tolist())
    return one.tobytes() == other.tobytes()


def by_the_book(body: bytes, split: int) -> dict[str, Array]:
    """What a body says that was accepted, read again by Python's own JSON and numpy's own conversions."""
    text = body[:split].decode("utf-8", "replace")  # msgspec does not look into what it passes over
    tensors = json.loads(text)["inputs"]
    found: dict[str, Array] = {}
    rest = body[split:]
    for tensor in tensors:
        dtype, size = NUMPY_TYPES[tensor["datatype"]], tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[tensor["name"]] = _from_data(tensor["data"], dtype, tensor["shape"])
            continue
        blob, rest = rest[:size], rest[size:]
        items: Any = _elements(blob) if dtype.kind == "O" else np.frombuffer(blob, dtype)
        found[tensor["name"]] = _shaped(items, dtype, tensor["shape"])
    assert not rest
    return found


def _from_data(data: Any, dtype: np.dtype[Any], shape: list[int]) -> Array:
    flat: list[Any] = []
    level = [data]
    while level:
        item = level.pop()
        if isinstance(item, list):
            level.extend(reversed(item))
        else:
            flat.append(item)
    if dtype.kind == "f":
        flat = [float(item) for item in flat]
    return _shaped(flat, dtype, shape)


def _shaped(items: Any, dtype: np.dtype[Any], shape: list[int]) -> Array:
    made: Array = np.empty(len(items), dtype)
    made[:] = items
    return made.reshape(shape)


def _elements(blob: bytes) -> list[str]:
    found = []
    while blob:
        size = int.from_bytes(blob[:4], "little")
        found.append(blob[4 : 4 + size].decode())
        blob = blob[4 + size :]
    return found
