"""The core over REST: health, metadata, inference."""

from typing import Any

from e2e.conformance import cites
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import DOUBLE, TOTAL, X_ROWS, Target, flat, numbers, outputs_of, tensor


@rule("REST-01", Level.REST, cites=(cites.LIVE,))
def live(target: Target) -> None:
    """The server says that it is alive.

    GET /v2/health/live answers 200. A liveness probe that fails has the server killed.
    """
    target.get("/v2/health/live").ok()


@rule("REST-02", Level.REST, cites=(cites.READY,))
def ready(target: Target) -> None:
    """The server says that it is ready.

    GET /v2/health/ready answers 200 once all models can be asked. tritonclient's `is_server_ready` looks at nothing else.
    """
    target.get("/v2/health/ready").ok()


@rule("REST-03", Level.REST, cites=(cites.MODEL_READY,))
def model_ready(target: Target) -> None:
    """A model says that it is ready.

    GET /v2/models/NAME/ready answers 200. A body, where there is one, is the JSON object with `name` and `ready`.
    """
    answer = target.get(f"/v2/models/{target.model}/ready").ok()
    if answer.body:
        assert answer.json.get("name") == target.model, f"the name is another: {answer.json}"
        assert answer.json.get("ready", True) is True, f"status 200, and ready is not true: {answer.json}"


@rule("REST-04", Level.REST, cites=(cites.SERVER_METADATA,))
def server_metadata(target: Target) -> None:
    """The server describes itself.

    GET /v2 answers a JSON object with the texts `name` and `version` and the list `extensions`, by which clients find out what they may
    send.
    """
    content = target.get("/v2").ok().json
    assert isinstance(content.get("name"), str) and content["name"], f"no name: {content}"
    assert isinstance(content.get("version"), str), f"no version: {content}"
    listed = content.get("extensions")
    assert isinstance(listed, list) and all(isinstance(word, str) for word in listed), f"no list extensions: {content}"


@rule("REST-05", Level.REST, cites=(cites.MODEL_METADATA, cites.DATATYPES))
def model_metadata(target: Target) -> None:
    """A model describes its tensors, with -1 for what varies.

    GET /v2/models/NAME answers name, platform, inputs and outputs; each tensor has a name, a datatype and a shape. Clients build their
    requests from it.
    """
    content = target.get(f"/v2/models/{target.model}").ok().json
    assert content.get("name") == target.model, f"the name is another: {content}"
    assert isinstance(content.get("platform"), str), f"no platform: {content}"
    assert _tensors(content, "inputs") == {"x": ("FP32", [-1, 4])}, f"inputs: {content.get('inputs')}"
    expected = {"double": ("FP32", [-1, 4]), "total": ("FP32", [-1])}
    assert _tensors(content, "outputs") == expected, f"outputs: {content.get('outputs')}"


def _tensors(content: dict[str, Any], side: str) -> dict[str, tuple[str, list[int]]]:
    listed = content.get(side)
    assert isinstance(listed, list), f"no list of {side}: {content}"
    return {item["name"]: (item["datatype"], [int(axis) for axis in item["shape"]]) for item in listed}


@rule("REST-06", Level.REST, cites=(cites.METADATA_ERROR,))
def unknown_model_metadata(target: Target) -> None:
    """Metadata of a model that is not there is refused with an error object.

    An HTTP error status, and a JSON object with the text `error`.
    """
    target.get("/v2/models/no-such-model").refused()


@rule("REST-07", Level.REST, cites=(cites.INFERENCE, cites.RESPONSE))
def infer(target: Target) -> None:
    """An inference is answered with the model's outputs.

    Flat data in row-major order; the answer has the model's name and every output with name, datatype, shape and data that fits the shape.
    """
    answer = target.infer(numbers())
    found = outputs_of(answer)
    assert answer.json.get("model_name") == target.model, f"model_name: {answer.json.get('model_name')!r}"
    assert found["double"]["datatype"] == "FP32", f"datatype: {found['double']}"
    assert [int(axis) for axis in found["double"]["shape"]] == [2, 4], f"shape: {found['double']['shape']}"
    assert flat(found["double"]["data"]) == DOUBLE, f"data: {found['double']['data']}"
    assert flat(found["total"]["data"]) == TOTAL, f"data: {found['total']['data']}"


