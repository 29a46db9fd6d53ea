"""The OpenAPI document: a sound one, as strict as the server and no stricter, and of nothing but what the policy leaves."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from modelward_runtime.codec import RestCall
from modelward_runtime.errors import ApiError
from modelward_runtime.model import NUMPY_TYPES, Face, TensorSpec, face_of
from modelward_runtime.openapi import document
from modelward_runtime.states import Released
from tests.privacy_policies import CLASSIFIER, ODD, rules
from tests.runtime_models import echo

EVERY = echo(*(TensorSpec(f"in_{name}", name, (-1, 2)) for name in NUMPY_TYPES))
SHAPES = echo(
    TensorSpec("scalar", "FP32", ()),
    TensorSpec("fixed", "INT8", (2, 3)),
    TensorSpec("none", "BYTES", (0, 2)),
    TensorSpec("large", "FP16", (1, 3, 224, 224)),
    TensorSpec("hint", "FP32", (-1,), optional=True),
)
CLASSES = replace(EVERY, outputs=(TensorSpec("p", "FP32", (-1, 2), classes=("a", "b")),))
FACES = {
    "every datatype": face_of(EVERY),
    "every kind of shape": face_of(SHAPES),
    "classes": face_of(CLASSES),
    "odd names": msgspec.structs.replace(face_of(EVERY), name="my {model} 7", version="1/2"),
    "no required input": face_of(echo(TensorSpec("hint", "FP32", (-1,), optional=True))),
    "under a policy": rules(
        CLASSIFIER,
        input={"tensors": [{"name": "temperature", "action": "Drop"}]},
        output={"tensors": [{"name": "embedding", "drop": True}]},
    ).face,
    "odd": face_of(ODD),
}


def told(face: Face, *, guarded: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(document(face, guarded=guarded)))
    return made


def validator(face: Face, name: str) -> Draft202012Validator:
    made = told(face)
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": made["components"]})


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
def test_it_is_a_sound_document(face: Face) -> None:
    made = told(face, guarded=True)
    OpenAPIV31SpecValidator(made).validate()
    for schema in made["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_what_a_policy_withholds_is_not_told() -> None:
    text = json.dumps(told(FACES["under a policy"]))
    assert "embedding" not in text
    assert "probabilities" in text


def test_behind_a_door_it_says_so_and_that_health_is_open() -> None:
    made = told(face_of(EVERY), guarded=True)
    assert made["security"] == [{"token": []}]
    open_to_all = [path for path, item in made["paths"].items() if item.get("get", {}).get("security") == []]
    assert ["/v2/health/live", "/v2/health/ready"] == open_to_all
    assert "security" not in told(face_of(EVERY))


def test_classes_are_named() -> None:
    (output,) = told(face_of(CLASSES))["components"]["schemas"]["InferResponse"]["properties"]["outputs"]["items"][
        "anyOf"
    ]
    assert ["a", "b"] == output["x-classes"]


# ── as strict as the server, and no stricter ─────────────────────────────────────────────────────────────────────────

SMALL = echo(
    TensorSpec("x", "FP32", (1, 2)), TensorSpec("n", "UINT8", (2,)), TensorSpec("s", "BYTES", (-1,), optional=True)
)
GOOD: dict[str, Any] = {
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5]},
        {"name": "n", "datatype": "UINT8", "shape": [2], "data": [0, 255]},
        {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    ],
    "outputs": [{"name": "out_x"}],
}
FACE = face_of(SMALL)
SMALL_SCHEMA = validator(FACE, "InferRequest")
values: st.SearchStrategy[Any] = (
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            255,
            256,
            1.5,
            3.4e38,
            3.5e38,
            "",
            "a",
            "FP32",
            "UINT8",
            "x",
            "n",
            "s",
            "out_x",
            "out_n",
            "z",
        ]
    )
    | st.lists(st.integers(-1, 3) | st.sampled_from(["a", 1.5]), max_size=3)
    | st.just([[1, 2]])
    | st.just({})
    | st.dictionaries(
        st.sampled_from(["classification", "binary_data", "sequence_id", "z"]),
        st.sampled_from([0, 1, "", True, False]),
        max_size=2,
    )
)


@st.composite
def nearly_good(draw: st.DrawFn) -> dict[str, Any]:
    """A good request in which a few things were changed, dropped or doubled."""
    made: dict[str, Any] = json.loads(json.dumps(GOOD))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = draw(st.sampled_from([*made["inputs"], *made["outputs"]]))
        match draw(st.sampled_from(["change", "add", "drop", "double", "remove"])):
            case "change":
                place[draw(st.sampled_from([*place]))] = draw(values)
            case "add":
                draw(st.sampled_from([made, place]))[draw(st.sampled_from(["id", "parameters", "z", "data"]))] = draw(
                    values
                )
            case "drop" if len(place) > 1:
                place.pop(draw(st.sampled_from([*place])))
            case "double":
                made["inputs"].append(dict(draw(st.sampled_from(GOOD["inputs"]))))
            case "remove" if len(made["inputs"]) > 1:
                made["inputs"].pop()
    return made


def is_taken(request: dict[str, Any]) -> bool:
    try:
        RestCall("tiny", "", json.dumps(request).encode(), None).decode(FACE)
    except ApiError:
        return False
    return True


@settings(max_examples=500, deadline=None)
@given(nearly_good())
def test_who_keeps_the_schema_is_taken_and_who_does_not_is_refused(request_: dict[str, Any]) -> None:
    """But for what JSON Schema cannot say: elements of a dynamic shape, and integers that are written with a point."""
    fits = SMALL_SCHEMA.is_valid(request_)
    if fits and not _says_enough(request_):
        return
    assert fits == is_taken(request_), [error.message for error in SMALL_SCHEMA.iter_errors(request_)]


def _says_enough(request: dict[str, Any]) -> bool:
    return all(len(one["data"]) == one["shape"][0] for one in request["inputs"] if one["name"] == "s")


@pytest.mark.parametrize("face", [FACES["every datatype"], FACES["classes"], FACES["odd"]])
def test_answers_keep_their_schema(face: Face) -> None:
    import numpy as np  # noqa: PLC0415

    arrays = {
        spec.name: np.full(
            [3 if axis == -1 else axis for axis in spec.shape],
            "a" if spec.datatype == "BYTES" else 1,
            NUMPY_TYPES[spec.datatype],
        )
        for spec in face.outputs
    }
    call = RestCall("tiny", "", b'{"inputs":[],"id":"7"}', None)
    call.decode(msgspec.structs.replace(face, inputs=()))
    check = validator(face, "InferResponse")
    answer = json.loads(call.encode(face, Released(arrays)).body)
    check.validate(answer)
    answer["outputs"][0]["shape"] = [5, 5, 5, 5, 5]
    assert not check.is_valid(answer)
