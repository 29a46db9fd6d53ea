"""The messages of gRPC requests: sound ones, raw and typed, and wrong ones with the status they must get. Called by `grpc_calls.py`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from e2e.soak.mistakes import MISTAKES, Request, sound_row
from e2e.soak.model import NAME, Sound

LIMIT = 1 << 20
Message = Any  # a generated message: the generator gives no types


def raw(sound: Sound) -> Message:
    """Tensors in raw_input_contents."""
    message = pb.ModelInferRequest(model_name=NAME, raw_input_contents=[sound.x.tobytes(), sound.k.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=sound.x.shape)
    message.inputs.add(name="k", datatype="INT64", shape=sound.k.shape)
    return message


def typed(sound: Sound) -> Message:
    """Tensors in typed contents."""
    message = pb.ModelInferRequest(model_name=NAME)
    message.inputs.add(name="x", datatype="FP32", shape=sound.x.shape).contents.fp32_contents.extend(
        sound.x.ravel().tolist()
    )
    message.inputs.add(name="k", datatype="INT64", shape=sound.k.shape).contents.int64_contents.extend(sound.k.tolist())
    return message


def is_right(answer: Message, sound: Sound) -> bool:
    """Exactly what the bare model answers to these rows."""
    if len(answer.outputs) != 2:
        return False
    for position, (name, expected) in enumerate((("y", sound.y), ("z", sound.z))):
        output = answer.outputs[position]
        if output.name != name or list(output.shape) != list(expected.shape):
            return False
        if answer.raw_output_contents:
            got = np.frombuffer(answer.raw_output_contents[position], np.float32)
        else:
            got = np.array(output.contents.fp32_contents, np.float32)
        if got.tobytes() != expected.tobytes():
            return False
    return True


@dataclass(frozen=True)
class Bad:
    """A message that is wrong, the status it must get, and how the text begins."""

    name: str
    message: Message
    code: str
    says: str


def of(request: Request) -> Message:
    """Typed contents, in the fields of the datatypes that the model has."""
    message = pb.ModelInferRequest(model_name=NAME)
    for tensor in request.inputs:
        contents = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape).contents
        (contents.int64_contents if tensor.name == "k" else contents.fp32_contents).extend(tensor.data)
    for name in request.outputs:
        message.outputs.add(name=name)
    return message


def _mistaken() -> list[Bad]:
    made = []
    for mistake in MISTAKES:
        request = sound_row(7777777)
        mistake.make(request)
        made.append(Bad(mistake.name, of(request), mistake.code, mistake.says))
    return made


def _raw(x: bytes, *more: bytes) -> Message:
    message = pb.ModelInferRequest(model_name=NAME, raw_input_contents=[x, *more])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.inputs.add(name="k", datatype="INT64", shape=[1])
    return message


def _other(**names: str) -> Message:
    message = of(sound_row(7777777))
    for name, value in names.items():
        setattr(message, name, value)
    return message


def _both() -> Message:
    message = _raw(b"\0" * 16, b"\0" * 8)
    message.inputs[0].contents.fp32_contents.extend([1.0] * 4)
    return message


def _wrong_field() -> Message:
    message = of(sound_row(7777777))
    message.inputs[0].contents.Clear()
    message.inputs[0].contents.fp64_contents.extend([1.0] * 4)
    return message


_16, _8 = b"\0" * 16, b"\0" * 8
BAD = [
    *_mistaken(),
    Bad("raw is short", _raw(b"\0" * 8, _8), "INVALID_ARGUMENT", "input 'x': expected 16 bytes for FP32 [1, 4], got 8"),
    Bad("raw is missing", _raw(_16), "INVALID_ARGUMENT", "raw_input_contents holds 1 tensors, but 2 inputs are named"),
    Bad("raw is one too many", _raw(_16, _8, _8), "INVALID_ARGUMENT", "raw_input_contents holds 3 tensors"),
    Bad("both forms", _both(), "INVALID_ARGUMENT", "input 'x': both contents and raw_input_contents"),
    Bad(
        "wrong field",
        _wrong_field(),
        "INVALID_ARGUMENT",
        "input 'x': FP32 belongs into fp32_contents, got fp64_contents",
    ),
    Bad("another model", _other(model_name="secret"), "NOT_FOUND", f"that model is not served here, '{NAME}' is"),
    Bad("another version", _other(model_version="9"), "NOT_FOUND", f"model '{NAME}' has no such version here"),
]
OVERSIZE = _raw(b"\0" * (LIMIT + 1), _8)
