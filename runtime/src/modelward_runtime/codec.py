"""The REST form of a request: a JSON body, or a JSON header followed by binary tensors, to `Decoded`; `Released` back.

Called by `web.py` through `exchange.py`. Sources: the Open Inference Protocol v2 (REST) and Triton's binary tensor data
extension (`Inference-Header-Content-Length`, `binary_data_size`, `binary_data`, `binary_data_output`). It raises `ApiError`
and nothing else, whatever bytes come, and must not do I/O.

Responses are flat, row-major. Parameters that would change the answer and are not served (`classification`, shared memory,
sequences) are refused; unknown ones are hints and ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from modelward_runtime import tensors
from modelward_runtime.errors import ApiError, BadRequest, OutputWithheld
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.states import Decoded, Released

Parameters = dict[str, bool | int | float | str]

_ABSENT = msgspec.Raw()
_REFUSED = ("classification", "shared_memory_region", "sequence_id", "sequence_start", "sequence_end")


class InputTensor(msgspec.Struct, gc=False):
    """One element of a request's `inputs`; `data` or `parameters.binary_data_size`."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = _ABSENT
    parameters: Parameters = {}


class OutputWish(msgspec.Struct, gc=False):
    """One element of a request's `outputs`."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct, gc=False):
    """The JSON of a request."""

    inputs: list[InputTensor]
    id: str = ""
    outputs: list[OutputWish] = []
    parameters: Parameters = {}


class IndexRequest(msgspec.Struct, gc=False):
    """The JSON of a request for the repository's index."""

    ready: bool = False


class OutputTensor(msgspec.Struct, omit_defaults=True, gc=False):
    """One element of a response's `outputs`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[object] | msgspec.Raw | None = None
    parameters: Parameters = {}


class InferResponse(msgspec.Struct, omit_defaults=True, gc=False):
    """The JSON of a response."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body; `header_length` is set when binary tensors follow that much JSON."""

    body: bytes
    header_length: int | None


_REQUEST = msgspec.json.Decoder(InferRequest)
_ENCODER = msgspec.json.Encoder()


class RestCall:
    """One inference over REST: what `Exchange.infer` needs to decode its body and encode its answer."""

    __slots__ = ("_body", "_header_length", "_id", "_outputs_binary", "name", "size", "version")

    def __init__(self, name: str, version: str, body: bytes, header_length: str | None) -> None:
        self.name = name
        self.version = version
        self.size = len(body)
        self._body = body
        self._header_length = header_length
        self._id = ""
        self._outputs_binary: dict[str, bool] = {}

    def decode(self, face: Face) -> Decoded:
        """The tensors of the body, checked against the model's."""
        split = _split_at(self._body, self._header_length)
        request = _parse(self._body, split)
        refuse_parameters(request.parameters, "request")
        self._id = request.id
        inputs = _decode_inputs(face, request.inputs, memoryview(self._body)[split:], self._header_length is not None)
        outputs = choose_outputs(face, [wish.name for wish in request.outputs])
        self._outputs_binary = _wishes(request, outputs)
        self._body = b""
        return Decoded(inputs, outputs)

    def encode(self, face: Face, released: Released) -> Answer:
        """JSON, followed by those outputs that were asked for as binary data."""
        datatypes = {spec.name: spec.datatype for spec in face.outputs}
        blobs: list[bytes] = []
        outputs = [self._encode_output(name, datatypes[name], array, blobs) for name, array in released.outputs.items()]
        head = _ENCODER.encode(InferResponse(face.name, face.version, outputs, self._id))
        if not blobs:
            return Answer(head, None)
        return Answer(b"".join([head, *blobs]), len(head))

    def _encode_output(self, name: str, datatype: str, array: Array, blobs: list[bytes]) -> OutputTensor:
        if not self._outputs_binary[name]:
            return OutputTensor(name, datatype, array.shape, tensors.to_json(name, datatype, array))
        blobs.append(tensors.to_bytes(datatype, array))
        return OutputTensor(name, datatype, array.shape, parameters={"binary_data_size": len(blobs[-1])})


def _split_at(body: bytes, header_length: str | None) -> int:
    """Where the JSON ends and binary tensors begin."""
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) <= 12):
        raise BadRequest(f"Inference-Header-Content-Length must be a number of bytes, got '{header_length[:32]}'")
    split = int(header_length)
    if split > len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {split}, but the body has {len(body)} bytes")
    return split


