"""The same request in all its forms, over REST and gRPC: taken by all with the same tensors, or refused by all in the same words."""

import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime import grpc_server, tensors
from modelward_runtime.codec import RestCall
from modelward_runtime.errors import ApiError
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import NUMPY_TYPES, Array, TensorSpec, face_of
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.protobuf import CONTENTS, GrpcCall
from modelward_runtime.web import App
from tests.doors import door
from tests.runtime_models import Double, echo
from tests.wire import ask

MODEL = echo(
    TensorSpec("x", "FP32", (-1, 2)), TensorSpec("n", "INT8", (2,)), TensorSpec("t", "BYTES", (-1,), optional=True)
)
FACE = face_of(MODEL)


@dataclass(frozen=True)
class Tensor:
    """An input as it is meant, right or wrong."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]
    parameters: dict[str, Any]

    @property
    def raw(self) -> bytes:
        """Its bytes, in the type that it says, or in another where that is none."""
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(item.encode())) + item.encode() for item in self.data)
        return np.array(self.data, NUMPY_TYPES.get(self.datatype, np.dtype(np.float32))).tobytes()


@dataclass(frozen=True)
class Meant:
    """A request."""

    inputs: list[Tensor]
    outputs: list[tuple[str, dict[str, Any]]]
    parameters: dict[str, Any]


parameters = st.dictionaries(
    st.sampled_from(["classification", "sequence_id", "z"]), st.sampled_from([0, 1, 7]), max_size=1
)
numbers = {
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "INT8": st.integers(-128, 127),
    "BYTES": st.sampled_from(["a", "ö", ""]),
}


@st.composite
def tensor(draw: st.DrawFn, spec: TensorSpec) -> Tensor:
    """One that fits, or nearly."""
    shape = [2 if axis == -1 else axis for axis in spec.shape]
    count = int(np.prod(shape))
    datatype = spec.datatype
    match draw(st.sampled_from(["good", "good", "good", "shape", "datatype", "count", "name"])):
        case "shape":
            shape = draw(st.lists(st.integers(-1, 3), max_size=3))
        case "datatype":
            datatype = draw(st.sampled_from(["FP32", "INT8", "BYTES", "BOGUS", ""]))
        case "count":
            count = draw(st.integers(0, 5))
        case "name":
            return Tensor(
                draw(st.sampled_from(["x", "n", "t", "q", "out_x"])), datatype, shape, _items(draw, datatype, count), {}
            )
    return Tensor(spec.name, datatype, shape, _items(draw, datatype, count), draw(parameters))


def _items(draw: st.DrawFn, datatype: str, count: int) -> list[Any]:
    return draw(st.lists(numbers.get(datatype, numbers["FP32"]), min_size=count, max_size=count))


@st.composite
def requests(draw: st.DrawFn) -> Meant:
    inputs = [draw(tensor(spec)) for spec in MODEL.inputs if draw(st.sampled_from([True] * 11 + [False]))]
    outputs = draw(st.lists(st.tuples(st.sampled_from(["out_x", "out_n", "out_t", "q"]), parameters), max_size=3))
    return Meant(draw(st.permutations(inputs)), outputs, draw(parameters))


def over_rest(meant: Meant, *, binary: bool) -> RestCall:
    listed, blobs = [], []
    for one in meant.inputs:
        told: dict[str, Any] = {
            "name": one.name,
            "datatype": one.datatype,
            "shape": one.shape,
            "parameters": dict(one.parameters),
        }
        if binary:
            blobs.append(one.raw)
            told["parameters"]["binary_data_size"] = len(one.raw)
        else:
            told["data"] = one.data
        listed.append(told)
    wishes = [{"name": name, "parameters": said} for name, said in meant.outputs]
    head = json.dumps({"inputs": listed, "outputs": wishes, "parameters": meant.parameters}).encode()
    return RestCall("tiny", "", b"".join([head, *blobs]), str(len(head)) if binary else None)


def over_grpc(meant: Meant, *, raw: bool) -> GrpcCall:
    message = pb.ModelInferRequest(model_name="tiny")
    _say(message, meant.parameters)
    for one in meant.inputs:
        put = message.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        _say(put, one.parameters)
        if raw:
            message.raw_input_contents.append(one.raw)
        else:
            items = [item.encode() for item in one.data] if one.datatype == "BYTES" else one.data
            getattr(put.contents, CONTENTS.get(one.datatype, "fp32_contents")).extend(items)
    for name, said in meant.outputs:
        _say(message.outputs.add(name=name), said)
    return GrpcCall(message.SerializeToString())


def _say(message: Any, said: Mapping[str, Any]) -> None:
    for name, number in said.items():
        message.parameters[name].int64_param = number


def outcome(call: RestCall | GrpcCall) -> str | tuple[Mapping[str, Array], tuple[str, ...]]:
    try:
        decoded = call.decode(FACE)
    except ApiError as error:
        return f"{error.status} {error.grpc_code}: {error.message}"
    return {name: array.tolist() for name, array in decoded.inputs.items()}, decoded.outputs


@settings(max_examples=150, deadline=None)
@given(requests())
def test_tensors_in_bytes_mean_the_same_over_both(meant: Meant) -> None:
    assert outcome(over_rest(meant, binary=True)) == outcome(over_grpc(meant, raw=True))


@settings(max_examples=150, deadline=None)
@given(requests())
def test_tensors_in_words_mean_the_same_over_both(meant: Meant) -> None:
    got = outcome(over_rest(meant, binary=False)), outcome(over_grpc(meant, raw=False))
    if isinstance(got[1], str) and "neither contents" in got[1]:
        return  # gRPC cannot tell an empty list from none
    assert got[0] == got[1]


@settings(max_examples=100, deadline=None)
@given(requests())
def test_bytes_and_words_mean_the_same(meant: Meant) -> None:
    """Who is wrong about anything but the number of elements hears the same, however the tensors come."""
    words, packed = outcome(over_rest(meant, binary=False)), outcome(over_rest(meant, binary=True))
    if isinstance(words, str) and "elements" in words:
        assert isinstance(packed, str)
        assert "expected" in packed
    else:
        assert words == packed


@pytest.mark.parametrize(
    ("datatype", "number"), [("INT8", 128), ("INT8", -129), ("UINT8", 256), ("INT16", 1 << 15), ("UINT16", 1 << 16)]
)
def test_numbers_out_of_range_are_told_alike(datatype: str, number: int) -> None:
    """Typed contents hold small integers in 32 bits."""
    spec = TensorSpec("x", datatype, (1,))
    told = f"input 'x': a number is out of range for {datatype}"
    for found in (
        lambda: tensors.from_numbers(spec, [1], [number]),
        lambda: over_rest(Meant([Tensor("x", datatype, [1], [number], {})], [], {}), binary=False).decode(
            face_of(echo(spec))
        ),
        lambda: over_grpc(Meant([Tensor("x", datatype, [1], [number], {})], [], {}), raw=False).decode(
            face_of(echo(spec))
        ),
    ):
        with pytest.raises(ApiError) as caught:
            found()
        assert told == caught.value.message


# ── what has nothing to do with tensors, over real servers ───────────────────────────────────────────────────────────


class Both:
    """One exchange behind both transports."""

    def __init__(self, exchange: Exchange, app: App, stub: Any) -> None:
        self.exchange, self.app, self.stub = exchange, app, stub

    async def infer(self, name: str = "tiny", version: str = "", data: float = 1) -> tuple[Any, Any]:
        """What each says: status and text."""
        path = f"/v2/models/{name}{'/versions/' * bool(version)}{version}/infer"
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [data]}]}
        message = pb.ModelInferRequest(model_name=name, model_version=version)
        message.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(data)
        return await self.rest("POST", path, body), await self.grpc(self.stub.ModelInfer(message))

    async def rest(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Over REST."""
        status, _, answer = await ask(self.app, method, path, b"" if body is None else json.dumps(body).encode())
        return status, json.loads(answer).get("error", "")

    async def grpc(self, call: Awaitable[Any]) -> tuple[str, str]:
        """Over gRPC."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        return "OK", ""


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    exchange = Exchange("tiny", "1", Metrics(), Limits(request_timeout=60))
    app = App(exchange, door(), max_body_bytes=1 << 20)
    server = grpc_server.create(exchange, door(), max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Both(exchange, app, pb_grpc.GRPCInferenceServiceStub(channel))
    await server.stop(0)
    exchange.close()


def broken(inputs: Mapping[str, Array]) -> dict[str, Array]:
    raise ValueError(f"cannot take {float(inputs['x'][0])}")


ASKED: list[tuple[str, Callable[[Both], Awaitable[tuple[Any, Any]]], int, str, str]] = [
    ("another model", lambda both: both.infer("other"), 404, "NOT_FOUND", "that model is not served here, 'tiny' is"),
    ("another version", lambda both: both.infer(version="9"), 404, "NOT_FOUND", "model 'tiny' has no such version here, only '1'"),
    ("a model that fails", lambda both: both.infer(data=7), 500, "INTERNAL", "the model failed: cannot take 7.0"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "asked", "status", "code", "text"), ASKED, ids=[row[0] for row in ASKED])
async def test_errors_of_a_serving_model(
    both: Both, reason: str, asked: Any, status: int, code: str, text: str
) -> None:
    spec = TensorSpec("x", "FP32", (-1,))
    both.exchange.serve(Double(broken, (spec,), (TensorSpec("y", "FP32", (-1,)),)), None)
    assert ((status, text), (code, text)) == await asked(both), reason


async def test_errors_before_and_after_serving(both: Both) -> None:
    told = "model 'tiny' is not loaded yet"
    assert ((503, told), ("UNAVAILABLE", told)) == await both.infer()
    assert ((503, told), ("UNAVAILABLE", told)) == (
        await both.rest("GET", "/v2/models/tiny"),
        await both.grpc(both.stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"))),
    )
    both.exchange.serve(MODEL, None)
    await both.exchange.drain()
    told = "the server is draining"
    assert ((503, told), ("UNAVAILABLE", told)) == await both.infer()


@pytest.mark.parametrize("action", ["load", "unload"])
async def test_what_a_manifest_decides(both: Both, action: str) -> None:
    both.exchange.serve(MODEL, None)
    request = {"load": pb.RepositoryModelLoadRequest, "unload": pb.RepositoryModelUnloadRequest}[action](
        model_name="tiny"
    )
    call = {"load": both.stub.RepositoryModelLoad, "unload": both.stub.RepositoryModelUnload}[action](request)
    over_http, over_http2 = await both.rest("POST", f"/v2/repository/models/tiny/{action}"), await both.grpc(call)
    assert (403, "PERMISSION_DENIED", over_http2[1]) == (over_http[0], over_http2[0], over_http[1])
