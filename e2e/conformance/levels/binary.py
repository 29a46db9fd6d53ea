"""Binary tensors over REST, Triton's extension, which tritonclient.http uses unless it is told not to."""

import json
import struct
from typing import Any

import numpy as np
import tritonclient.http
from tritonclient.utils import InferenceServerException

from e2e.conformance import cites
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import DOUBLE, TOTAL, X_ROWS, Answer, Json, Target, flat, numbers, outputs_of

RAW_X = struct.pack("<8f", *(value for row in X_ROWS for value in row))


def packed_request(size: int = len(RAW_X), **more: Any) -> Json:
    """The JSON of an inference whose input follows it."""
    given = {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": size}}
    return {"inputs": [given], **more}


def unpack(answer: Answer) -> tuple[Json, bytes]:
    """The JSON and the bytes behind it."""
    length = answer.ok().headers.get("inference-header-content-length")
    assert length is not None, "a binary answer without Inference-Header-Content-Length"
    told = answer.headers.get("content-length")
    assert told in {None, str(len(answer.body))}, f"Content-Length {told}, and the body has {len(answer.body)} bytes"
    return json.loads(answer.body[: int(length)]), answer.body[int(length) :]


@rule("BINARY-01", Level.BINARY, cites=(cites.BINARY_LISTED,))
def listed(target: Target) -> None:
    """The extension is listed as binary_tensor_data."""
    found = target.get("/v2").ok().json.get("extensions", ())
    assert "binary_tensor_data" in found, f"extensions: {found}"


@rule("BINARY-02", Level.BINARY, cites=(cites.BINARY_SIZE, cites.BINARY_HEADER))
def binary_in(target: Target) -> None:
    """A binary input is read; the answer is JSON unless it was asked otherwise."""
    answer = target.binary(packed_request(), RAW_X)
    assert "inference-header-content-length" not in answer.headers, "nobody asked for a binary answer"
    assert flat(outputs_of(answer)["double"]["data"]) == DOUBLE, f"data: {answer.body!r}"


@rule("BINARY-03", Level.BINARY, cites=(cites.BINARY_OUT, cites.BINARY_HEADER))
def binary_out(target: Target) -> None:
    """An output that is asked for in binary comes behind the JSON, the others within it.

    Its `binary_data_size` is given and there is no `data`.
    """
    asked = [{"name": "total"}, {"name": "double", "parameters": {"binary_data": True}}]
    head, raw = unpack(target.infer(numbers(outputs=asked)))
    found = {output["name"]: output for output in head["outputs"]}
    assert found["double"]["parameters"]["binary_data_size"] == 32, f"double: {found['double']}"
    assert "data" not in found["double"], "data beside binary_data_size"
    assert list(struct.unpack("<8f", raw)) == DOUBLE, f"raw: {raw!r}"
    assert flat(found["total"]["data"]) == TOTAL, f"total: {found['total']}"


@rule("BINARY-04", Level.BINARY, cites=(cites.BINARY_OUT,))
def all_binary(target: Target) -> None:
    """binary_data_output asks for all outputs in binary, in the order of the JSON."""
    head, raw = unpack(target.infer(numbers(parameters={"binary_data_output": True})))
    sizes = [(output["name"], output["parameters"]["binary_data_size"]) for output in head["outputs"]]
    assert sorted(sizes) == [("double", 32), ("total", 8)], f"outputs: {sizes}"
    pieces: dict[str, bytes] = {}
    for name, size in sizes:
        pieces[name], raw = raw[:size], raw[size:]
    assert list(struct.unpack("<8f", pieces["double"])) == DOUBLE, f"double: {pieces['double']!r}"
    assert list(struct.unpack("<2f", pieces["total"])) == TOTAL, f"total: {pieces['total']!r}"
    assert not raw, f"{len(raw)} bytes behind the last tensor"


@rule("BINARY-05", Level.BINARY, cites=(cites.BINARY_OUT,))
def one_says_otherwise(target: Target) -> None:
    """What an output says of itself overrides binary_data_output."""
    asked = [{"name": "double", "parameters": {"binary_data": False}}]
    answer = target.infer(numbers(outputs=asked, parameters={"binary_data_output": True}))
    assert flat(outputs_of(answer)["double"]["data"]) == DOUBLE, f"data: {answer.body!r}"


@rule("BINARY-06", Level.BINARY, cites=(cites.BINARY_SIZE, cites.BINARY_HEADER))
def lying_sizes(target: Target) -> None:
    """Sizes that do not fit are refused.

    A tensor of fewer or more bytes than its shape needs, fewer or more bytes in the body than the sizes add up to, a JSON length beyond the
    body, negative, or no number.
    """
    target.binary(packed_request(size=28), RAW_X[:28]).refused()
    target.binary(packed_request(size=36), RAW_X + b"\0\0\0\0").refused()
    target.binary(packed_request(), RAW_X[:16]).refused()
    target.binary(packed_request(), RAW_X + b"\0").refused()
    target.binary(packed_request(), RAW_X, announced=10_000).refused()
    target.binary(packed_request(), RAW_X, announced=-1).refused()


@rule("BINARY-07", Level.BINARY, cites=(cites.BINARY_SIZE, cites.UNSPOKEN))
def two_forms(target: Target) -> None:
    """A tensor with data and binary_data_size is refused.

    Which of the two was meant nobody can know.
    """
    both = packed_request()
    both["inputs"][0]["data"] = [0.0] * 8
    target.binary(both, RAW_X).refused()


@rule("BINARY-08", Level.BINARY, cites=(cites.BINARY_HEADER,))
def triton_client(target: Target) -> None:
    """tritonclient.http works as it comes."""
    host, port = target.address
    client = tritonclient.http.InferenceServerClient(f"{host}:{port}")
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else None
    given = tritonclient.http.InferInput("x", [2, 4], "FP32")
    given.set_data_from_numpy(np.array(X_ROWS, np.float32))
    try:
        found = client.infer(target.model, [given], headers=headers).as_numpy("double")
    except InferenceServerException as error:
        raise AssertionError(f"tritonclient: {error}") from error
    finally:
        client.close()
    assert found is not None and found.ravel().tolist() == DOUBLE, f"double: {found}"
