"""Whatever bytes come, the decoders answer with tensors that fit the model or with an `ApiError`, and with nothing else."""

import json
from typing import Any, Literal

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_runtime import bfloat16, tensors
from modelward_runtime.codec import RestCall
from modelward_runtime.errors import ApiError
from modelward_runtime.model import NUMPY_TYPES, TensorSpec, face_of
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.protobuf import CONTENTS, GrpcCall
from modelward_runtime.states import Decoded
from tests.runtime_models import Double, echo

DATATYPES = sorted(NUMPY_TYPES)
WIDTHS: dict[str, Literal[16, 32, 64]] = {"FP16": 16, "FP32": 32, "FP64": 64}
EVERY_TYPE = echo(*(TensorSpec(f"in_{name}", name, (-1, 2)) for name in DATATYPES))
ONE = echo(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,), optional=True))

texts = st.text(max_size=5) | st.sampled_from(["\ud800", "a\udfff\ud800"])  # halves of a character: JSON can say them
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
shapes = st.lists(st.integers(-1, 3) | st.integers(), max_size=4)
parameters = st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "classification", "z"]), scalars, max_size=2
)


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any subset of the fields, each either of its own kind or anything at all."""
    return st.fixed_dictionaries({}, optional={name: kind | anything for name, kind in fields.items()})


def check_error(error: ApiError) -> None:
    assert 400 <= error.status < 500
    assert len(error.message) < 2000
    error.message.encode()


def sound_or_sorry(call: RestCall | GrpcCall, model: Double) -> None:
    """Decode; check every invariant that the rest of the runtime builds on."""
    try:
        decoded = call.decode(face_of(model))
    except ApiError as error:
        check_error(error)
        return
    assert isinstance(decoded, Decoded)
    assert [spec.name for spec in model.inputs if spec.name in decoded.inputs] == list(decoded.inputs)
    for spec in model.inputs:
        if spec.optional and spec.name not in decoded.inputs:
            continue
        array = decoded.inputs[spec.name]
        assert array.dtype == NUMPY_TYPES[spec.datatype]
        assert array.ndim == len(spec.shape)
        assert all(want in {-1, got} for got, want in zip(array.shape, spec.shape, strict=True))
        assert array.flags.c_contiguous
        assert array.flags.aligned
        if spec.datatype == "BYTES":
            assert all(isinstance(item, str) for item in array.ravel().tolist())


headers = st.none() | st.text(max_size=6) | st.integers(-2, 400).map(str)


@settings(deadline=None)
@given(st.binary(max_size=300), headers)
@example(b"", "0")
@example(b"{}", "2")
def test_random_bytes(body: bytes, header: str | None) -> None:
    sound_or_sorry(RestCall("tiny", "", body, header), ONE)


tensor = record(
    name=st.sampled_from(["x", "s"]),
    shape=shapes,
    datatype=st.sampled_from(DATATYPES),
    data=st.lists(st.floats() | st.lists(st.floats(), max_size=3), max_size=4),
    parameters=parameters,
)
request = record(
    inputs=st.lists(tensor, max_size=3),
    outputs=st.lists(record(name=st.sampled_from(["out_x", "out_s"]), parameters=parameters), max_size=3),
    id=texts,
    parameters=parameters,
)


@settings(max_examples=150, deadline=None)
@given(request, st.binary(max_size=40), st.none() | st.integers(-20, 20))
def test_almost_requests(body: dict[str, Any], blob: bytes, lie: int | None) -> None:
    head = json.dumps(body).encode("utf-8", "surrogatepass")
    header = None if lie is None else str(len(head) + lie)
    sound_or_sorry(RestCall("tiny", "", head + blob, header), ONE)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(DATATYPES),
    shapes,
    anything | st.text(alphabet='[],0 .5e-"', max_size=30).map(lambda text: text.encode()),
)
def test_one_tensors_data(datatype: str, shape: list[int], data: object) -> None:
    model = echo(TensorSpec("x", datatype, (-1,) * len(shape)))
    text = data if isinstance(data, bytes) else json.dumps(data).encode("utf-8", "surrogatepass")
    body = b'{"inputs":[{"name":"x","datatype":"%b","shape":%b,"data":%b}]}' % (
        datatype.encode(), json.dumps(shape).encode(), text,
    )  # fmt: skip
    sound_or_sorry(RestCall("tiny", "", body, None), model)


@settings(deadline=None)
@given(st.sampled_from(DATATYPES), st.lists(st.integers(0, 4), min_size=1, max_size=3), st.data())
def test_what_fits_is_decoded_to_the_very_same_numbers(datatype: str, shape: list[int], data: st.DataObject) -> None:
    spec = TensorSpec("x", datatype, (-1,) * len(shape))
    array = data.draw(arrays(datatype, shape))
    blob = tensors.to_bytes(datatype, array)
    head = json.dumps(
        {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(blob)}}]}
    ).encode()
    got = RestCall("tiny", "", head + blob, str(len(head))).decode(face_of(echo(spec))).inputs["x"]
    np.testing.assert_array_equal(array, got)
    said = bfloat16.widen(array) if datatype == "BF16" else array
    for listed in (said.ravel().tolist(), said.tolist()):
        head = msgspec.json.encode({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": listed}]})
        np.testing.assert_array_equal(array, RestCall("tiny", "", head, None).decode(face_of(echo(spec))).inputs["x"])


def arrays(datatype: str, shape: list[int]) -> st.SearchStrategy[np.ndarray]:
    dtype, count = NUMPY_TYPES[datatype], int(np.prod(shape))
    element: st.SearchStrategy[Any]
    if datatype == "BYTES":
        element = st.text(max_size=4)
    elif dtype.kind == "f":
        element = st.floats(width=WIDTHS[datatype], allow_nan=False, allow_infinity=False)
    elif dtype.kind == "b":
        element = st.booleans()
    elif datatype == "BF16":
        element = st.integers(0, 0xFFFF).filter(lambda bits: bits & 0x7F80 != 0x7F80)  # JSON has no others
    else:
        element = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return st.lists(element, min_size=count, max_size=count).map(lambda items: np.array(items, dtype).reshape(shape))


@st.composite
def messages(draw: st.DrawFn) -> Any:
    message = pb.ModelInferRequest(model_name="tiny", id=draw(st.text(max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        one = message.inputs.add(
            name=draw(st.sampled_from(["x", "s", "z"])),
            datatype=draw(st.sampled_from([*DATATYPES, "", "FP8"])),
            shape=draw(st.lists(st.integers(-1, 3) | st.integers(-(2**63), 2**63 - 1), max_size=3)),
        )
        for field in draw(st.lists(st.sampled_from(sorted(set(CONTENTS.values()))), max_size=2)):
            value: object = b"\xff" if field == "bytes_contents" else 1
            getattr(one.contents, field).extend([value] * draw(st.integers(0, 4)))
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=20), max_size=3)))
    for name in draw(st.lists(st.sampled_from(["out_x", "out_s", "q"]), max_size=2)):
        message.outputs.add(name=name)
    if draw(st.booleans()):
        message.parameters["classification"].SetInParent()
    return message


@settings(max_examples=100, deadline=None)
@given(messages())
def test_grpc_messages(message: Any) -> None:
    sound_or_sorry(GrpcCall(message.SerializeToString()), ONE)


def test_a_model_of_every_datatype_takes_them_all_at_once() -> None:
    message = pb.ModelInferRequest(model_name="tiny")
    for name in DATATYPES:
        message.inputs.add(name=f"in_{name}", datatype=name, shape=[0, 2])
        message.raw_input_contents.append(b"")
    assert len(DATATYPES) == len(GrpcCall(message.SerializeToString()).decode(face_of(EVERY_TYPE)).inputs)