@rule("REST-08", Level.REST, cites=(cites.NESTED,))
def nested(target: Target) -> None:
    """Nested data mean the same as flat.

    Data nested by its dimensions, as `numpy.ndarray.tolist` makes them, is the other form that JSON tensors have.
    """
    found = outputs_of(target.infer({"inputs": [tensor("x", "FP32", [2, 4], X_ROWS)]}))
    assert flat(found["double"]["data"]) == DOUBLE, f"data: {found['double']['data']}"


@rule("REST-09", Level.REST, cites=(cites.IDENTIFIER,))
def identifier(target: Target) -> None:
    """An identifier comes back.

    Clients with many requests on the way match answers by it.
    """
    answer = target.infer(numbers(id="request-42")).ok()
    assert answer.json.get("id") == "request-42", f"id: {answer.json.get('id')!r}"


@rule("REST-10", Level.REST, cites=(cites.OUTPUTS,))
def all_outputs(target: Target) -> None:
    """Who asks for no output gets all of them."""
    assert set(outputs_of(target.infer(numbers()))) == {"double", "total"}


@rule("REST-11", Level.REST, cites=(cites.OUTPUTS,))
def some_outputs(target: Target) -> None:
    """Who asks for an output gets that one alone.

    What was not asked for is not sent: it costs bandwidth, and a client that reads by position gets the wrong tensor.
    """
    found = outputs_of(target.infer(numbers(outputs=[{"name": "total"}])))
    assert set(found) == {"total"}, f"asked for total, got {sorted(found)}"
    assert flat(found["total"]["data"]) == TOTAL, f"data: {found['total']['data']}"


@rule("REST-12", Level.REST, cites=(cites.BATCH,))
def batch(target: Target) -> None:
    """A batch of any size is answered row by row.

    One, three and a hundred rows in one request; each row's answer is its own.
    """
    for rows in (1, 3, 100):
        data = [float(value % 251) for value in range(rows * 4)]
        found = outputs_of(target.infer({"inputs": [tensor("x", "FP32", [rows, 4], data)]}))
        assert [int(axis) for axis in found["double"]["shape"]] == [rows, 4], f"shape: {found['double']['shape']}"
        assert flat(found["double"]["data"]) == [value * 2 for value in data], f"{rows} rows: other numbers"


@rule("REST-13", Level.REST, cites=(cites.VERSIONS,))
def versions(target: Target) -> None:
    """A version that the metadata lists can be asked for by name.

    /v2/models/NAME/versions/V/infer, its metadata and its readiness. Nothing is demanded of a server that lists none.
    """
    for version in target.get(f"/v2/models/{target.model}").ok().json.get("versions") or ():
        path = f"/v2/models/{target.model}/versions/{version}"
        target.get(path).ok()
        target.get(f"{path}/ready").ok()
        outputs_of(target.post(f"{path}/infer", numbers()))


@rule("REST-14", Level.REST, cites=(cites.INFERENCE_ERROR,))
def unknown_model(target: Target) -> None:
    """An inference of a model that is not there is refused with an error object.

    A 4xx, since another request would have succeeded.
    """
    target.post("/v2/models/no-such-model/infer", numbers()).refused()


@rule("REST-15", Level.REST, cites=(cites.RESPONSE,))
def content_type(target: Target) -> None:
    """JSON answers are labelled as JSON."""
    label = target.infer(numbers()).ok().headers.get("content-type", "")
    assert label.split(";")[0].strip() == "application/json", f"content-type: {label!r}"
