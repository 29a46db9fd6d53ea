"""The HTTP side, driven by bytes as a caller would: paths, methods, limits, status codes, and callers who leave."""

import asyncio
import gzip
import json
import logging
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from urllib.parse import quote

import numpy as np
import pytest

from modelward_runtime.batch import Batching
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, TensorSpec
from modelward_runtime.web import App
from tests.doors import door
from tests.runtime_models import Double, doubler
from tests.until import PATIENCE, until
from tests.wire import NO_ANSWER, Answer, Wire, ask, head_of, settled

LIMIT = 2000
INFER = "/v2/models/tiny/infer"
REQUEST = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()


class Client:
    """A caller of an application."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.app = App(exchange, door(), max_body_bytes=LIMIT)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        leaves: bool = False,
    ) -> Answer:
        return await ask(self.app, method, path, body, headers, leaves=leaves)

    async def infer(self, body: bytes | Iterable[bytes] = REQUEST, **headers: str) -> Answer:
        return await self.send("POST", INFER, body, {name.replace("_", "-"): value for name, value in headers.items()})


def error(answer: Answer) -> str:
    assert answer[1]["content-type"] == "application/json"
    text: str = json.loads(answer[2])["error"]
    return text


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    exchange = Exchange("tiny", "1", Metrics(), Limits(max_queue=1, request_timeout=PATIENCE))
    exchange.serve(doubler(), None)
    yield Client(exchange)
    exchange.close()


@pytest.fixture
async def loading() -> Client:
    return Client(Exchange("tiny", "1", Metrics()))


class Slow:
    """A model that waits for the test."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.started = threading.Semaphore(0)
        spec = TensorSpec("x", "FP32", (-1, 4))
        self.model = Double(self.compute, (spec,), (TensorSpec("y", "FP32", (-1, 4)),))
        self.runs = 0

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        self.started.release()
        assert self.go_on.wait(PATIENCE)
        return {"y": inputs["x"]}

    async def wait_until_busy(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=PATIENCE)


async def test_health_and_metadata(client: Client) -> None:
    assert 200 == (await client.send("GET", "/v2/health/live"))[0]
    assert 200 == (await client.send("GET", "/v2/health/ready"))[0]
    assert 200 == (await client.send("HEAD", "/v2/health/ready"))[0]
    assert {"live": True} == json.loads((await client.send("GET", "/v2/health/live"))[2])
    assert {"ready": True} == json.loads((await client.send("GET", "/v2/health/ready"))[2])
    server = json.loads((await client.send("GET", "/v2"))[2])
    assert ("modelward", True) == (server["name"], "binary_tensor_data" in server["extensions"])
    expected = {
        "name": "tiny",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
        "parameters": {"execution_provider": "CPUExecutionProvider"},
    }
    for path in ("/v2/models/tiny", "/v2/models/tiny/versions/1"):
        assert expected == json.loads((await client.send("GET", path))[2])
        status, _, told = await client.send("GET", path + "/ready")
        assert (200, {"name": "tiny", "ready": True}) == (status, json.loads(told))


async def test_inference_with_and_without_a_version(client: Client) -> None:
    for path in (INFER, "/v2/models/tiny/versions/1/infer"):
        status, headers, body = await client.send("POST", path, REQUEST)
        assert 200 == status
        assert [2.0, 4.0, 6.0, 8.0] == json.loads(body)["outputs"][0]["data"]
        assert headers == {"content-type": "application/json", "content-length": str(len(body))}


