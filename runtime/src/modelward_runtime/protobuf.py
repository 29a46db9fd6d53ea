"""The gRPC form of a request: the bytes of a `ModelInferRequest` to `Decoded`, `Released` to those of a `ModelInferResponse`.

Called by `grpc_server.py` through `exchange.py`. Tensors come raw or as typed contents, and go out the way they came; FP16
and BF16 have no typed form. An answer is put together from what is always the same of a model and from the tensors as they lie in memory.
Source: the Open Inference Protocol v2 (gRPC), protobuf's encoding. Raises `ApiError` only.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from modelward_runtime import tensors
from modelward_runtime.codec import choose_outputs, match_inputs, refuse_parameters
from modelward_runtime.errors import BadRequest
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.parts import LARGE
from modelward_runtime.proto import messages
from modelward_runtime.states import Decoded, Released
from modelward_runtime.wire import Bytes, Input, Request, packed, read_request

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}  # the field of InferTensorContents that holds a datatype
_SMALL: Final = 1 << 14  # bytes of a tensor that are cheaper to copy than to hand on
_NAME, _VERSION, _ID, _OUTPUT, _RAW = (
    b"\x0a",
    b"\x12",
    b"\x1a",
    b"\x2a",
    b"\x32",
)  # of ModelInferResponse, with a length each
_SHAPE, _CONTENTS = b"\x1a", b"\x2a"  # of its InferOutputTensor


class GrpcAnswer:
    """A `ModelInferResponse` in parts, of `size` bytes together."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: list[Bytes], size: int) -> None:
        self.parts = parts
        self.size = size


class GrpcCall:
    """One inference over gRPC: what `Exchange.infer` needs to decode its message and encode its answer. Raises `BadRequest`."""

    __slots__ = ("_raw", "_request", "id", "name", "size", "version")

    def __init__(self, message: Bytes, read: Request | None = None) -> None:
        """Raises `BadRequest`. `read` is the message, where it was read already."""
        request = read_request(message) if read is None else read
        self.name = request.model_name
        self.version = request.model_version
        self.id = request.id
        self.size = len(message)
        self._request = request
        self._raw = len(request.raw) > 0

    @property
    def parses(self) -> int:
        """Bytes of typed contents, and of all that describes raw ones, which are only looked at."""
        if not self._raw or self.size <= LARGE:
            return 0 if self._raw else self.size
        return self.size - sum(map(len, self._request.raw))

    @property
    def prints(self) -> bool:
        """Outputs go out as typed contents."""
        return not self._raw

    def decode(self, face: Face) -> Decoded:
        """The tensors of the message, checked against the model's."""
        request = self._request
        form = _form_of(face)
        refuse_parameters(request.parameters, "request")
        by_name = form.only
        if len(request.inputs) != 1 or request.inputs[0].name not in by_name:
            by_name = match_inputs(face, [tensor.name for tensor in request.inputs])
        if self._raw and len(request.raw) != len(request.inputs):
            raise BadRequest(
                f"raw_input_contents holds {len(request.raw)} tensors, but {len(request.inputs)} inputs are named"
            )
        arrays: dict[str, Array] = {}
        for position, tensor in enumerate(request.inputs):
            spec = by_name.get(tensor.name)
            if spec is None:
                continue
            if tensor.parameters:
                refuse_parameters(tensor.parameters, f"input '{spec.name}'")
            tensors.check_fits(spec, tensor.datatype, tensor.shape)
            arrays[spec.name] = self._decode_tensor(spec, tensor, position)
        outputs = choose_outputs(face, [name for name, _ in request.outputs]) if request.outputs else form.names
        for name, parameters in request.outputs:
            refuse_parameters(parameters, f"output '{name}'")
        if len(arrays) > 1:
            arrays = {spec.name: arrays[spec.name] for spec in face.inputs if spec.name in arrays}
        return Decoded(arrays, outputs)

    def _decode_tensor(self, spec: TensorSpec, tensor: Input, position: int) -> Array:
        if not self._raw:
            return _from_contents(spec, tensor.shape, tensor.contents)
        if tensor.contents is not None:
            raise BadRequest(f"input '{spec.name}': both contents and raw_input_contents")
        return tensors.from_bytes(spec, tensor.shape, self._request.raw[position])

    def encode(self, face: Face, released: Released) -> GrpcAnswer:
        """The answer: raw where the request was raw, or where a datatype has no other form."""
        form = _form_of(face)
        parts: list[Bytes] = [form.head]
        if self.id:
            parts += _field(_ID, self.id.encode())
        raw = self._raw or any(form.outputs[name][0] not in CONTENTS for name in released.outputs)
        contents: list[Bytes] = []
        for name, array in released.outputs.items():
            datatype, described = form.outputs[name]
            if array.ndim:
                described += _shape(array.shape)
            if raw:
                data = to_wire(datatype, array)
                contents += (_RAW, length(len(data)), data)
            else:
                described += b"".join(_field(_CONTENTS, _to_contents(datatype, array)))
            parts += (_OUTPUT, length(len(described)), described)
        parts += contents
        return GrpcAnswer(parts, sum(map(len, parts)))