def _parse(body: bytes, split: int) -> InferRequest:
    try:
        return _REQUEST.decode(body if split == len(body) else memoryview(body)[:split])
    except RecursionError:
        raise BadRequest("the JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as bad:
        raise BadRequest(f"not an inference request: {bad}") from None


def refuse_parameters(parameters: Parameters, where: str) -> None:
    """Refuse what would change the answer and is not served; `where` is the request, an input or an output."""
    if not parameters:
        return
    for name in _REFUSED:
        if parameters.get(name):
            raise BadRequest(f"{where}: parameter '{name}' is not served here")


def _decode_inputs(face: Face, sent: list[InputTensor], blob: memoryview, may_be_binary: bool) -> dict[str, Array]:
    by_name = match_inputs(face, [tensor.name for tensor in sent])
    arrays: dict[str, Array] = {}
    for tensor in sent:
        size = tensor.parameters.get("binary_data_size")
        taken = 0 if size is None else _binary_size(tensor, size, len(blob), may_be_binary)
        spec = by_name.get(tensor.name)
        if spec is not None:
            refuse_parameters(tensor.parameters, f"input '{spec.name}'")
            tensors.check_fits(spec, tensor.datatype, tensor.shape)
            arrays[spec.name] = (
                _from_json(spec, tensor) if size is None else tensors.from_bytes(spec, tensor.shape, blob[:taken])
            )
        blob = blob[taken:]
    if blob:
        raise BadRequest(f"{len(blob)} bytes follow the last binary tensor")
    return arrays if len(face.inputs) == 1 else {spec.name: arrays[spec.name] for spec in face.inputs}


def _from_json(spec: TensorSpec, tensor: InputTensor) -> Array:
    if not tensor.data:
        raise BadRequest(f"input '{spec.name}': neither data nor a binary_data_size")
    return tensors.from_json(spec, tensor.shape, tensor.data)


def _binary_size(tensor: InputTensor, size: object, left: int, may_be_binary: bool) -> int:
    if not may_be_binary:
        raise BadRequest(f"input '{tensor.name}': binary data needs the header Inference-Header-Content-Length")
    if tensor.data:
        raise BadRequest(f"input '{tensor.name}': both data and a binary_data_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadRequest(f"input '{tensor.name}': binary_data_size must be a number of bytes")
    if size > left:
        raise BadRequest(f"input '{tensor.name}': binary_data_size is {size}, but {left} bytes are left of the body")
    return size


def match_inputs(face: Face, names: Sequence[str]) -> dict[str, TensorSpec]:
    """The model's inputs by name, once it is sure that exactly these were sent, each once, beside what is ignored."""
    by_name = {spec.name: spec for spec in face.inputs}
    if face.ignored:
        names = [name for name in names if name not in face.ignored]
    if len(names) == len(by_name) and all(name in by_name for name in names) and len(set(names)) == len(names):
        return by_name
    for position, name in enumerate(names):
        if name not in by_name:
            raise BadRequest(f"input '{name[:64]}' is not one of the model's: {_listed(by_name)}")
        if name in names[:position]:
            raise BadRequest(f"input '{name}' was sent twice")
    missing = [name for name in by_name if name not in names]
    raise BadRequest(f"input '{missing[0]}' is missing; the model takes: {_listed(by_name)}")


def choose_outputs(face: Face, wanted: Sequence[str]) -> tuple[str, ...]:
    """The outputs to compute: those asked for, or all that are returned."""
    names = tuple(spec.name for spec in face.outputs)
    if not wanted:
        return names
    for position, name in enumerate(wanted):
        if name in face.withheld:
            raise OutputWithheld(name)
        if name not in names:
            raise BadRequest(f"output '{name[:64]}' is not one of the model's: {_listed(names)}")
        if name in wanted[:position]:
            raise BadRequest(f"output '{name}' was asked for twice")
    return tuple(wanted)


def _listed(names: Sequence[str] | dict[str, TensorSpec]) -> str:
    return ", ".join(list(names)[:16])


def _wishes(request: InferRequest, outputs: tuple[str, ...]) -> dict[str, bool]:
    """Which outputs go out as binary data; a wish of one output outweighs the request's."""
    default = request.parameters.get("binary_data_output", False) is True
    if not request.outputs:
        return dict.fromkeys(outputs, default)
    for wish in request.outputs:
        refuse_parameters(wish.parameters, f"output '{wish.name}'")
    return {wish.name: wish.parameters.get("binary_data", default) is True for wish in request.outputs}


def parse_index(body: bytes) -> bool:
    """Whether only models that are ready are asked for."""
    try:
        return msgspec.json.decode(body, type=IndexRequest).ready if body else False
    except (msgspec.MsgspecError, RecursionError, ValueError) as bad:
        raise BadRequest(f"not a request for an index: {bad}") from None


def encode_error(error: ApiError) -> bytes:
    """The JSON of an error."""
    return _ENCODER.encode({"error": error.message})
