"""The OpenAPI 3.1 document of a served model: its paths, and its tensors by name, datatype and shape, as the policy in force leaves them.

`web.py` answers `GET /v2/models/NAME/openapi.json` with it, behind the door like the model's metadata. A schema says all that JSON Schema
can say of a request in JSON, and nothing that the server does not hold callers to. It cannot say how many elements a dynamic shape
asks for, nor that integers are written without a point. Sources: OpenAPI 3.1.0; JSON Schema 2020-12; the Open Inference Protocol v2 (REST).
"""

import math
import sys
from typing import Any, Final
from urllib.parse import quote

from modelward_runtime.codec import REFUSED
from modelward_runtime.model import NUMPY_TYPES, Face, TensorSpec
from modelward_runtime.tensors import LARGEST, MAX_AXIS

Schema = dict[str, Any]

_LARGEST: Final = {**LARGEST, "FP64": sys.float_info.max}
_MOST_LISTED: Final = 1 << 16  # elements of a tensor whose number is spelled out
_ERRORS: Final = {
    400: "The request is wrong: the message names the tensor, what was expected and what came",
    401: "No token, or one that is not accepted",
    403: "This subject may not predict, or a privacy policy returns this output or this answer to nobody",
    411: "A body without a length",
    413: "The body is over the limit",
    415: "A content type or encoding that is not understood",
    429: "Too much at once; `Retry-After` says when to come back",
    431: "The request's head is over the limit",
    500: "The model failed on this input",
    503: "The model is not loaded yet, or the server is on its way out",
    504: "The deadline passed",
}
_BINARY: Final = (
    "JSON, and behind it the tensors of which it says `binary_data_size` in place of `data`, as bytes; the header "
    "Inference-Header-Content-Length says how long the JSON is"
)
_AT_THE_DOOR: Final = (401, 403, 429, 503)
_IN_A_BODY: Final = (400, 411, 413, 415, 429)


def document(face: Face, *, guarded: bool) -> Schema:
    """The document, ready for JSON. `guarded`: callers need a token."""
    told: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": face.name,
            "version": face.version,
            "summary": f"The model {face.name} by the Open Inference Protocol v2",
        },
        "paths": _paths(face),
        "components": {"schemas": _schemas(face), "responses": {f"E{code}": _error(code) for code in _ERRORS}},
    }
    if guarded:
        told["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"token": []}]
    return told


def _paths(face: Face) -> Schema:
    live, ready = _state("live"), _state("ready")
    paths: Schema = {
        "/v2/health/live": _get("live", "The process answers", live, (), open_to_all=True),
        "/v2/health/ready": _get(
            "ready", "The model is loaded, and the server is not on its way out", ready, (), open_to_all=True
        ),
        "/v2": _get("server", "Name, version and extensions of the server", _ref("Server"), _AT_THE_DOOR),
        "/v2/repository/index": {"post": _index()},
    }
    for suffix, version in (("", ""), (f"/versions/{quote(face.version, safe='')}", "OfVersion")):
        base = f"/v2/models/{quote(face.name, safe='')}{suffix}"
        paths |= {
            base: _get(f"model{version}", "Tensors that can be sent and had", _ref("Model"), _AT_THE_DOOR),
            f"{base}/ready": _get(
                f"readyModel{version}", "The model can be asked", _state("ready", "name"), _AT_THE_DOOR
            ),
            f"{base}/openapi.json": _get(f"openapi{version}", "This document", {"type": "object"}, _AT_THE_DOOR),
            f"{base}/infer": {"post": _infer(f"infer{version}")},
        }
    return paths


def _state(what: str, *named: str) -> Schema:
    return _object({what: {"type": "boolean"}, **{name: {"type": "string"} for name in named}}, what, *named)


def _get(name: str, summary: str, answer: Schema, errors: tuple[int, ...], *, open_to_all: bool = False) -> Schema:
    good = {"description": summary, "content": {"application/json": {"schema": answer}}}
    operation: Schema = {"operationId": name, "summary": summary, "responses": {"200": good} | _refused(*errors)}
    if name.startswith("ready"):
        content = {"application/json": {"schema": {"anyOf": [answer, _ref("Error")]}}}
        operation["responses"]["503"] = {"description": "Not now", "content": content}
    if open_to_all:
        operation["security"] = []
    return {"get": operation}


def _index() -> Schema:
    body = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    return {
        "operationId": "index",
        "summary": "The models that are here",
        "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The model", "content": {"application/json": {"schema": _ref("Index")}}},
            **_refused(*_IN_A_BODY, *_AT_THE_DOOR),
        },
    }


def _infer(name: str) -> Schema:
    asked: Schema = {"application/json": {"schema": _ref("InferRequest")}}
    given: Schema = {"application/json": {"schema": _ref("InferResponse")}}
    asked["application/octet-stream"] = given["application/octet-stream"] = {"schema": {"description": _BINARY}}
    return {
        "operationId": name,
        "summary": "One inference",
        "requestBody": {"required": True, "content": asked},
        "responses": {
            "200": {"description": "The outputs asked for, else all", "content": given},
            **_refused(*_IN_A_BODY, *_AT_THE_DOOR, 500, 504),
        },
    }


def _refused(*codes: int) -> Schema:
    return {str(code): {"$ref": f"#/components/responses/E{code}"} for code in sorted({*codes, 431})}


