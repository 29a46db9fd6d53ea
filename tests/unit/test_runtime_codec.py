"""REST bodies: what a request may look like, what a wrong one is told, and how the answer is framed."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from modelward_runtime.codec import Answer, RestCall
from modelward_runtime.errors import BadRequest
from modelward_runtime.model import Model, TensorSpec, face_of
from modelward_runtime.privacy.rules import ungoverned
from modelward_runtime.states import Cleared, Decoded, Raw, clear, release
from tests.runtime_models import doubler, echo

X: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
TWO = echo(TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1,)))


def decode(body: object, header_length: str | None = None, model: Model | None = None) -> tuple[RestCall, Decoded]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    call = RestCall("tiny", "", data, header_length)
    return call, call.decode(face_of(model or doubler((-1, 2))))


def roundtrip(body: object, header_length: str | None = None, model: Model | None = None) -> Answer:
    model = model or doubler((-1, 2))
    call, decoded = decode(body, header_length, model)
    rules = ungoverned(model)
    cleared: Cleared = clear(decoded, rules)
    return call.encode(rules.face, release(cleared, Raw(model.run(cleared.inputs, cleared.outputs)), rules, None))


def test_a_plain_request_is_answered_with_flat_json() -> None:
    answer = roundtrip({"id": "42", "inputs": [X]})
    expected = {
        "model_name": "tiny",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 4.0]}],
        "id": "42",
    }
    assert expected == json.loads(answer.body)
    assert answer.header_length is None


def test_no_id_goes_out_where_none_came_in() -> None:
    assert "id" not in json.loads(roundtrip({"inputs": [X]}).body)


def test_inputs_reach_the_model_in_its_own_order() -> None:
    b = {"name": "b", "shape": [1], "datatype": "INT64", "data": [7]}
    _, decoded = decode({"inputs": [b, X | {"name": "a"}]}, model=TWO)
    assert ["a", "b"] == list(decoded.inputs)
    assert ("out_a", "out_b") == decoded.outputs


OPTIONAL = echo(TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1,), optional=True))


def test_an_optional_input_may_be_left_out_and_nothing_else() -> None:
    a, b = X | {"name": "a"}, {"name": "b", "shape": [1], "datatype": "INT64", "data": [7]}
    assert ["a"] == list(decode({"inputs": [a]}, model=OPTIONAL)[1].inputs)
    assert ["a", "b"] == list(decode({"inputs": [b, a]}, model=OPTIONAL)[1].inputs)
    for sent, told in [
        ([b], "input 'a' is missing; the model takes: a, b"),
        ([a, b, b], "input 'b' was sent twice"),
        ([a, b | {"name": "c"}], "inputs[1] is not one of the model's: a, b"),
    ]:
        with pytest.raises(BadRequest) as caught:
            decode({"inputs": sent}, model=OPTIONAL)
        assert told == caught.value.message
    none = echo(TensorSpec("b", "INT64", (-1,), optional=True))
    assert {} == decode({"inputs": []}, model=none)[1].inputs


def test_binary_tensors_in_and_out_next_to_json_ones() -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
                {"name": "b", "shape": [2], "datatype": "INT64", "data": [1, 2]},
            ],
            "outputs": [{"name": "out_b"}, {"name": "out_a", "parameters": {"binary_data": True}}],
        }
    ).encode()
    answer = roundtrip(head + np.array([1.5, 2.5], np.float32).tobytes(), str(len(head)), TWO)
    assert answer.header_length is not None
    outputs = json.loads(answer.body[: answer.header_length])["outputs"]
    assert [1, 2] == outputs[0]["data"]
    assert {"binary_data_size": 8} == outputs[1]["parameters"]
    np.testing.assert_array_equal([1.5, 2.5], np.frombuffer(answer.body[answer.header_length :], np.float32))


def test_one_output_can_overrule_the_requests_wish_for_binary() -> None:
    wishes = {
        "outputs": [{"name": "out_a", "parameters": {"binary_data": False}}, {"name": "out_b"}],
        "parameters": {"binary_data_output": True},
    }
    b = {"name": "b", "shape": [1], "datatype": "INT64", "data": [7]}
    answer = roundtrip({"inputs": [X | {"name": "a"}, b], **wishes}, model=TWO)
    head = json.loads(answer.body[: answer.header_length])
    assert [1.0, 2.0] == head["outputs"][0]["data"]
    assert answer.body.endswith((7).to_bytes(8, "little"))


def test_unknown_parameters_are_hints() -> None:
    decode({"inputs": [X | {"parameters": {"content_type": "np"}}], "parameters": {"priority": 3, "timeout": 5}})


BINARY = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}


def sized(size: object) -> dict[str, Any]:
    return BINARY | {"parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("reason", "body", "message"),
    [
        ("empty", b"", "not an inference request: Input data was truncated"),
        ("broken", b'{"inputs": [', "not an inference request: Input data was truncated"),
        ("not JSON", b"\xff\xfe", "not an inference request: JSON is malformed"),
        ("trailing", b'{"inputs": []} x', "not an inference request: JSON is malformed"),
        ("not an object", b"[]", "Expected `object`, got `array`"),
        ("no inputs", {}, "missing required field `inputs`"),
        ("inputs of a wrong type", {"inputs": {}}, "Expected `array`, got `object` - at `$.inputs`"),
        ("NaN", b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,1]}]}', "malformed"),
        ("nested deeply", b'{"inputs":' + b"[" * 200_000, "Expected `object`, got `array`"),
        ("nested deeply, whole", b'{"z":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        ("nested deeply in data", b'{"inputs":[{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "too deeply"),
        ("a float in shape", {"inputs": [X | {"shape": [1.5, 2]}]}, "Expected `int`, got `float`"),
        ("parameters of lists", {"inputs": [X], "parameters": {"a": []}}, "$.parameters"),
        ("unknown input", {"inputs": [X | {"name": "z"}]}, "inputs[0] is not one of the model's: x"),
        ("input twice", {"inputs": [X, X]}, "input 'x' was sent twice"),
        ("missing input", {"inputs": []}, "input 'x' is missing; the model takes: x"),
        (
            "no datatype of the protocol, which may be anything",
            {"inputs": [X | {"datatype": "ada@example.com"}]},
            "input 'x': expected datatype FP32, got one that the protocol does not know",
        ),
        ("wrong datatype", {"inputs": [X | {"datatype": "FP64"}]}, "input 'x': expected datatype FP32, got FP64"),
        ("wrong shape", {"inputs": [X | {"shape": [1, 3]}]}, "input 'x': expected shape [-1, 2], got [1, 3]"),
        ("no data", {"inputs": [{k: X[k] for k in ("name", "shape", "datatype")}]}, "neither data nor"),
        ("unknown output", {"inputs": [X], "outputs": [{"name": "q"}]}, "outputs[0] is not one of the model's: y"),
        ("output twice", {"inputs": [X], "outputs": [{"name": "y"}] * 2}, "output 'y' was asked for twice"),
        ("binary without its header", {"inputs": [BINARY]}, "needs the header Inference-Header-Content-Length"),
        (
            "classification",
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
            "output 'y': parameter 'classification' is not served here",
        ),
        (
            "shared memory",
            {"inputs": [X | {"parameters": {"shared_memory_region": "r"}}]},
            "input 'x': parameter 'shared_memory_region' is not served here",
        ),
        ("sequences", {"inputs": [X], "parameters": {"sequence_id": 7}}, "request: parameter 'sequence_id'"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(reason: str, body: object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(body)
    assert message in caught.value.message, reason


@pytest.mark.parametrize(
    ("reason", "tensor", "blob", "lie", "message"),
    [
        ("longer than the body", BINARY, b"", 10_000, ", but the body has "),
        ("cuts the JSON", BINARY, b"\0" * 8, -3, "not an inference request"),
        ("reaches into the tensor", BINARY, b"\0" * 8, 3, "not an inference request"),
        ("size beyond the body", sized(9), b"\0" * 8, 0, "binary_data_size is 9, but 8 bytes are left"),
        ("size unlike the shape", sized(4), b"\0" * 4, 0, "expected 8 bytes for FP32 [1, 2], got 4"),
        ("negative size", sized(-1), b"", 0, "binary_data_size must be a number of bytes"),
        ("size is true", sized(True), b"\0", 0, "binary_data_size must be a number of bytes"),
        ("size is text", sized("8"), b"\0" * 8, 0, "binary_data_size must be a number of bytes"),
        ("bytes left over", BINARY, b"\0" * 9, 0, "1 bytes follow the last binary tensor"),
        ("data as well", BINARY | {"data": [1, 2]}, b"\0" * 8, 0, "both data and a binary_data_size"),
    ],
)
def test_a_binary_header_that_lies(reason: str, tensor: dict[str, Any], blob: bytes, lie: int, message: str) -> None:
    head = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(BadRequest) as caught:
        decode(head + blob, str(len(head) + lie))
    assert message in caught.value.message, reason


@pytest.mark.parametrize("header", ["", "-1", "1e3", "0x10", "１", "9" * 40, "12 "])
def test_a_header_length_that_is_no_number(header: str) -> None:
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length must be a number of bytes"):
        decode({"inputs": [X]}, header)


def test_nan_goes_out_as_null_in_json_and_as_itself_in_binary() -> None:
    head = json.dumps({"inputs": [BINARY], "parameters": {"binary_data_output": False}}).encode()
    blob = np.array([np.nan, np.inf], np.float32).tobytes()
    assert [None, None] == json.loads(roundtrip(head + blob, str(len(head))).body)["outputs"][0]["data"]
    head = json.dumps({"inputs": [BINARY], "parameters": {"binary_data_output": True}}).encode()
    assert roundtrip(head + blob, str(len(head))).body.endswith(np.array([np.nan, np.inf], np.float32).tobytes())


def test_large_answers_are_valid_json_too() -> None:
    model = echo(TensorSpec("x", "FP32", (-1,)))
    body = {"inputs": [{"name": "x", "shape": [70_000], "datatype": "FP32", "data": [0.5] * 70_000}]}
    assert [0.5] * 70_000 == msgspec.json.decode(roundtrip(body, model=model).body)["outputs"][0]["data"]
