"""Messages of gRPC as bytes: our reader against protobuf's own, both ways. It takes what protobuf takes, and reads the same from it."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_runtime.errors import BadRequest
from modelward_runtime.model import NUMPY_TYPES, TensorSpec, face_of
from modelward_runtime.privacy.rules import Rules
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.protobuf import CONTENTS, GrpcCall
from modelward_runtime.states import Decoded, Raw, clear, release
from modelward_runtime.wire import Request, read_request, read_usual
from tests.runtime_models import echo

texts = st.sampled_from(["", "x", "tiny", "FP32", "é" * 70, "\x00"]) | st.text(max_size=6)
int64s = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 300)
parameters = st.dictionaries(
    texts,
    st.sampled_from(
        [
            pb.InferParameter(bool_param=True),
            pb.InferParameter(int64_param=-5),
            pb.InferParameter(string_param="word"),
            pb.InferParameter(double_param=0.5),
            pb.InferParameter(),
        ]
    ),
    max_size=2,
)
NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "int64_contents": int64s,
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=4),
}


@st.composite
def contents(draw: st.DrawFn) -> Any:
    names = draw(st.lists(st.sampled_from(sorted(NUMBERS)), max_size=2))
    return pb.InferTensorContents(**{name: draw(st.lists(NUMBERS[name], max_size=4)) for name in names})


@st.composite
def requests(draw: st.DrawFn) -> Any:
    rare = draw(st.integers(0, 3)) == 0
    message = pb.ModelInferRequest(model_name=draw(texts), model_version=draw(texts), id=draw(texts))
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(name=draw(texts), datatype=draw(texts), shape=draw(st.lists(int64s, max_size=4)))
        if draw(st.booleans()):
            tensor.contents.CopyFrom(draw(contents()))
        for name, value in (draw(parameters) if rare else {}).items():
            tensor.parameters[name].CopyFrom(value)
    for _ in range(draw(st.integers(0, 2))):
        wish = message.outputs.add(name=draw(texts))
        for name, value in (draw(parameters) if rare else {}).items():
            wish.parameters[name].CopyFrom(value)
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=200), max_size=3)))
    for name, value in (draw(parameters) if rare else {}).items():
        message.parameters[name].CopyFrom(value)
    return message


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A message's bytes, some of which are changed, missing, doubled or put together from two messages."""
    data = bytearray(draw(requests()).SerializeToString())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "cut", "insert", "join", "drop"]))
        if kind == "change" and place < len(data):
            data[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[place:]
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=6))
        elif kind == "join":
            data += draw(requests()).SerializeToString()
        elif place < len(data):
            del data[place]
    return bytes(data)


def by_protobuf(data: bytes) -> Any:
    """What protobuf's parser says, as a plain value; None where it says that this is no message."""
    try:
        message = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        return None
    return plain(
        message.model_name,
        message.model_version,
        message.id,
        [
            (t.name, t.datatype, list(t.shape), t.contents if t.HasField("contents") else None, names(t.parameters))
            for t in message.inputs
        ],
        [(wish.name, names(wish.parameters)) for wish in message.outputs],
        message.raw_input_contents,
        names(message.parameters),
    )


def by_ours(request: Request) -> Any:
    return plain(
        request.model_name,
        request.model_version,
        request.id,
        [(t.name, t.datatype, t.shape, message_of(t.contents), t.parameters) for t in request.inputs],
        request.outputs,
        request.raw,
        request.parameters,
    )


def message_of(found: Any) -> Any:
    return pb.InferTensorContents.FromString(bytes(found)) if isinstance(found, (bytes, memoryview)) else found


def plain(name: str, version: str, identifier: str, inputs: Any, outputs: Any, raw: Any, sent: Any) -> Any:
    shown = [
        (*rest, None if found is None else found.SerializeToString(deterministic=True), given_with)
        for *rest, found, given_with in inputs
    ]
    return (
        name,
        version,
        identifier,
        shown,
        [tuple(wish) for wish in outputs],
        [bytes(part) for part in raw],
        dict(sent),
    )


def names(sent: Any) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param") for name, value in sent.items()
    }


@pytest.mark.parametrize("form", [bytes, memoryview])
@settings(max_examples=150)
@given(requests())
def test_what_clients_send_is_read_as_protobuf_reads_it(form: Any, message: Any) -> None:
    data = message.SerializeToString()
    assert by_protobuf(data) == by_ours(read_request(form(data)))


