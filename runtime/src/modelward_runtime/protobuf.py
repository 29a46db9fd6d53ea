"""The gRPC form of a request: a `ModelInferRequest` to `Decoded`, `Released` to a `ModelInferResponse`.

Called by `grpc_server.py` through `exchange.py`. Tensors come raw or as typed contents, and go out the way they came; FP16
and BF16 have no typed form. Source: the Open Inference Protocol v2 (gRPC). Raises `ApiError` only.
"""

import math
from typing import Any

from modelward_runtime import tensors
from modelward_runtime.codec import choose_outputs, match_inputs, refuse_parameters
from modelward_runtime.errors import BadRequest
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.states import Decoded, Released

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


class GrpcCall:
    """One inference over gRPC: what `Exchange.infer` needs to decode its message and encode its answer."""

    __slots__ = ("_raw", "_request", "name", "size", "version")

    def __init__(self, request: Any, size: int) -> None:  # noqa: ANN401 - generated messages have no types
        self.name: str = request.model_name
        self.version: str = request.model_version
        self.size = size
        self._request = request
        self._raw = len(request.raw_input_contents) > 0

    def decode(self, face: Face) -> Decoded:
        """The tensors of the message, checked against the model's."""
        request = self._request
        _refuse(request.parameters, "request")
        by_name = match_inputs(face, [tensor.name for tensor in request.inputs])
        if self._raw and len(request.raw_input_contents) != len(request.inputs):
            raise BadRequest(
                f"raw_input_contents holds {len(request.raw_input_contents)} tensors, "
                f"but {len(request.inputs)} inputs are named"
            )
        arrays: dict[str, Array] = {}
        for position, tensor in enumerate(request.inputs):
            spec = by_name.get(tensor.name)
            if spec is None:
                continue
            _refuse(tensor.parameters, f"input '{spec.name}'")
            shape = list(tensor.shape)
            tensors.check_fits(spec, tensor.datatype, shape)
            arrays[spec.name] = self._decode_tensor(spec, shape, tensor, position)
        for wish in request.outputs:
            _refuse(wish.parameters, f"output '{wish.name[:64]}'")
        outputs = choose_outputs(face, [wish.name for wish in request.outputs])
        return Decoded({spec.name: arrays[spec.name] for spec in face.inputs}, outputs)

    def _decode_tensor(self, spec: TensorSpec, shape: list[int], tensor: Any, position: int) -> Array:  # noqa: ANN401
        if not self._raw:
            return _from_contents(spec, shape, tensor.contents)
        if tensor.HasField("contents"):
            raise BadRequest(f"input '{spec.name}': both contents and raw_input_contents")
        return tensors.from_bytes(spec, shape, self._request.raw_input_contents[position])

    def encode(self, face: Face, released: Released) -> Any:  # noqa: ANN401
        """The answer: raw where the request was raw, or where a datatype has no other form."""
        response = pb.ModelInferResponse(model_name=face.name, model_version=face.version, id=self._request.id)
        datatypes = {spec.name: spec.datatype for spec in face.outputs}
        raw = self._raw or any(datatypes[name] not in CONTENTS for name in released.outputs)
        for name, array in released.outputs.items():
            datatype = datatypes[name]
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if raw:
                response.raw_output_contents.append(tensors.to_bytes(datatype, array))
            else:
                getattr(tensor.contents, CONTENTS[datatype]).extend(_to_contents(datatype, array))
        return response


def _from_contents(spec: TensorSpec, shape: list[int], contents: Any) -> Array:  # noqa: ANN401
    field = CONTENTS.get(spec.datatype)
    if field is None:
        raise BadRequest(f"input '{spec.name}': {spec.datatype} must be sent in raw_input_contents")
    for descriptor, values in contents.ListFields():
        if descriptor.name != field:
            raise BadRequest(f"input '{spec.name}': {spec.datatype} belongs into {field}, got {descriptor.name}")
        if spec.datatype != "BYTES":
            return tensors.from_numbers(spec, shape, list(values), finite=False)
        return tensors.from_elements(spec, shape, [tensors.to_text(spec.name, element) for element in values])
    if math.prod(shape):
        raise BadRequest(f"input '{spec.name}': neither contents nor raw_input_contents")
    return tensors.from_numbers(spec, shape, [])


def _to_contents(datatype: str, array: Array) -> list[Any]:
    items: list[Any] = array.ravel().tolist()
    return [str(item).encode() for item in items] if datatype == "BYTES" else items


def _refuse(parameters: Any, where: str) -> None:  # noqa: ANN401
    if parameters:
        plain = {
            name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
            for name, value in parameters.items()
        }
        refuse_parameters(plain, where)
