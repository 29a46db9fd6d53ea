"""Tensors between the wire and numpy: what a datatype's bytes, JSON and numbers mean, and whether a tensor fits its slot.

Called by `codec.py` (REST) and `protobuf.py` (gRPC), so that both say the same words; raises `BadRequest` only. It must not
know how a request is framed.

JSON policy: numbers only for numeric tensors, integers only for integer tensors and exactly in range, true and false only
for BOOL, strings only for BYTES (UTF-8). NaN and Infinity are not JSON: refused on the way in, `null` on the way out;
binary tensors carry them. Numbers are read as FP64 and rounded once, to the nearest, halves to even.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from modelward_runtime import bfloat16, jsonnumbers
from modelward_runtime.errors import BadRequest
from modelward_runtime.model import NUMPY_TYPES, Array, TensorSpec

MAX_AXIS = 1 << 31
MAX_ELEMENTS = 1 << 40  # what the axes of an empty tensor may claim beside its zero: more overflows numpy's arithmetic
CHUNK_BYTES = 1 << 18  # one C call that holds the interpreter lock parses so much, about 3 ms
CHUNK_ITEMS = 1 << 15

_LENGTH = struct.Struct("<I")  # of a BYTES element
_FLOATS = msgspec.json.Decoder(list[float])
_INTS = msgspec.json.Decoder(list[int])
_BOOLS = msgspec.json.Decoder(list[bool])
_STRINGS = msgspec.json.Decoder(list[str])
_ANY = msgspec.json.Decoder(list[object])
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"[],")
_FLOAT_TYPES = frozenset({"FP16", "FP32", "FP64", "BF16"})
LARGEST = {
    "FP16": math.nextafter(65520.0, 0),
    "FP32": math.nextafter((2 - 2**-24) * 2.0**127, 0),
    "BF16": bfloat16.LARGEST,
}
"""The largest FP64, in which JSON's numbers are read, that rounds to a number and not to infinity: what prints the largest FP32 in as few
digits as tell it apart (3.4028235e+38) prints more than it is."""
_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_BOUNDS: dict[str, tuple[float, float]] = {
    **{datatype: (-largest, largest) for datatype, largest in LARGEST.items()},
    **{datatype: (np.iinfo(NUMPY_TYPES[datatype]).min, np.iinfo(NUMPY_TYPES[datatype]).max) for datatype in _INTEGERS},
}


def check_fits(spec: TensorSpec, datatype: str, shape: Sequence[int]) -> None:
    """Refuse a tensor whose declared datatype or shape is not what the model takes."""
    if datatype != spec.datatype:
        raise BadRequest(f"input '{spec.name}': expected datatype {spec.datatype}, got {_show_datatype(datatype)}")
    if len(shape) == len(spec.shape):
        for got, want in zip(shape, spec.shape, strict=True):
            if not 0 <= got <= MAX_AXIS or (got != want and want >= 0):
                break
        else:
            _check_claim(spec, shape)
            return
    raise BadRequest(f"input '{spec.name}': expected shape {list(spec.shape)}, got {show_shape(shape)}{_beyond(shape)}")


def _beyond(shape: Sequence[int]) -> str:
    """What is wrong with a shape that may look like the model's; empty where the two tell it."""
    if any(axis < 0 for axis in shape):
        return ": in a request each axis has its size; -1 stands for any size in the model's shape alone"
    if any(axis > MAX_AXIS for axis in shape):
        return f": an axis is longer than {MAX_AXIS}"
    return ""


def _show_datatype(datatype: str) -> str:
    """A datatype for a message: what is none of the protocol's may be anything, and is not repeated."""
    return datatype if datatype in NUMPY_TYPES else "one that the protocol does not know"


def _check_claim(spec: TensorSpec, shape: Sequence[int]) -> None:
    """Refuse an empty tensor of absurd axes. Any other is held to its shape by the number of its elements."""
    if 0 in shape and math.prod(axis or 1 for axis in shape) > MAX_ELEMENTS:
        raise BadRequest(
            f"input '{spec.name}': the axes of shape {show_shape(shape)} are too long, even of an empty tensor"
        )


def show_shape(shape: Sequence[int]) -> str:
    """A shape for a message, cut when it is absurdly long."""
    return str(list(shape)) if len(shape) <= 16 else f"{list(shape[:16])} and {len(shape) - 16} more axes"


