"""REST and gRPC mean the same: one request in four encodings gets the same tensors, or the same refusal word for word."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2e.fuzz.draw import Draw
from e2e.fuzz.oracle import DATATYPES, face, is_sorry, is_sound, same
from e2e.fuzz.target import target
from modelward_runtime import tensors
from modelward_runtime.codec import RestCall
from modelward_runtime.errors import ApiError
from modelward_runtime.model import NUMPY_TYPES, Face, TensorSpec
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.protobuf import CONTENTS, GrpcCall
from modelward_runtime.states import Decoded

_UNTYPED = {"FP16", "BF16"}


@dataclass
class Tensor:
    """A tensor before it is encoded; `data` is flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


@dataclass
class Request:
    """A request before it is encoded."""

    inputs: list[Tensor]
    outputs: list[str]
    parameters: dict[str, Any]


def _draw(draw: Draw) -> tuple[Face, Request]:
    """A model of up to three inputs, and a request that mostly fits it."""
    specs = [
        TensorSpec(name, draw.pick(DATATYPES), tuple(draw.pick([-1, -1, 1, 2, 3]) for _ in range(draw.number(3))))
        for name in ("a", "b", "c")[: 1 + draw.number(2)]
    ]
    inputs = [_tensor(draw, spec) for spec in specs if not draw.chance(16)]
    if inputs and draw.chance(16):
        inputs.append(inputs[draw.number(len(inputs) - 1)])
    if draw.chance(8):
        inputs.reverse()
    outputs = [draw.pick(["out_a", "out_b", "out_c", "other"]) for _ in range(draw.number(2))] if draw.chance(4) else []
    parameters = {draw.pick(["classification", "sequence_id", "priority"]): 1} if draw.chance(16) else {}
    return face(*specs), Request(inputs, outputs, parameters)


def _tensor(draw: Draw, spec: TensorSpec) -> Tensor:
    shape = [want if want >= 0 else draw.number(3) for want in spec.shape]
    datatype, name = spec.datatype, spec.name
    count = 1
    for axis in shape:
        count *= axis
    data = [_item(draw, datatype) for _ in range(count)]
    match draw.number(31):
        case 1:
            shape = [*shape, draw.integer()]
        case 2 if shape:
            shape[draw.number(len(shape) - 1)] = draw.integer()
        case 3:
            shape = shape[1:]
        case 4:
            data = data[1:]
        case 5:
            data = [*data, _item(draw, datatype)]
        case 6:
            datatype = draw.pick(["FP8", "", "fp32", *DATATYPES])
        case 7:
            name = draw.pick(["other", "a", ""])
    return Tensor(name, datatype, shape, data)


def _item(draw: Draw, datatype: str) -> Any:
    kind = NUMPY_TYPES[datatype].kind
    if kind == "O":
        return draw.pick(["", "a", "ż", "\u0000", "日本"])
    if kind == "b":
        return draw.number(1) == 1
    if kind in "iu":
        bits = NUMPY_TYPES[datatype].itemsize * 8
        value = draw.integer()
        return value % 2**bits if kind == "u" else (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    return draw.integer() % 1024 / 8


def _rest(of: Face, request: Request, *, binary: bool) -> Decoded | ApiError:
    inputs: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for one in request.inputs:
        sent: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": one.shape}
        if binary:
            blobs.append(_bytes(of, one))
            sent["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            sent["data"] = one.data
        inputs.append(sent)
    outputs = [{"name": name} for name in request.outputs]
    head = json.dumps({"inputs": inputs, "outputs": outputs, "parameters": request.parameters}).encode()
    header = str(len(head)) if binary else None
    return _outcome(RestCall("tiny", "", head + b"".join(blobs), header), of)


def _bytes(of: Face, one: Tensor) -> bytes:
    """The data in the model's datatype: what a client that is wrong about the datatype would still send."""
    datatype = next((spec.datatype for spec in of.inputs if spec.name == one.name), "FP32")
    return tensors.to_bytes(datatype, _array(datatype, one.data))


def _array(datatype: str, data: list[Any]) -> Any:
    made = NUMPY_TYPES[datatype]
    if made.kind == "O":
        array = np.empty(len(data), object)
        array[:] = [str(item) for item in data]
        return array
    numbers = [item if not isinstance(item, str) else 0 for item in data]
    if made.kind in "iu":
        return np.array([int(item) % 2 ** (8 * made.itemsize) for item in numbers], f"u{made.itemsize}").view(made)
    return np.array([float(item) for item in numbers]).astype(made)


def _grpc(of: Face, request: Request, *, raw: bool) -> Decoded | ApiError:
    message = pb.ModelInferRequest(model_name="tiny")
    for one in request.inputs:
        made = message.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        if raw:
            message.raw_input_contents.append(_bytes(of, one))
            continue
        datatype = next((spec.datatype for spec in of.inputs if spec.name == one.name), "FP32")
        items = _array(datatype, one.data).tolist()
        getattr(made.contents, CONTENTS[datatype]).extend(
            [item.encode() for item in items] if datatype == "BYTES" else items
        )
    for name in request.outputs:
        message.outputs.add(name=name)
    for name, value in request.parameters.items():
        message.parameters[name].int64_param = value
    return _outcome(GrpcCall(message.SerializeToString()), of)


def _outcome(call: RestCall | GrpcCall, of: Face) -> Decoded | ApiError:
    try:
        decoded = call.decode(of)
    except ApiError as error:
        is_sorry(error)
        return error
    is_sound(decoded, of)
    return decoded


@target(
    "agreement",
    seeds=[b"", b"\0" * 64, bytes(range(256)), b"\2\5\3\0\1\1\7\2\2\1\0\3\1\1\2\2" * 8],
    longest=512,
    runs=1500,
)
def agree(data: bytes) -> None:
    """The same request as JSON, as binary tensors, as a typed and as a raw message: the same tensors, or the same words."""
    of, request = _draw(Draw(data))
    if any(abs(axis) >= 2**63 for one in request.inputs for axis in one.shape):
        return
    used = {spec.datatype for spec in of.inputs}
    outcomes: dict[str, Decoded | ApiError] = {
        "binary": _rest(of, request, binary=True),
        "raw": _grpc(of, request, raw=True),
    }
    if not used & _UNTYPED and all(
        one.data or not math.prod(one.shape) for one in request.inputs
    ):  # no data at all: no field at all
        outcomes["JSON"] = _rest(of, request, binary=False)
        outcomes["typed"] = _grpc(of, request, raw=False)
    for one, other in (("binary", "raw"), ("JSON", "typed")):
        if one in outcomes:
            _check_same(outcomes[one], outcomes[other], f"{one} and {other} of {request}")
    if all(isinstance(outcome, Decoded) for outcome in outcomes.values()) and "JSON" in outcomes:
        _check_same(outcomes["JSON"], outcomes["raw"], f"JSON and raw of {request}")


def _check_same(one: Decoded | ApiError, other: Decoded | ApiError, what: str) -> None:
    if isinstance(one, ApiError) or isinstance(other, ApiError):
        told = [outcome.message if isinstance(outcome, ApiError) else "taken" for outcome in (one, other)]
        assert told[0] == told[1], f"{told}: {what}"
        assert type(one) is type(other), f"{what}: {one!r}, {other!r}"
        return
    assert one.outputs == other.outputs, what
    assert list(one.inputs) == list(other.inputs), what
    assert all(same(one.inputs[name], other.inputs[name]) for name in one.inputs), what