class _Form:
    """What is the same in all calls of a model: its name and version, each output's name and datatype, its `only` input."""

    __slots__ = ("face", "head", "names", "only", "outputs")

    def __init__(self, face: Face) -> None:
        self.face = face
        self.names = tuple(spec.name for spec in face.outputs)
        self.only = {spec.name: spec for spec in face.inputs} if len(face.inputs) == 1 else {}
        self.head = b"".join([*_field(_NAME, face.name.encode()), *_field(_VERSION, face.version.encode())])
        self.outputs = {
            spec.name: (
                spec.datatype,
                b"".join([*_field(b"\x0a", spec.name.encode()), *_field(b"\x12", spec.datatype.encode())]),
            )
            for spec in face.outputs
        }


_forms: list[_Form] = []  # of the face that was asked for last: there are others only while a policy changes


def _form_of(face: Face) -> _Form:
    if _forms and _forms[0].face is face:
        return _forms[0]
    form = _Form(face)
    _forms[:] = [form]
    return form


def to_wire(datatype: str, array: Array) -> Bytes:
    """An array's bytes as `tensors.to_bytes` has them; of a large one the memory itself, which nobody writes to any more."""
    if datatype == "BYTES" or array.nbytes <= _SMALL or not array.flags.c_contiguous:
        return tensors.to_bytes(datatype, array)
    return array.reshape(-1).view(np.uint8).data


def _field(tag: bytes, content: bytes) -> tuple[bytes, ...]:
    """A field that protobuf writes with its length; nothing where it is empty, as protobuf has it."""
    return (tag, length(len(content)), content) if content else ()


def length(number: int) -> bytes:
    """A length, as protobuf writes it."""
    if number < 0x80:
        return _LENGTHS[number]
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_LENGTHS: Final = [bytes((number,)) for number in range(0x80)]


def _shape(shape: Sequence[int]) -> bytes:
    numbers = b"".join(map(length, shape))
    return b"".join((_SHAPE, length(len(numbers)), numbers))


def _from_contents(spec: TensorSpec, shape: list[int], contents: Any) -> Array:  # noqa: ANN401
    field = CONTENTS.get(spec.datatype)
    if field is None:
        raise BadRequest(f"input '{spec.name}': {spec.datatype} must be sent in raw_input_contents")
    if isinstance(contents, (bytes, memoryview)):
        return _from_packed(spec, shape, contents, field)
    for descriptor, values in contents.ListFields() if contents is not None else ():
        _check_field(spec, descriptor.name, field)
        if spec.datatype != "BYTES":
            return tensors.from_numbers(spec, shape, values, finite=False)
        tensors.check_count(spec, shape, len(values))
        return tensors.from_elements(spec, shape, [tensors.to_text(spec.name, element) for element in values])
    if math.prod(shape):
        raise BadRequest(f"input '{spec.name}': neither contents nor raw_input_contents")
    return tensors.from_numbers(spec, shape, [])


def _from_packed(spec: TensorSpec, shape: list[int], contents: Bytes, wanted: str) -> Array:
    """Floats that lie in the message as they do in an array."""
    field, data = packed(contents)
    _check_field(spec, field, wanted)
    tensors.check_count(spec, shape, len(data) // (4 if field == "fp32_contents" else 8))
    return tensors.from_bytes(spec, shape, data)


def _check_field(spec: TensorSpec, got: str, wanted: str) -> None:
    if got != wanted:
        raise BadRequest(f"input '{spec.name}': {spec.datatype} belongs into {wanted}, got {got}")


def _to_contents(datatype: str, array: Array) -> bytes:
    """The bytes of an `InferTensorContents`."""
    items: list[Any] = array.ravel().tolist()
    if datatype == "BYTES":
        items = [str(item).encode() for item in items]
    message = messages().InferTensorContents(**{CONTENTS[datatype]: items})
    return bytes(message.SerializeToString()) or b""
