"""Inference requests: JSON bodies, binary ones, gRPC messages. What is accepted is read again by other parsers, and must be the same."""

import json
import time
from contextlib import suppress
from typing import Any

from google.protobuf.message import DecodeError

from e2e.fuzz.draw import Draw
from e2e.fuzz.oracle import FACES, by_the_book, is_sorry, is_sound, same
from e2e.fuzz.target import target
from modelward_runtime.access.bearer import NoToken, find_token
from modelward_runtime.access.identity import Refusal
from modelward_runtime.access.jose import take_apart
from modelward_runtime.codec import RestCall, parse_index
from modelward_runtime.errors import ApiError
from modelward_runtime.model import Face
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.protobuf import GrpcCall
from modelward_runtime.wire import Request, read_request

WORDS = [
    b'"inputs"', b'"outputs"', b'"name"', b'"datatype"', b'"shape"', b'"data"', b'"parameters"', b'"id"',
    b'"binary_data_size"', b'"binary_data"', b'"binary_data_output"', b'"classification"',
    b'"FP32"', b'"INT64"', b'"BYTES"', b'"BOOL"', b'"BF16"', b'"FP16"', b'"UINT8"', b'"x"', b'"s"',
    b"[[", b"]]", b"[]", b"{}", b"null", b"true", b"NaN", b"Infinity", b"1e39", b"-0.0", b"65520", b"3.4028235e+38",
    b"18446744073709551616", b'"\\ud800"', b'"\xc5\xbc"', b'"\xff"', b"\\u0000", b"[1.0,2.0]", b'["a","b"]',
]  # fmt: skip
_X = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1.5, 2], [3, -0.0]]}
_S = {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["a", "ż\u0000"]}


def _text(content: object) -> bytes:
    return json.dumps(content).encode()


_EVERY = [
    {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": [1, 2],
        "data": [True, False] if spec.datatype == "BOOL" else [1, 0],
    }
    for spec in FACES[1].inputs
    if spec.datatype not in {"BYTES", "BF16"}
]
_LONG_X = {**_X, "shape": [150, 2], "data": [number / 8 for number in range(-150, 150)]}
_LONG_S = {**_S, "shape": [120], "data": [f"row {number}" for number in range(120)]}
_LONG_INTS = {
    "name": "int64",
    "datatype": "INT64",
    "shape": [160, 2],
    "data": [number * 3**37 % 2**63 for number in range(320)],
}
JSON_SEEDS = [
    b"\0" + _text({"inputs": [_LONG_X, _LONG_S]}),
    b"\0" + _text({"inputs": [_S, _LONG_X], "parameters": {"data": "[1,2,3]"}, "id": '"data":[1,2]'}),
    b"\1" + _text({"inputs": [_LONG_INTS if one["datatype"] == "INT64" else one for one in _EVERY]}),
    b"\0" + _text({"inputs": [_X, _S]}),
    b"\0" + _text({"id": "7", "inputs": [_S, _X], "outputs": [{"name": "out_x", "parameters": {"binary_data": True}}]}),
    b"\0"
    + _text(
        {
            "inputs": [{**_X, "data": [1, 2, 3, 4e10]}, {**_S, "data": [["a", "b"]]}],
            "parameters": {"binary_data_output": True},
        }
    ),
    b"\0" + _text({"inputs": [{**_X, "shape": [0, 2], "data": []}, {**_S, "shape": [0], "data": []}]}),
    b"\1" + _text({"inputs": _EVERY}),
    b"\2" + _text({"inputs": [{"name": "x", "datatype": "INT64", "shape": [], "data": [-9223372036854775808]}]}),
    b"\3"
    + _text(
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 1, 3], "data": [[[1, 2, 3]], [[4, 5, 6e-320]]]}]}
    ),
]


def _decode(body: bytes, header: str | None, of: Face) -> None:
    try:
        call = RestCall("tiny", "", body, header)
        decoded = call.decode(of)
    except ApiError as error:
        is_sorry(error)
        return
    is_sound(decoded, of)
    expected = by_the_book(body, len(body) if header is None else int(header))
    for name, array in decoded.inputs.items():
        assert same(array, expected[name]), f"{name}: decoded {array!r}, sent {expected[name]!r}"


@target("json", seeds=JSON_SEEDS, words=WORDS, longest=8192, runs=2500)
def decode_json(data: bytes) -> None:
    """A JSON body is refused in words, or becomes the tensors that Python's own parser reads in it."""
    _decode(data[1:], None, FACES[Draw(data).number(len(FACES) - 1)])


def _binary(face: int, head: bytes, blob: bytes, lie: int = 0) -> bytes:
    return bytes([face, 128 + lie]) + head + b"\n" + blob


_SIZED = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
_ELEMENTS = b"\1\0\0\0a\2\0\0\0\xc5\xbc"


_SIZED_S = {"name": "s", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(_ELEMENTS)}}
_SCALAR = {"name": "x", "datatype": "INT64", "shape": [], "parameters": {"binary_data_size": 8}}
BINARY_SEEDS = [
    _binary(0, _text({"inputs": [_SIZED, _SIZED_S]}), b"\0" * 8 + _ELEMENTS),
    _binary(0, _text({"inputs": [_SIZED, _S]}), b"\0\0\xc0\x7f" * 2),
    _binary(0, _text({"inputs": [_X, _SIZED_S]}), _ELEMENTS),
    _binary(1, _text({"inputs": [{**one, "data": None} for one in _EVERY]}), b"\1" * 90, -3),
    _binary(2, _text({"inputs": [_SCALAR]}), b"\xff" * 8, 5),
]