def _error(code: int) -> Schema:
    told: Schema = {"description": _ERRORS[code], "content": {"application/json": {"schema": _ref("Error")}}}
    if code == 429:
        told["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 0}}}
    return told


def _schemas(face: Face) -> Schema:
    text, parameters = {"type": "string"}, _ref("Parameters")
    return {
        "Error": _object({"error": text}, "error"),
        "Parameters": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "Server": _object(
            {"name": text, "version": text, "extensions": {"type": "array", "items": text}}, "name", "version", "extensions"
        ),
        "Live": _object({"live": {"const": True}}, "live"),
        "Ready": _object({"ready": {"type": "boolean"}}, "ready"),
        "ModelReady": _object({"name": {"const": face.name}, "ready": {"type": "boolean"}}, "name", "ready"),
        "Model": _object(
            {
                "name": {"const": face.name},
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": _ref("TensorMetadata")},
                "outputs": {"type": "array", "items": _ref("TensorMetadata")},
                "parameters": parameters,
            },
            "name", "platform", "inputs", "outputs",
        ),
        "TensorMetadata": _object(
            {
                "name": text,
                "datatype": {"enum": list(NUMPY_TYPES)},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
                "parameters": parameters,
            },
            "name", "datatype", "shape",
        ),
        "Index": {"type": "array", "items": _object({"name": text, "version": text, "state": text, "reason": text}, "name")},
        "InferRequest": _request(face),
        "InferResponse": _response(face),
    }  # fmt: skip


def _request(face: Face) -> Schema:
    ignored = [{"properties": {"name": {"const": name}}} for name in sorted(face.ignored)]
    inputs: Schema = {
        "type": "array",
        "items": {"anyOf": [_input(spec) for spec in face.inputs] + ignored},
        "minItems": sum(not spec.optional for spec in face.inputs),
        "allOf": [_once(spec.name, optional=spec.optional) for spec in face.inputs],
    }
    if not ignored:
        inputs["maxItems"] = len(face.inputs)
    wish = _object(
        {
            "name": {"enum": [spec.name for spec in face.outputs]},
            "parameters": _parameters("binary_data", {"type": "boolean"}),
        },
        "name",
    )
    outputs = {"type": "array", "items": wish, "maxItems": len(face.outputs), "uniqueItems": True}
    outputs["allOf"] = [_once(spec.name, optional=True) for spec in face.outputs]
    return _object(
        {
            "id": {"type": "string"},
            "parameters": _parameters("binary_data_output", {"type": "boolean"}),
            "inputs": inputs,
            "outputs": outputs,
        },
        "inputs",
    )


def _once(name: str, *, optional: bool) -> Schema:
    """A tensor may be named once; it must be, where it is not optional."""
    one = {"type": "object", "properties": {"name": {"const": name}}, "required": ["name"]}
    return {"contains": one, "minContains": 0 if optional else 1, "maxContains": 1}


def _parameters(known: str, schema: Schema | bool) -> Schema:
    """Parameters: one that is known, and none of those that would change the answer; others are ignored."""
    refused = {name: {"enum": [False, 0, ""]} for name in REFUSED}
    return {**_ref("Parameters"), "properties": {known: schema, **refused}}


def _input(spec: TensorSpec) -> Schema:
    count = math.prod(spec.shape) if -1 not in spec.shape else None
    told = _tensor(spec)
    element = _element(spec.datatype)
    flat: Schema = {"type": "array", "items": element}
    if count is not None and count <= _MOST_LISTED:
        flat |= {"minItems": count, "maxItems": count}
    forms = [flat]
    if len(spec.shape) > 1:
        forms.append(_nested(spec.shape, element))
    told["properties"] |= {"data": {"anyOf": forms}, "parameters": _parameters("binary_data_size", False)}
    told["required"] = [*told["required"], "data"]
    return told


def _nested(shape: tuple[int, ...], element: Schema) -> Schema:
    inner = _nested(shape[1:], element) if len(shape) > 1 else element
    told: Schema = {"type": "array", "items": inner}
    return told if shape[0] == -1 else told | {"minItems": shape[0], "maxItems": shape[0]}


def _response(face: Face) -> Schema:
    outputs = {"type": "array", "items": {"anyOf": [_output(spec) for spec in face.outputs]}}
    return _object(
        {
            "model_name": {"const": face.name},
            "model_version": {"const": face.version},
            "id": {"type": "string"},
            "outputs": outputs,
        },
        "model_name", "model_version", "outputs",
    )  # fmt: skip


def _output(spec: TensorSpec) -> Schema:
    element = _element(spec.datatype)
    if spec.datatype in _LARGEST:
        element = {"type": ["number", "null"], "description": "null: NaN or an infinity"}
    told = _tensor(spec)
    told["properties"] |= {"data": {"type": "array", "items": element}, "parameters": _ref("Parameters")}
    if spec.classes:
        told["x-classes"] = list(spec.classes)
    return told


def _tensor(spec: TensorSpec) -> Schema:
    axes = [
        {"type": "integer", "minimum": 0, "maximum": MAX_AXIS} if axis == -1 else {"const": axis} for axis in spec.shape
    ]
    shape: Schema = {"type": "array", "minItems": len(axes), "maxItems": len(axes)}
    if axes:
        shape["prefixItems"] = axes
    told = _object({"name": {"const": spec.name}, "datatype": {"const": spec.datatype}, "shape": shape})
    return told | {"required": ["name", "shape", "datatype"]}


def _element(datatype: str) -> Schema:
    if datatype in _LARGEST:
        return {"type": "number", "minimum": -_LARGEST[datatype], "maximum": _LARGEST[datatype]}
    if datatype == "BOOL":
        return {"type": "boolean"}
    if datatype == "BYTES":
        return {"type": "string"}
    width = NUMPY_TYPES[datatype].itemsize * 8
    signed = datatype.startswith("I")
    lowest = -(1 << width - 1) if signed else 0
    return {"type": "integer", "minimum": lowest, "maximum": lowest + (1 << width) - 1}


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