async def test_binary_answers_say_where_their_header_ends(client: Client) -> None:
    head = json.dumps(
        {
            "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    sent = np.arange(4, dtype=np.float32)
    status, headers, body = await client.infer(head + sent.tobytes(), inference_header_content_length=str(len(head)))
    assert (200, "application/octet-stream") == (status, headers["content-type"])
    got = np.frombuffer(body[int(headers["inference-header-content-length"]) :], np.float32)
    np.testing.assert_array_equal(sent * 2, got)


@pytest.mark.parametrize(
    ("reason", "method", "path", "status", "message"),
    [
        ("other model", "GET", "/v2/models/other", 404, "that model is not served here, 'tiny' is"),
        ("other model's readiness", "GET", "/v2/models/other/ready", 404, "that model is not served here"),
        ("other model to infer", "POST", "/v2/models/other/infer", 404, "that model is not served here"),
        (
            "other version",
            "POST",
            "/v2/models/tiny/versions/2/infer",
            404,
            "model 'tiny' has no such version here, only '1'",
        ),
        ("no such path", "GET", "/metrics", 404, "no such path"),
        ("no such action", "POST", "/v2/models/tiny/explain", 404, "no such path"),
        ("no name", "GET", "/v2/models//ready", 404, "no such path"),
        ("version without a number", "GET", "/v2/models/tiny/versions", 404, "no such path"),
        ("wrong method to infer", "GET", INFER, 405, "method GET is not allowed here, use POST"),
        ("wrong method to live", "POST", "/v2/health/live", 405, "method POST is not allowed here, use GET"),
        (
            "load",
            "POST",
            "/v2/repository/models/tiny/load",
            403,
            "load: the model of this server is fixed by its manifest",
        ),
        ("unload", "POST", "/v2/repository/models/tiny/unload", 403, "unload: the model of this server is fixed"),
    ],
)
async def test_paths_and_methods(
    client: Client, reason: str, method: str, path: str, status: int, message: str
) -> None:
    answer = await client.send(method, path)
    assert status == answer[0], reason
    assert message in error(answer), reason
    assert ("allow" in answer[1]) == (status == 405)


async def test_the_repository_holds_the_one_model(client: Client, loading: Client) -> None:
    entry = {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
    assert [entry] == json.loads((await client.send("POST", "/v2/repository/index"))[2])
    index = json.loads((await loading.send("POST", "/v2/repository/index"))[2])
    assert "UNAVAILABLE" == index[0]["state"]
    assert b"[]" == (await loading.send("POST", "/v2/repository/index", b'{"ready":true}'))[2]
    answer = await loading.send("POST", "/v2/repository/index", b'{"ready":1}')
    assert 400 == answer[0]
    assert "not a request for an index: Expected `bool`, got `int`" in error(answer)


async def test_before_the_model_is_loaded_names_are_known_and_the_rest_is_503(loading: Client) -> None:
    assert 200 == (await loading.send("GET", "/v2/health/live"))[0]
    assert 503 == (await loading.send("GET", "/v2/health/ready"))[0]
    status, _, told = await loading.send("GET", "/v2/models/tiny/ready")
    assert (503, {"name": "tiny", "ready": False}) == (status, json.loads(told))
    assert 404 == (await loading.send("GET", "/v2/models/other/ready"))[0]
    for answer in (await loading.send("GET", "/v2/models/tiny"), await loading.infer()):
        assert 503 == answer[0]
        assert "model 'tiny' is not loaded yet" == error(answer)


async def test_bodies_may_come_in_pieces_and_without_a_length(client: Client) -> None:
    pieces = [REQUEST[:10], REQUEST[10:40], b"", REQUEST[40:]]
    assert 200 == (await client.infer(pieces))[0]
    assert 200 == (await client.infer(pieces, content_length="", transfer_encoding="chunked"))[0]


@pytest.mark.parametrize("pieces", [1, 7])
async def test_bodies_over_the_limit(client: Client, pieces: int) -> None:
    body = [b" " * (LIMIT // pieces + 1)] * pieces
    for headers in ({}, {"content_length": "", "transfer_encoding": "chunked"}):
        answer = await client.infer(body, **headers)
        assert 413 == answer[0]
        assert f"request body is over the limit of {LIMIT} bytes" == error(answer)


async def test_a_body_without_any_length_is_411(client: Client) -> None:
    answer = await client.infer(content_length="")
    assert (411, "a body needs a Content-Length") == (answer[0], error(answer))


@pytest.mark.parametrize(
    "kind", ["", "application/json", "Application/JSON; charset=utf-8", "application/octet-stream"]
)
async def test_content_types_that_clients_send(client: Client, kind: str) -> None:
    assert 200 == (await client.infer(content_type=kind))[0]


async def test_other_content_types_and_encodings_are_415(client: Client) -> None:
    answer = await client.infer(content_type="text/xml")
    assert (415, "this content type is not understood, send application/json") == (answer[0], error(answer))
    answer = await client.infer(content_encoding="br")
    assert (415, "this content encoding is not understood, send gzip, deflate or none") == (answer[0], error(answer))


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_packed_bodies(client: Client, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert 200 == (await client.infer(pack(REQUEST), content_encoding=encoding))[0]


@pytest.mark.parametrize(
    ("reason", "body", "status", "message"),
    [
        ("a bomb", gzip.compress(b" " * 10_000_000, mtime=0)[:LIMIT], 413, "over the limit"),
        ("garbage", b"garbage", 400, "the body is not valid gzip"),
        ("cut", gzip.compress(REQUEST, mtime=0)[:-9], 400, "ends too early or too late"),
        ("followed by more", gzip.compress(REQUEST, mtime=0) + b"x", 400, "ends too early or too late"),
    ],
)
async def test_packed_bodies_that_are_wrong(
    client: Client, reason: str, body: bytes, status: int, message: str
) -> None:
    answer = await client.infer(body, content_encoding="gzip")
    assert status == answer[0], reason
    assert message in error(answer), reason


async def test_bad_tensors_are_400_and_named(client: Client) -> None:
    answer = await client.infer(REQUEST.replace(b"[1, 4]", b"[1, 5]"))
    assert (400, "input 'x': expected shape [-1, 4], got [1, 5]") == (answer[0], error(answer))


async def test_a_model_that_fails_is_500_with_its_own_words() -> None:
    def compute(_: Mapping[str, Array]) -> dict[str, Array]:
        raise RuntimeError("division of a cat")

    spec = TensorSpec("x", "FP32", (-1, 4))
    exchange = Exchange("tiny", "1", Metrics())
    exchange.serve(Double(compute, (spec,), (TensorSpec("y", "FP32", (-1, 4)),)), None)
    answer = await Client(exchange).infer()
    exchange.close()
    assert (500, "the model failed: division of a cat") == (answer[0], error(answer))


async def test_a_flaw_of_ours_is_a_logged_500_without_details(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.app._inform = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    answer = await client.send("GET", "/v2")
    assert (500, "internal error") == (answer[0], error(answer))
    assert "ZeroDivisionError" in caplog.text


async def test_a_full_queue_is_429_with_retry_after(client: Client) -> None:
    slow = Slow()
    client.exchange.serve(slow.model, None)
    running = asyncio.ensure_future(client.infer())
    await slow.wait_until_busy()
    waiting = asyncio.ensure_future(client.infer())
    await until(lambda: client.exchange.metrics.waiting() == 1)
    status, headers, body = await client.infer()
    assert (429, "1") == (status, headers["retry-after"])
    assert b"queue is full: 1 requests are waiting, retry in 1 s" in body
    slow.go_on.set()
    assert [200, 200] == [(await running)[0], (await waiting)[0]]


async def test_a_request_that_takes_too_long_is_504() -> None:
    slow = Slow()
    exchange = Exchange("tiny", "1", Metrics(), Limits(request_timeout=0.1))
    exchange.serve(slow.model, None)
    answer = await Client(exchange).infer()
    slow.go_on.set()
    exchange.close()
    assert (504, "the deadline passed before the model answered") == (answer[0], error(answer))


async def test_a_body_that_never_ends_is_504(client: Client) -> None:
    client.exchange.limits = Limits(request_timeout=0.4)

    wire = Wire(client.app)
    wire.feed(head_of("POST", INFER, {"content-length": "50"}) + b"{")
    (answer,) = await wire.answers()
    assert (504, "the deadline passed before the request's body arrived") == (answer[0], error(answer))


async def test_a_caller_who_leaves_frees_its_place(client: Client) -> None:
    slow = Slow()
    client.exchange.serve(slow.model, Batching(8))
    running = asyncio.ensure_future(client.infer())
    await slow.wait_until_busy()

    assert NO_ANSWER == await client.send("POST", INFER, REQUEST, leaves=True)
    assert 0 == client.exchange.metrics.waiting()
    slow.go_on.set()
    assert 200 == (await running)[0]
    assert 1 == slow.runs
    assert b'modelward_requests_total{code="499",transport="rest"} 1.0' in client.exchange.metrics.exposition()


async def test_a_caller_who_leaves_in_the_middle_of_its_body(client: Client) -> None:
    wire = Wire(client.app)
    wire.feed(head_of("POST", INFER, {"content-length": "50"}))
    wire.hang_up()
    await settled()
    assert b"" == wire.sent
    assert b'modelward_requests_total{code="499",transport="rest"} 1.0' in client.exchange.metrics.exposition()


async def test_a_cancelled_server_is_not_mistaken_for_a_caller_who_left(client: Client) -> None:
    slow = Slow()
    client.exchange.serve(slow.model, None)
    wire = Wire(client.app)
    wire.feed(head_of("POST", INFER, {"content-length": str(len(REQUEST))}) + REQUEST)
    await slow.wait_until_busy()
    wire.connection.give_up()
    await settled()
    assert b'code="499"' not in client.exchange.metrics.exposition()
    slow.go_on.set()


async def test_draining_answers_who_is_in_flight_and_sends_the_others_elsewhere(client: Client) -> None:
    slow = Slow()
    client.exchange.serve(slow.model, None)
    running = asyncio.ensure_future(client.infer())
    await slow.wait_until_busy()
    client.exchange.retire()
    assert 503 == (await client.send("GET", "/v2/health/ready"))[0]
    assert "close" == (await client.send("GET", "/v2/health/live"))[1]["connection"]
    late = asyncio.ensure_future(client.infer())
    await until(lambda: client.exchange.metrics.waiting() == 1)
    draining = asyncio.ensure_future(client.exchange.drain())
    await asyncio.sleep(0.02)
    refused = await client.infer()
    assert (503, "the server is draining") == (refused[0], error(refused))
    assert not draining.done()
    slow.go_on.set()
    assert [200, 200] == [(await running)[0], (await late)[0]]
    await draining


async def test_the_access_log_has_sizes_and_no_payload(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modelward.access")
    await client.infer()
    await client.infer(b"secret")
    first, second = (vars(record) for record in caplog.records if record.name == "modelward.access")
    assert ("rest", "POST", INFER, "200") == (first["transport"], first["method"], first["path"], first["code"])
    assert (len(REQUEST), "400") == (first["requestBytes"], second["code"])
    assert first["seconds"] > 0
    assert first["responseBytes"] > 0
    assert "secret" not in str(second)


SECRET = "jo@example.com 4111111111111111"
LOGGED = [
    # why this row, the path, as the log has it
    ("our model", INFER, INFER),
    ("our model's version", "/v2/models/tiny/versions/1/ready", "/v2/models/tiny/versions/1/ready"),
    ("the model itself", "/v2/models/tiny", "/v2/models/tiny"),
    ("another model", f"/v2/models/{SECRET}/infer", "/v2/models/{other}/infer"),
    ("another version", f"/v2/models/tiny/versions/{SECRET}", "/v2/models/tiny/versions/{other}"),
    (
        "another model of another version",
        f"/v2/models/{SECRET}/versions/{SECRET}",
        "/v2/models/{other}/versions/{other}",
    ),
    ("a model to load", f"/v2/repository/models/{SECRET}/load", "/v2/repository/models/{other}/load"),
    ("no path of ours", f"/v2/{SECRET}", "{other}"),
    ("the index", "/v2/repository/index", "/v2/repository/index"),
]


@pytest.mark.parametrize(("reason", "path", "logged"), LOGGED, ids=[row[0] for row in LOGGED])
async def test_no_word_of_the_callers_path_is_logged_or_repeated(
    reason: str, path: str, logged: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await client.send("GET", quote(path))
    (record,) = (vars(record) for record in caplog.records if record.name == "modelward.access")
    assert logged == record["path"], reason
    assert SECRET not in str(record)
    assert SECRET.encode() not in answer[2]


async def test_metrics_tell_codes_stages_and_batches(client: Client) -> None:
    await client.infer()
    await client.infer(b"")
    text = client.exchange.metrics.exposition().decode()
    for line in (
        'modelward_requests_total{code="200",transport="rest"} 1.0',
        'modelward_requests_total{code="400",transport="rest"} 1.0',
        'modelward_stage_seconds_count{stage="decode"} 1.0',
        'modelward_stage_seconds_count{stage="queue"} 1.0',
        'modelward_stage_seconds_count{stage="run"} 1.0',
        'modelward_stage_seconds_count{stage="encode"} 1.0',
        'modelward_stage_seconds_count{stage="total"} 1.0',
        "modelward_batch_requests_count 1.0",
        "modelward_in_flight 0.0",
        "modelward_ready 1.0",
        'modelward_model_info{execution_provider="CPUExecutionProvider",name="tiny",version="1"} 1.0',
    ):
        assert line + "\n" in text