@target("binary", seeds=BINARY_SEEDS, words=WORDS, runs=2000)
def decode_binary(data: bytes) -> None:
    """A JSON header with binary tensors behind it is refused in words, or becomes the tensors that it says; its length may lie."""
    draw = Draw(data)
    of, lie = FACES[draw.number(len(FACES) - 1)], draw.byte() - 128
    head, _, blob = draw.rest.partition(b"\n")
    _decode(head + blob, str(len(head) + lie) if lie != 127 else head[:12].decode("latin-1"), of)


def _message(**fields: object) -> bytes:
    message = pb.ModelInferRequest(model_name="tiny")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.inputs.add(name="s", datatype="BYTES", shape=[1])
    if fields.get("raw"):
        message.raw_input_contents.extend([b"\0" * 8, b"\1\0\0\0a"])
    else:
        message.inputs[0].contents.fp32_contents.extend([1.0, 2.0])
        message.inputs[1].contents.bytes_contents.extend([b"a"])
    if fields.get("more"):
        message.outputs.add(name="out_x").parameters["classification"].int64_param = 1
        message.parameters["sequence_id"].string_param = "7"
    return b"\0" + bytes(message.SerializeToString())


@target(
    "grpc",
    seeds=[_message(), _message(raw=True), _message(more=True), b"\1" + _message()[1:]],
    words=[
        b"\x0a\x01x",
        b"\x12\x04FP32",
        b"\x12\x05BYTES",
        b"\x3a",
        b"\x2a",
        b"\xff\xff\xff\xff\x0f",
        b"\x80" * 9 + b"\x01",
    ],
    runs=2500,
)
def decode_message(data: bytes) -> None:
    """A gRPC message is refused in words, and always where protobuf has none, or becomes tensors that fit the model."""
    of = FACES[Draw(data).number(len(FACES) - 1)]
    try:
        message = pb.ModelInferRequest.FromString(data[1:])
    except DecodeError:
        message = None
    try:
        call = GrpcCall(data[1:])
        assert message is not None, "protobuf takes this for no message"
        _check_same(read_request(data[1:]), message)
        decoded = call.decode(of)
    except ApiError as error:
        is_sorry(error)
        return
    is_sound(decoded, of)


def _check_same(ours: Request, message: Any) -> None:
    """What our own reader read, and protobuf's."""
    assert (message.model_name, message.model_version, message.id) == (ours.model_name, ours.model_version, ours.id)
    assert [bytes(one) for one in ours.raw] == list(message.raw_input_contents)
    assert [name for name, _ in ours.outputs] == [wish.name for wish in message.outputs]
    assert len(ours.inputs) == len(message.inputs)
    for one, other in zip(ours.inputs, message.inputs, strict=True):
        assert (one.name, one.datatype, one.shape) == (other.name, other.datatype, list(other.shape))
        assert (one.contents is not None) == other.HasField("contents")
        if one.contents is not None:
            found = one.contents
            if isinstance(found, bytes | memoryview):
                found = pb.InferTensorContents.FromString(bytes(found))
            assert found.SerializeToString(deterministic=True) == other.contents.SerializeToString(deterministic=True)


_LONG = 300_000
_LINEAR = 0.5  # seconds of a processor; a hundredth is usual
_TRIES = 3  # a neighbour on the machine, and whoever counts the edges, can make one ten times as slow


@target(
    "stretched",
    seeds=[
        bytes([0, 8, 4]) + JSON_SEEDS[0][1:],
        bytes([0, 60, 2]) + JSON_SEEDS[4][1:],
        bytes([1, 20, 1]) + _message()[1:],
        bytes([1, 30, 1]) + _message(raw=True)[1:],
        bytes([1, 0, 0]) + b"\xff",
        bytes([2, 30, 3]) + b"Bearer " + b"a.b.c",
    ],
    words=[b"\xff", b"[", b'"', b"\\", b"\x1a\x7f", b"\x2a", b"1e", b"0."],
    longest=400,
    runs=250,
)
def decode_stretched(data: bytes) -> None:
    """A piece of an input repeated to 300 kB takes no longer than its length explains, whatever it is."""
    draw = Draw(data)
    kind, at, size = draw.number(2), draw.byte(), 1 + draw.number(15)
    text = draw.rest
    piece = text[at : at + size]
    if not piece:
        return
    text = text[:at] + piece * (_LONG // len(piece)) + text[at:]
    for _ in range(_TRIES):
        taken = _seconds_of(kind, text, at)
        if taken < _LINEAR:
            return
    raise AssertionError(f"{taken:.1f} s of a processor")


def _seconds_of(kind: int, text: bytes, at: int) -> float:
    began = time.process_time()
    with suppress(ApiError, Refusal, NoToken):
        if kind == 0:
            RestCall("tiny", "", text, None).decode(FACES[0])
        elif kind == 1:
            GrpcCall(_mended(text, at)).decode(FACES[0])
        else:
            take_apart(find_token(text))
    return time.process_time() - began


def _mended(message: bytes, at: int) -> bytes:
    """With the stretched part as a field of its own, or within an input: lengths that lie would hide it."""
    inner = message[at : at + _LONG]
    shape = b"\x1a" + encode_length(len(inner)) + inner
    return message[:at] + b"\x2a" + encode_length(len(shape)) + shape


def encode_length(size: int) -> bytes:
    """As protobuf writes it."""
    made = bytearray()
    while size > 0x7F:
        made.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*made, size])


@target("index", seeds=[b"", b"{}", b'{"ready":true}'], words=[b'"ready"', b"true", b"[["], runs=300)
def decode_index(data: bytes) -> None:
    """A request for the repository's index is refused in words, or asks for all or for those that are ready."""
    try:
        assert parse_index(data) in {True, False}
    except ApiError as error:
        is_sorry(error)
