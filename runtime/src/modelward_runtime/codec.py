"""The REST form of a request: a JSON body, or a JSON header followed by binary tensors, to `Decoded`; `Released` back.

Called by `web.py` through `exchange.py`. Sources: the Open Inference Protocol v2 (REST) and Triton's binary tensor data
extension (`Inference-Header-Content-Length`, `binary_data_size`, `binary_data`, `binary_data_output`). It raises `ApiError`
and nothing else, whatever bytes come, and must not do I/O.

Responses are flat, row-major. Parameters that would change the answer and are not served (`classification`, shared memory,
sequences) are refused; unknown ones are hints and ignored.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from modelward_runtime import jsonnumbers, largejson, parts, tensors
from modelward_runtime.errors import ApiError, BadRequest, OutputWithheld
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.states import Decoded, Released

Body = bytes | bytearray | memoryview
Parameters = dict[str, bool | int | float | str]

_ABSENT = msgspec.Raw()
REFUSED = ("classification", "shared_memory_region", "sequence_id", "sequence_start", "sequence_end")


class InputTensor(msgspec.Struct, gc=False):
    """One element of a request's `inputs`; `data` or `parameters.binary_data_size`."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = _ABSENT  # or the Span that was lifted out of its place
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


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response body; `header_length` is set when binary tensors follow that much JSON, `has_text` where there is a BYTES tensor."""

    body: bytes
    header_length: int | None
    has_text: bool = False


_REQUEST = msgspec.json.Decoder(InferRequest)
_ENCODER = msgspec.json.Encoder()


class RestCall:
    """One inference over REST: what `Exchange.infer` needs to decode its body and encode its answer."""

    __slots__ = ("_body", "_header_length", "_id", "_outputs_binary", "name", "size", "version")

    def __init__(self, name: str, version: str, body: Body, header_length: str | None) -> None:
        self.name = name
        self.version = version
        self.size = len(body)
        self._body = body
        self._header_length = header_length
        self._id = ""
        self._outputs_binary: dict[str, bool] = {}

    @property
    def parses(self) -> int:
        """Bytes of the JSON, as far as the header tells."""
        length = self._header_length
        return int(length) if length and len(length) <= 12 and length.isascii() and length.isdigit() else self.size

    @property
    def prints(self) -> bool:
        """Some output goes out as JSON."""
        return not all(self._outputs_binary.values())

    def decode(self, face: Face) -> Decoded:
        """The tensors of the body, checked against the model's."""
        body, split = self._body, _split_at(self._body, self._header_length)
        if self._header_length is None and split >= jsonnumbers.LONG:
            short, lifted = jsonnumbers.lift(body)
            if lifted:
                with suppress(ApiError):  # the ordinary way says it of the body as it came
                    return self._decode(face, _put_back(_parse(short, len(short)), lifted), memoryview(b""))
        return self._decode(face, _parse(body, split), memoryview(body)[split:])

    def _decode(self, face: Face, request: InferRequest, blob: memoryview) -> Decoded:
        refuse_parameters(request.parameters, "request")
        self._id = request.id
        inputs = _decode_inputs(face, request.inputs, blob, self._header_length is not None)
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
        has_text = any(output.datatype == "BYTES" for output in outputs)
        if not blobs:
            return Answer(head, None, has_text)
        return Answer(b"".join([head, *blobs]), len(head), has_text)

    def _encode_output(self, name: str, datatype: str, array: Array, blobs: list[bytes]) -> OutputTensor:
        if not self._outputs_binary[name]:
            return OutputTensor(name, datatype, array.shape, tensors.to_json(name, datatype, array))
        blobs.append(tensors.to_bytes(datatype, array))
        return OutputTensor(name, datatype, array.shape, parameters={"binary_data_size": len(blobs[-1])})


def _put_back(request: InferRequest, lifted: dict[bytes, jsonnumbers.Span]) -> InferRequest:
    """What was lifted out of a request's JSON, in its places. Raises `BadRequest` unless all of it was some tensor's data."""
    for tensor in request.inputs:
        if (span := lifted.pop(bytes(tensor.data), None)) is not None:
            tensor.data = span  # type: ignore[assignment]  # see there
    if lifted:
        raise BadRequest("an array stands where none may")
    return request


def _split_at(body: Body, header_length: str | None) -> int:
    """Where the JSON ends and binary tensors begin."""
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) <= 12):
        raise BadRequest("Inference-Header-Content-Length must be a number of bytes")
    split = int(header_length)
    if split > len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {split}, but the body has {len(body)} bytes")
    return split