@settings(max_examples=400)
@given(spoiled() | st.binary(max_size=40))
@example(b"(\0")  # the number of `inputs`, of another kind
@example(b"\x0b\x2a\x01\xff\x0c")  # within a group
def test_what_is_broken_is_refused_where_protobuf_refuses_it_and_nowhere_else(data: bytes) -> None:
    expected = by_protobuf(data)
    if expected is None:
        with pytest.raises(BadRequest):
            read_request(data)
    else:
        assert expected == by_ours(read_request(data))


USUAL = [
    pb.ModelInferRequest(model_name="m", id="7", inputs=[{"name": "x", "datatype": "FP32", "shape": [2, 300]}],
                         raw_input_contents=[b"\0" * 2400]),
    pb.ModelInferRequest(model_name="m", inputs=[{"name": "x", "datatype": "FP64", "shape": [1],
                         "contents": {"fp64_contents": [1.5]}}], outputs=[{"name": "y"}]),
]  # fmt: skip


@pytest.mark.parametrize("message", USUAL)
def test_what_is_usual_takes_the_short_way(message: Any) -> None:
    data = message.SerializeToString()
    assert by_protobuf(data) == by_ours(read_usual(data))


def test_a_raw_tensor_is_where_it_came() -> None:
    data = USUAL[0].SerializeToString()
    view = read_usual(memoryview(data)).raw[0]
    assert np.shares_memory(np.frombuffer(view, np.uint8), np.frombuffer(data, np.uint8))


WIRE = sorted(set(NUMPY_TYPES))
EVERY = echo(*(TensorSpec(f"in_{name}", name, (-1, 2)) for name in WIRE))


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(st.integers(0, 3))
    found = {}
    for name in draw(st.lists(st.sampled_from(WIRE), min_size=1, unique=True)):
        if name == "BYTES":
            words = [draw(st.text(max_size=5)) for _ in range(rows * 2)]
            array = np.array(words, np.object_).reshape(rows, 2)
        else:
            width = NUMPY_TYPES[name].itemsize
            data = draw(st.binary(min_size=rows * 2 * width, max_size=rows * 2 * width))
            data = bytes(byte & 1 for byte in data) if name == "BOOL" else data
            array = np.frombuffer(data, NUMPY_TYPES[name]).reshape(rows, 2)
        found[f"out_in_{name}"] = array
    return found


@settings(max_examples=150)
@given(tensors(), st.booleans(), texts)
def test_an_answer_is_what_protobuf_would_have_written(outputs: dict[str, Any], raw: bool, identifier: str) -> None:
    request = pb.ModelInferRequest(id=identifier, raw_input_contents=[b""] if raw else [])
    call = GrpcCall(request.SerializeToString())
    face = face_of(EVERY)
    rules = Rules(face)
    wanted = tuple(outputs)
    released = release(clear(Decoded({}, wanted), rules), Raw(list(outputs.values())), rules, None)
    answer = call.encode(face, released)
    joined = b"".join(answer.parts)
    message = pb.ModelInferResponse.FromString(joined)
    assert (len(joined), face.name, face.version, identifier) == (
        answer.size, message.model_name, message.model_version, message.id
    )  # fmt: skip
    expected = [(name, name.removeprefix("out_in_"), list(array.shape)) for name, array in outputs.items()]
    assert expected == [(t.name, t.datatype, list(t.shape)) for t in message.outputs]
    goes_raw = raw or any(datatype not in CONTENTS for _, datatype, _ in expected)
    for place, (array, (_, datatype, _)) in enumerate(zip(outputs.values(), expected, strict=True)):
        if goes_raw and datatype == "BYTES":
            words = [str(word).encode() for word in array.ravel()]
            assert (
                b"".join(len(word).to_bytes(4, "little") + word for word in words) == message.raw_output_contents[place]
            )
        elif goes_raw:
            assert array.tobytes() == message.raw_output_contents[place]
        else:
            found = list(getattr(message.outputs[place].contents, CONTENTS[datatype]))
            if datatype == "BYTES":
                assert [str(word).encode() for word in array.ravel()] == found
            else:
                np.testing.assert_array_equal(array, np.array(found, array.dtype).reshape(array.shape))