def from_bytes(spec: TensorSpec, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """Little-endian, row-major bytes as an array, without a copy where alignment allows; BYTES are length-prefixed."""
    dtype = NUMPY_TYPES[spec.datatype]
    count = math.prod(shape)
    if spec.datatype == "BYTES":
        return _object_array(list(_split_elements(spec.name, data, count)), shape)
    if len(data) != count * dtype.itemsize:
        raise BadRequest(
            f"input '{spec.name}': expected {count * dtype.itemsize} bytes for {spec.datatype} {show_shape(shape)}, "
            f"got {len(data)}"
        )
    if spec.datatype == "BOOL":
        return _bools_from_bytes(spec.name, data).reshape(shape)
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _bools_from_bytes(name: str, data: bytes | memoryview) -> Array:
    octets = np.frombuffer(data, np.uint8)
    if octets.size and octets.max() > 1:
        raise BadRequest(f"input '{name}': expected BOOL bytes of 0 or 1")
    return octets.view(np.bool_)


def _split_elements(name: str, data: bytes | memoryview, count: int) -> Iterator[str]:
    """The elements of a BYTES tensor: each is a little-endian uint32 length and as many bytes of UTF-8."""
    if len(data) < 4 * count:
        raise BadRequest(f"input '{name}': expected {count} length-prefixed elements, got {len(data)} bytes")
    position, read_length = 0, _LENGTH.unpack_from
    for _ in range(count):
        start = position + 4
        position = start + read_length(data, start - 4)[0] if start <= len(data) else start
        if position > len(data):
            raise BadRequest(f"input '{name}': a BYTES element reaches beyond the tensor's {len(data)} bytes")
        yield to_text(name, data[start:position])
    if position != len(data):
        raise BadRequest(f"input '{name}': expected {position} bytes for {count} elements, got {len(data)}")


def to_text(name: str, element: bytes | memoryview) -> str:
    """One BYTES element as the text that ONNX strings are."""
    try:
        return str(element, "utf-8")
    except UnicodeDecodeError as bad:
        raise BadRequest(f"input '{name}': a BYTES element is not UTF-8 (byte {bad.start} of it)") from None


def from_numbers(
    spec: TensorSpec, shape: Sequence[int], numbers: Sequence[float | bool], *, finite: bool = True
) -> Array:
    """Numbers in row-major order as an array; out of the datatype's range is an error, never a wrap.

    `finite` False lets NaN and infinities pass, where the wire can say them.
    """
    check_count(spec, shape, len(numbers))
    if len(numbers) <= CHUNK_ITEMS:
        return _pack(spec, list(numbers), finite).reshape(shape)
    pieces = range(0, len(numbers), CHUNK_ITEMS)
    return np.concatenate([_pack(spec, numbers[at : at + CHUNK_ITEMS], finite) for at in pieces]).reshape(shape)


def from_elements(spec: TensorSpec, shape: Sequence[int], elements: list[str]) -> Array:
    """The elements of a BYTES tensor in row-major order as an array."""
    check_count(spec, shape, len(elements))
    return _object_array(elements, shape)


def check_count(spec: TensorSpec, shape: Sequence[int], got: int) -> None:
    """Refuse another number of elements than the shape's."""
    count = math.prod(shape)
    if got != count:
        raise BadRequest(f"input '{spec.name}': shape {show_shape(shape)} holds {count} elements, data holds {got}")


def _pack(spec: TensorSpec, numbers: Sequence[float | bool], finite: bool) -> Array:
    largest = LARGEST.get(spec.datatype) if finite else None
    if not numbers or largest is None or -largest <= min(numbers) <= max(numbers) <= largest:
        try:
            if spec.datatype == "BF16":
                return bfloat16.narrow(np.array(numbers, np.float64))
            return np.array(numbers, NUMPY_TYPES[spec.datatype])
        except OverflowError:  # an integer type's own check
            pass
    raise BadRequest(f"input '{spec.name}': a number is out of range for {spec.datatype}")


def from_span(spec: TensorSpec, shape: Sequence[int], span: jsonnumbers.Span) -> Array:
    """A long flat JSON array as an array. Raises `BadRequest` also for what only `from_json` can read."""
    numbers = span.read(spec.datatype, _BOUNDS.get(spec.datatype))
    if numbers is None:
        raise BadRequest(f"input '{spec.name}': data does not fit {spec.datatype}")
    check_count(spec, shape, numbers.size)
    return numbers.reshape(shape)


def from_json(spec: TensorSpec, shape: Sequence[int], data: msgspec.Raw) -> Array:
    """A JSON array, flat or nested exactly as `shape` says, as an array. `data` is known to be valid JSON."""
    text = bytes(data)
    if not text.startswith(b"["):
        raise BadRequest(f"input '{spec.name}': data must be an array")
    if spec.datatype == "BYTES":
        return _strings_from_json(spec, shape, text)
    if text.find(b"[", 1) > 0:
        text = _flatten(spec, shape, text)
    if len(text) >= jsonnumbers.LONG:
        numbers = jsonnumbers.read(spec.datatype, text, _BOUNDS.get(spec.datatype))
        if numbers is not None:
            check_count(spec, shape, numbers.size)
            return numbers.reshape(shape)
    if len(text) <= CHUNK_BYTES:
        return from_numbers(spec, shape, _parse(spec, text))
    return _parse_in_chunks(spec, shape, text)


def _parse(spec: TensorSpec, text: bytes) -> list[float] | list[int] | list[bool]:
    decoder: msgspec.json.Decoder[list[float]] | msgspec.json.Decoder[list[int]] | msgspec.json.Decoder[list[bool]]
    decoder = _FLOATS if spec.datatype in _FLOAT_TYPES else _BOOLS if spec.datatype == "BOOL" else _INTS
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as bad:
        raise BadRequest(f"input '{spec.name}': data does not fit {spec.datatype}: {bad}") from None


def _parse_in_chunks(spec: TensorSpec, shape: Sequence[int], text: bytes) -> Array:
    """The same for a long flat array, a piece at a time, so that other threads get the interpreter lock in between."""
    count = math.prod(shape)
    if text.count(b",") + 1 != count:
        raise BadRequest(
            f"input '{spec.name}': shape {show_shape(shape)} holds {count} elements, data holds {text.count(b',') + 1}"
        )
    parts: list[Array] = []
    start, end = 1, len(text) - 1
    while start < end:
        stop = text.find(b",", start + CHUNK_BYTES)
        stop = stop if stop > 0 else end
        parts.append(_pack(spec, _parse(spec, b"[%b]" % text[start:stop]), finite=True))
        start = stop + 1
    joined = np.concatenate(parts)
    check_count(spec, shape, joined.size)
    return joined.reshape(shape)


def _flatten(spec: TensorSpec, shape: Sequence[int], text: bytes) -> bytes:
    """Nested numbers without their inner brackets. The brackets and commas must be the very ones that `shape` makes."""
    structure = text.translate(None, _NOT_STRUCTURE)
    if len(structure) != _structure_length(shape) or structure != _structure(shape):
        raise BadRequest(
            f"input '{spec.name}': data is nested unlike its shape {show_shape(shape)} (ragged, too short or too long)"
        )
    flat = b"[%b]" % text.translate(None, b"[]")
    return flat if math.prod(shape) else b"[%b]" % flat.translate(None, b"[],")


def _structure(shape: Sequence[int]) -> bytes:
    """What brackets and commas a nested array of this shape has: `[[,],[,]]` for 2 by 2."""
    inner = b""
    if 0 in shape:
        shape = shape[: shape.index(0) + 1]  # what a zero axis holds is not there, however long it claims to be
    for axis in reversed(shape):
        inner = b"[%b]" % b",".join([inner] * axis)
    return inner


def _structure_length(shape: Sequence[int]) -> int:
    length = 0
    for axis in reversed(shape):
        length = 2 + axis * length + max(axis - 1, 0)
    return length


def _strings_from_json(spec: TensorSpec, shape: Sequence[int], text: bytes) -> Array:
    try:
        if not text[1:].lstrip().startswith(b"["):
            return from_elements(spec, shape, _STRINGS.decode(text))
        return from_elements(spec, shape, list(_flat_strings(spec, shape, _ANY.decode(text))))
    except (msgspec.MsgspecError, RecursionError, ValueError) as bad:
        raise BadRequest(f"input '{spec.name}': data does not fit BYTES: {bad}") from None


def _flat_strings(spec: TensorSpec, shape: Sequence[int], level: object) -> Iterator[str]:
    """Walk nested strings; the depth is bounded by the shape's, which is the model's."""
    if not shape:
        if not isinstance(level, str):
            raise BadRequest(f"input '{spec.name}': data does not fit BYTES: expected strings")
        yield level
    elif not isinstance(level, list) or len(level) != shape[0]:
        raise BadRequest(f"input '{spec.name}': data is nested unlike its shape (ragged, too short or too long)")
    else:
        for item in level:
            yield from _flat_strings(spec, shape[1:], item)


def _object_array(strings: Iterable[str], shape: Sequence[int]) -> Array:
    listed = strings if isinstance(strings, list) else list(strings)
    array = np.empty(len(listed), np.object_)
    array[:] = listed
    return array.reshape(shape)


def to_bytes(datatype: str, array: Array) -> bytes:
    """An array as the wire's bytes: little-endian, row-major; BYTES length-prefixed."""
    if datatype != "BYTES":
        return array.tobytes()
    return b"".join(
        len(element).to_bytes(4, "little") + element
        for element in (str(item).encode() for item in array.ravel().tolist())
    )


def to_json(name: str, datatype: str, array: Array) -> list[object] | msgspec.Raw:
    """An array's elements in row-major order, ready for msgspec; NaN and infinities become null there."""
    flat = array.ravel() if datatype != "BF16" else bfloat16.widen(array.ravel())
    if flat.size <= CHUNK_ITEMS:
        items: list[object] = flat.tolist()
        return items
    parts = (
        msgspec.json.encode(flat[start : start + CHUNK_ITEMS].tolist())[1:-1]
        for start in range(0, flat.size, CHUNK_ITEMS)
    )
    return msgspec.Raw(b"[%b]" % b",".join(parts))