def _parse(body: Body, split: int) -> InferRequest:
    text = body if split == len(body) else memoryview(body)[:split]
    try:
        request = _REQUEST.decode(text) if split <= parts.LARGE else _parse_large(text)
    except RecursionError:
        raise BadRequest("the JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as bad:
        raise BadRequest(f"not an inference request: {bad}") from None
    if len(request.inputs) + len(request.outputs) > parts.MOST_TENSORS:
        parts.check_tensors("inputs", len(request.inputs))
        parts.check_tensors("outputs", len(request.outputs))
    return request


def _parse_large(text: Body) -> InferRequest:
    """The same of a large one, whose parts are looked at first."""
    found = largejson.read(text)
    shape_of, parameters_of = largejson.shape_of, largejson.parameters_of
    try:
        return InferRequest(
            [
                InputTensor(one.name, shape_of(one.shape), one.datatype, one.data, parameters_of(one.parameters))
                for one in found.inputs
            ],
            found.id,
            [OutputWish(one.name, parameters_of(one.parameters)) for one in found.outputs],
            parameters_of(found.parameters),
        )
    except msgspec.MsgspecError:
        if any(len(one.shape) > largejson.LONG for one in found.inputs):
            raise
        # says where in the request it is wrong. Not of the text: what stands there twice is found, and so looked at, only once
        return _REQUEST.decode(_ENCODER.encode(found))


def refuse_parameters(parameters: Parameters, where: str) -> None:
    """Refuse what would change the answer and is not served; `where` is the request, an input or an output."""
    if not parameters:
        return
    for name in REFUSED:
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
    if len(face.inputs) == 1:
        return arrays
    return {spec.name: arrays[spec.name] for spec in face.inputs if spec.name in arrays}


def _from_json(spec: TensorSpec, tensor: InputTensor) -> Array:
    if not tensor.data:
        raise BadRequest(f"input '{spec.name}': neither data nor a binary_data_size")
    data: object = tensor.data
    if isinstance(data, jsonnumbers.Span):
        return tensors.from_span(spec, tensor.shape, data)
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


def match_inputs(face: Face, sent: Sequence[str]) -> dict[str, TensorSpec]:
    """The model's inputs by name, once it is sure that these were sent, each once, beside what is optional or ignored."""
    by_name = {spec.name: spec for spec in face.inputs}
    if len(sent) == 1 and len(by_name) == 1 and sent[0] in by_name:  # of most models
        return by_name
    names = [name for name in sent if name not in face.ignored] if face.ignored else sent
    if len(names) == len(by_name) and all(name in by_name for name in names) and len(set(names)) == len(names):
        return by_name
    for position, name in enumerate(sent):
        if name not in by_name and name not in face.ignored:
            raise BadRequest(f"inputs[{position}] is not one of the model's: {_listed(by_name)}")
        if name in by_name and name in sent[:position]:
            raise BadRequest(f"input '{name}' was sent twice")
    for spec in face.inputs:
        if spec.name not in names and not spec.optional:
            raise BadRequest(f"input '{spec.name}' is missing; the model takes: {_listed(by_name)}")
    return by_name


def choose_outputs(face: Face, wanted: Sequence[str]) -> tuple[str, ...]:
    """The outputs to compute: those asked for, or all that are returned."""
    names = tuple(spec.name for spec in face.outputs)
    if not wanted:
        return names
    for position, name in enumerate(wanted):
        if name in face.withheld:
            raise OutputWithheld(name)
        if name not in names:
            raise BadRequest(f"outputs[{position}] is not one of the model's: {_listed(names)}")
        if name in wanted[:position]:
            raise BadRequest(f"output '{name}' was asked for twice")
    return tuple(wanted)


def _listed(names: Sequence[str] | dict[str, TensorSpec]) -> str:
    return ", ".join(list(names)[:16])


def _wishes(request: InferRequest, outputs: tuple[str, ...]) -> dict[str, bool]:
    """Which outputs go out as binary data; a wish of one output outweighs the request's."""
    default = _switch(request.parameters, "binary_data_output", "request", default=False)
    if not request.outputs:
        return dict.fromkeys(outputs, default)
    for wish in request.outputs:
        refuse_parameters(wish.parameters, f"output '{wish.name}'")
    return {
        wish.name: _switch(wish.parameters, "binary_data", f"output '{wish.name}'", default=default)
        for wish in request.outputs
    }


def _switch(parameters: Parameters, name: str, where: str, *, default: bool) -> bool:
    value = parameters.get(name, default) if parameters else default
    if not isinstance(value, bool):
        raise BadRequest(f"{where}: parameter '{name}' must be true or false")
    return value


def parse_index(body: Body) -> bool:
    """Whether only models that are ready are asked for."""
    try:
        return msgspec.json.decode(body, type=IndexRequest).ready if body else False
    except (msgspec.MsgspecError, RecursionError, ValueError) as bad:
        raise BadRequest(f"not a request for an index: {bad}") from None


def encode_error(error: ApiError) -> bytes:
    """The JSON of an error."""
    return _ENCODER.encode({"error": error.message})
