"""The protocol as clients that nobody here wrote speak it: tritonclient over HTTP and gRPC against the real command."""

import asyncio
import http.client
import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.onnx_models import WEIGHTS, linear, save, slow
from tests.processes import Process, run
from tests.runtime_models import ONNX_TYPES, every_type

LIMIT = 1_000_000
TRANSPORTS = ["http", "http-json", "grpc"]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """y = x @ WEIGHTS as model m, version 7, with batching."""
    folder = tmp_path_factory.mktemp("linear")
    save(linear(), folder / "model/model.onnx")
    server = {"maxBodyBytes": LIMIT, "requestTimeoutSeconds": 20}
    batching = {"maxBatchSize": 16, "maxDelayMicroseconds": 0}
    with run(folder, {"directory": str(folder / "model")}, server=server, batching=batching) as process:
        process.until_ready()
        yield process


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A model that gives tensors of every datatype back."""
    folder = tmp_path_factory.mktemp("every")
    save(every_type(), folder / "model/model.onnx")
    with run(folder, {"directory": str(folder / "model")}) as process:
        process.until_ready()
        yield process


class Client:
    """tritonclient in one of its three manners, under one face."""

    def __init__(self, transport: str, process: Process) -> None:
        self.kind: Any = triton_grpc if transport == "grpc" else triton_http
        self.binary = {} if transport == "grpc" else {"binary_data": transport == "http"}
        port = process.ports[1 if transport == "grpc" else 0]
        self.client: Any = self.kind.InferenceServerClient(f"127.0.0.1:{port}")

    def infer(self, model: str, arrays: dict[str, tuple[str, np.ndarray]], outputs: list[str], **options: Any) -> Any:
        inputs = []
        for name, (datatype, array) in arrays.items():
            inputs.append(self.kind.InferInput(name, array.shape, datatype))
            inputs[-1].set_data_from_numpy(array, **self.binary)
        wanted = [self.kind.InferRequestedOutput(name, **self.binary) for name in outputs] or None
        return self.client.infer(model, inputs, outputs=wanted, **options)

    def linear(self, rows: Any, **options: Any) -> np.ndarray:
        result = self.infer("m", {"x": ("FP32", np.array(rows, np.float32))}, [], **options)
        y: np.ndarray = result.as_numpy("y")
        return y


@pytest.fixture(params=TRANSPORTS)
def client(request: pytest.FixtureRequest, one: Process) -> Iterator[Client]:
    made = Client(request.param, one)
    yield made
    made.client.close()


def said(caught: pytest.ExceptionInfo[InferenceServerException]) -> str:
    return str(caught.value.message())


def test_tritonclient_finds_the_server_the_model_and_its_metadata(client: Client) -> None:
    assert client.client.is_server_live()
    assert client.client.is_server_ready()
    assert client.client.is_model_ready("m")
    assert client.client.is_model_ready("m", "7")
    as_dict = {} if client.kind is triton_http else {"as_json": True}
    server = client.client.get_server_metadata(**as_dict)
    assert "modelward" == server["name"]
    assert "binary_tensor_data" in server["extensions"]
    model = client.client.get_model_metadata("m", **as_dict)
    assert ("m", ["7"], "onnxruntime_onnx") == (model["name"], model["versions"], model["platform"])
    assert [-1, 4] == [int(axis) for axis in model["inputs"][0]["shape"]]
    assert "FP32" == model["outputs"][0]["datatype"]
    index = client.client.get_model_repository_index(**as_dict)
    entry = index[0] if client.kind is triton_http else index["models"][0]
    assert ("m", "7", "READY") == (entry["name"], entry["version"], entry["state"])


def test_tritonclient_predicts(client: Client) -> None:
    rows = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    np.testing.assert_allclose(rows @ WEIGHTS, client.linear(rows), rtol=1e-5)
    result = client.infer("m", {"x": ("FP32", rows)}, ["y"], request_id="abc", model_version="7")
    response = result.get_response()
    assert "abc" == (response["id"] if isinstance(response, dict) else response.id)
    np.testing.assert_allclose(rows @ WEIGHTS, result.as_numpy("y"), rtol=1e-5)


def test_tritonclient_gets_empty_batches_back(client: Client) -> None:
    assert (0, 3) == client.linear(np.zeros((0, 4))).shape


@pytest.mark.parametrize("transport", ["http", "http-json"])
def test_tritonclient_reads_packed_answers(one: Process, transport: str) -> None:
    rows = np.random.default_rng(2).standard_normal((1000, 4)).astype(np.float32)
    made = Client(transport, one)
    result = made.infer("m", {"x": ("FP32", rows)}, ["y"], response_compression_algorithm="gzip")
    np.testing.assert_allclose(rows @ WEIGHTS, result.as_numpy("y"), rtol=1e-4, atol=1e-5)
    made.client.close()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_may_compress_requests(one: Process, algorithm: str) -> None:
    for transport, option in (("http", "request_compression_algorithm"), ("grpc", "compression_algorithm")):
        made = Client(transport, one)
        np.testing.assert_allclose([WEIGHTS[0]], made.linear([[1, 0, 0, 0]], **{option: algorithm}))
        made.client.close()


def values_of(datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([["a", "żółć"], ["", "日本"]], dtype=object)
    dtype = np.dtype(triton_to_np_dtype(datatype))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.array([[limits.min, limits.max], [0, 1]], dtype)
    return np.array([[0, 1], [1, 1]], dtype) if dtype.kind == "b" else np.array([[0.5, -2], [1e-3, 6e4]], dtype)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_datatype_comes_back_as_it_went(every: Process, transport: str) -> None:
    if transport == "http-json":  # tritonclient itself has no JSON form for 16-bit floats
        sent = {f"in_{name}": (name, values_of(name)) for name in ONNX_TYPES}
        tensors = [
            {"name": key, "datatype": name, "shape": [2, 2], "data": array.tolist()}
            for key, (name, array) in sent.items()
        ]
        answer = json.loads(post(every, "/v2/models/m/infer", json.dumps({"inputs": tensors}).encode())[1])
        for output in answer["outputs"]:
            expected = values_of(output["datatype"])
            assert expected.ravel().tolist() == output["data"], output["name"]
        return
    made = Client(transport, every)
    arrays = {f"in_{name}": (name, values_of(name)) for name in ONNX_TYPES}
    arrays["in_BYTES"] = ("BYTES", np.char.encode(values_of("BYTES").astype(str), "utf-8").astype(object))
    result = made.infer("m", arrays, [f"out_{name}" for name in ONNX_TYPES])
    for name in ONNX_TYPES:
        got = result.as_numpy(f"out_{name}")
        if name == "BYTES":
            got = np.array([item.decode() for item in got.ravel()], dtype=object).reshape(got.shape)
        np.testing.assert_array_equal(values_of(name), got, err_msg=name)
    made.client.close()


def post(process: Process, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", process.ports[0], timeout=30)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    read = answer.status, answer.read()
    connection.close()
    return read


# ── the same words on both transports ────────────────────────────────────────────────────────────────────────────────

X = np.ones((1, 4), np.float32)


@pytest.mark.parametrize(
    ("reason", "model", "version", "inputs", "outputs", "code", "message"),
    [
        ("model", "other", "", {"x": ("FP32", X)}, [], "NOT_FOUND", "that model is not served here, 'm' is"),
        ("version", "m", "8", {"x": ("FP32", X)}, [], "NOT_FOUND", "model 'm' has no such version here, only '7'"),
        ("input", "m", "", {"z": ("FP32", X)}, [], "INVALID_ARGUMENT", "inputs[0] is not one of the model's: x"),
        ("output", "m", "", {"x": ("FP32", X)}, ["q"], "INVALID_ARGUMENT", "outputs[0] is not one of the model's: y"),
        (
            "datatype", "m", "", {"x": ("FP64", X.astype(np.float64))}, [],
            "INVALID_ARGUMENT", "input 'x': expected datatype FP32, got FP64",
        ),
        (
            "shape", "m", "", {"x": ("FP32", X[:, :3].copy())}, [],
            "INVALID_ARGUMENT", "input 'x': expected shape [-1, 4], got [1, 3]",
        ),
    ],
)  # fmt: skip
def test_errors_read_the_same_on_both_transports(
    client: Client, reason: str, model: str, version: str, inputs: Any, outputs: list[str], code: str, message: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs, outputs, model_version=version)
    assert message == said(caught), reason
    if client.kind is triton_grpc:
        assert f"StatusCode.{code}" == caught.value.status(), reason


def test_bodies_over_the_limit_are_refused_and_the_server_lives_on(client: Client) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.linear(np.ones((LIMIT // 8, 4), np.float32))
    status = str(caught.value.status())
    assert status in {"413", "StatusCode.RESOURCE_EXHAUSTED"}
    np.testing.assert_allclose([WEIGHTS[0]], client.linear([[1, 0, 0, 0]]))


def test_loading_and_unloading_is_forbidden(client: Client) -> None:
    for call, word in ((client.client.load_model, "load"), (client.client.unload_model, "unload")):
        with pytest.raises(InferenceServerException) as caught:
            call("m")
        assert f"{word}: the model of this server is fixed by its manifest" == said(caught)


def test_grpc_deadlines_are_kept(tmp_path: Path) -> None:
    save(slow(), tmp_path / "model/model.onnx")
    with run(tmp_path, {"directory": str(tmp_path / "model")}) as process:
        process.until_ready()
        made = Client("grpc", process)
        made.linear([[0, 0, 0, 0]])  # connected: a deadline that passes before would reach nobody
        with pytest.raises(InferenceServerException, match=r"[Dd]eadline"):
            made.linear([[1, 2, 3, 1e6]], client_timeout=1)  # many minutes on any machine, and time enough to arrive
        process.until(
            lambda: 'code="CANCELLED"' in process.get("/metrics")[1] or "DEADLINE" in process.get("/metrics")[1]
        )
        made.client.close()


# ── gRPC beyond what tritonclient sends ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stub(every: Process) -> Iterator[Any]:
    from tritonclient.grpc import service_pb2_grpc  # noqa: PLC0415 - only the raw stub needs it

    with grpc.insecure_channel(f"127.0.0.1:{every.ports[1]}") as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def typed_request(wanted: list[str], without: str = "") -> Any:
    message = pb.ModelInferRequest(model_name="m")
    for name in ONNX_TYPES:
        tensor = message.inputs.add(name=f"in_{name}", datatype=name, shape=[2, 2])
        if name in FIELDS and name != without:
            items = values_of(name).ravel().tolist()
            getattr(tensor.contents, FIELDS[name]).extend([i.encode() for i in items] if name == "BYTES" else items)
    for name in wanted:
        message.outputs.add(name=f"out_{name}")
    return message


def test_sixteen_bit_floats_must_be_raw(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(typed_request(["FP32"]))
    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
    assert "input 'in_FP16': FP16 must be sent in raw_input_contents" == caught.value.details()


def test_typed_contents_come_back_typed(one: Process) -> None:
    from tritonclient.grpc import service_pb2_grpc  # noqa: PLC0415 - only the raw stub needs it

    message = pb.ModelInferRequest(model_name="m", id="7")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 0, 0, 0])
    with grpc.insecure_channel(f"127.0.0.1:{one.ports[1]}") as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
    assert WEIGHTS[0].tolist() == list(answer.outputs[0].contents.fp32_contents)
    assert ("7", 0) == (answer.id, len(answer.raw_output_contents))


def test_streams_answer_each_request_and_survive_errors(one: Process) -> None:
    from tritonclient.grpc import service_pb2_grpc  # noqa: PLC0415 - only the raw stub needs it

    def requests() -> Iterator[Any]:
        for number in range(3):
            message = pb.ModelInferRequest(model_name="m" if number != 1 else "other", id=str(number))
            message.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([number, 0, 0, 0])
            yield message

    with grpc.insecure_channel(f"127.0.0.1:{one.ports[1]}") as channel:
        answers = list(service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests()))
    assert ["", "that model is not served here, 'm' is", ""] == [answer.error_message for answer in answers]
    assert ["0", "1", "2"] == [answer.infer_response.id for answer in answers]
    assert (2 * WEIGHTS[0]).tolist() == list(answers[2].infer_response.outputs[0].contents.fp32_contents)


# ── many at once, and those who misbehave ─────────────────────────────────────────────────────────────────────────────


def test_many_callers_at_once_get_their_own_rows(one: Process) -> None:
    def ask(number: int) -> None:
        made = Client(TRANSPORTS[number % 3], one)
        for step in range(20):
            rows = np.full((1 + step % 3, 4), number * 100 + step, np.float32)
            np.testing.assert_allclose(rows @ WEIGHTS, made.linear(rows), rtol=1e-5)
        made.client.close()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_the_asyncio_clients_predict(one: Process, transport: str) -> None:
    kind, aio, port = (triton_http, triton_http_aio, 0) if transport == "http" else (triton_grpc, triton_grpc_aio, 1)
    async with aio.InferenceServerClient(f"127.0.0.1:{one.ports[port]}") as made:
        assert await made.is_model_ready("m")

        async def ask(number: int) -> None:
            tensor = kind.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(np.full((1, 4), number, np.float32))
            result = await made.infer("m", [tensor])
            np.testing.assert_allclose(np.full((1, 4), number) @ WEIGHTS, result.as_numpy("y"), rtol=1e-5)

        await asyncio.gather(*[ask(number) for number in range(20)])
        with pytest.raises(InferenceServerException) as caught:
            await made.infer("m", [kind.InferInput("z", [1, 4], "FP32")])
        assert "inputs[0] is not one of the model's: x" in said(caught)


def raw_exchange(process: Process, sent: bytes) -> bytes:
    """What comes back for raw bytes on a connection, until the server closes it or says no more for a while."""
    with socket.create_connection(("127.0.0.1", process.ports[0]), timeout=20) as connection:
        connection.sendall(sent)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except TimeoutError:
            pass
        return answer


HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n"
LAST = HEAD + b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("reason", "sent", "status"),
    [
        ("not HTTP", b"\x16\x03\x01\x02\x00 hello\r\n\r\n", b"400"),
        ("negative length", LAST + b"Content-Length: -5\r\n\r\n", b"400"),
        ("two lengths", LAST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"400"),
        ("length and chunks", LAST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        ("a lie in a chunk", LAST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        ("neither length nor chunks", LAST + b"\r\n", b"411"),
        ("a length over the limit", LAST + b"Content-Length: 99999999999\r\n\r\n", b"413"),
        ("deep JSON", LAST + b"Content-Length: 500000\r\n\r\n" + b'{"z":' + b"[" * 499_995, b"400"),
        ("a head without end", b"GET /v2 HTTP/1.1\r\nX: " + b"a" * 70_000, b"431"),
        ("a lying binary header", LAST + b"Inference-Header-Content-Length: 99\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    ],
)
def test_hostile_bytes_get_a_4xx_and_the_next_caller_an_answer(
    one: Process, reason: str, sent: bytes, status: bytes
) -> None:
    answer = raw_exchange(one, sent)
    assert status == answer[9:12], reason
    made = Client("http", one)
    np.testing.assert_allclose([WEIGHTS[0]], made.linear([[1, 0, 0, 0]]))
    made.client.close()


def test_pipelined_requests_are_answered_in_order(one: Process) -> None:
    sent = b""
    for number in range(3):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [number, 0, 0, 0]}
        body = json.dumps({"id": str(number), "inputs": [tensor]}).encode()
        sent += (LAST if number == 2 else HEAD) + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = raw_exchange(one, sent)
    assert [b"0", b"1", b"2"] == [part[:1] for part in answer.split(b'"id":"')[1:]]


def test_a_body_that_is_refused_unread_does_not_spoil_its_connection(one: Process) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 0, 0, 0]}
    body = json.dumps({"inputs": [tensor]}).encode()
    refused = HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + b" " * (LIMIT + 1)
    answer = raw_exchange(one, refused + LAST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert [b"413", b"200"] == [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_an_offer_to_upgrade_is_declined_and_the_body_is_read(one: Process) -> None:
    """Java's HttpClient makes one with every first request."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 0, 0, 0]}
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
    status, body = post(one, "/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode(), **offer)
    assert (200, WEIGHTS[0].tolist()) == (status, json.loads(body)["outputs"][0]["data"])


def test_callers_who_hang_up_do_no_harm(one: Process) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 0, 0, 0]}]}).encode()
    for cut in (10, len(HEAD), len(HEAD) + 30, 10_000):
        connection = socket.create_connection(("127.0.0.1", one.ports[0]))
        connection.sendall((HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)[:cut])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no goodbye
        connection.close()
    made = Client("http", one)
    np.testing.assert_allclose([WEIGHTS[0]], made.linear([[1, 0, 0, 0]]))
    made.client.close()
    one.until(lambda: "modelward_in_flight 0.0" in one.get("/metrics")[1])
    assert "Traceback" not in one.log()
