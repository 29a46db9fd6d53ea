"""Every inference call over both transports leaves one record, answered or refused; nothing that it sent is in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward_runtime import grpc_server
from modelward_runtime.access.config import Limits
from modelward_runtime.audit.entry import input_hmac, outcome
from modelward_runtime.audit.journal import Journal
from modelward_runtime.caller import Caller
from modelward_runtime.errors import (
    ApiError,
    BadRequest,
    BodiesFull,
    Forbidden,
    PolicyViolated,
    PredictForbidden,
    QueueFull,
    Unauthenticated,
    Unavailable,
)
from modelward_runtime.exchange import Exchange
from modelward_runtime.exchange import Limits as Bounds
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import TensorSpec, face_of
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.sinks.sink import SinkFailed
from modelward_runtime.states import Decoded
from modelward_runtime.web import App
from tests.audit_logs import auditor_on, check, journal_in, kinds, records
from tests.doors import door
from tests.loop_clock import LATER
from tests.runtime_models import doubler, echo
from tests.unit.test_runtime_web import INFER, REQUEST, Client
from tests.wire import Wire, head_of, settled

KEY = b"k" * 32


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange("tiny", "1", Metrics(), Bounds(max_bodies=1500, request_timeout=60))
    made.serve(doubler(), None)
    yield made
    made.close()


@pytest.fixture
async def journal(tmp_path: Path, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """Refusals are told when a test says so."""
    monkeypatch.setattr("modelward_runtime.audit.auditor.SECONDS", LATER)
    made = journal_in(tmp_path)
    made.begin([])
    exchange.auditor = auditor_on(made, durability="Synchronous", input_key=KEY)
    return made


@pytest.fixture
async def stub(exchange: Exchange) -> AsyncIterator[Any]:
    server = grpc_server.create(exchange, door(), max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)
    await server.stop(0)


def message(name: str = "tiny", shape: tuple[int, int] = (1, 4)) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=shape)
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    return pb.ModelInferRequest(model_name=name, id=name, inputs=[tensor])


def calls(folder: Path) -> list[dict[str, Any]]:
    return [record["data"] for record in records(folder) if record["type"].endswith(".prediction")]


REST = [
    ("answered", INFER, REQUEST, {}, (200, "Allowed", "")),
    ("another version", "/v2/models/tiny/versions/9/infer", REQUEST, {}, (404, "Denied", "NotFound")),
    ("no JSON", INFER, b"{", {}, (400, "Denied", "BadRequest")),
    ("no tensor of the model", INFER, REQUEST.replace(b'"x"', b'"q"'), {}, (400, "Denied", "BadRequest")),
    ("too large", INFER, b" " * 2001, {}, (413, "Denied", "BodyTooLarge")),
    ("no room for its body", INFER, b" " * 1600, {}, (429, "Denied", "BodiesFull")),
    ("a type nobody reads", INFER, REQUEST, {"content-type": "text/html"}, (415, "Denied", "UnsupportedMedia")),
    ("no length", INFER, REQUEST, {"content-length": ""}, (411, "Denied", "LengthRequired")),
]


@pytest.mark.parametrize(("reason", "path", "body", "headers", "expected"), REST, ids=[row[0] for row in REST])
async def test_a_call_over_rest_leaves_a_record(
    exchange: Exchange,
    journal: Journal,
    tmp_path: Path,
    reason: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    expected: Any,
) -> None:
    status, _, answer = await Client(exchange).send("POST", path, body, headers)
    if status == 429:
        assert [] == calls(tmp_path), "told with others like it"
        tell(exchange)
        await journal.close(5)
    (call,) = calls(tmp_path)  # safe before the answer left
    assert (*expected, status) == (call["code"], call["decision"], call["reason"], expected[0]), reason
    assert ("rest", "tiny", "1", "g1", "sha256:" + "1" * 64) == (
        call["transport"], call["model"], call["version"], call["policyGeneration"], call["digest"]
    )  # fmt: skip
    if status == 200:
        assert (len(REQUEST), len(answer)) == (call["requestBytes"], call["responseBytes"])
        assert 64 == len(call["inputHmac"])
    await journal.close(5)
    assert check(tmp_path).is_whole


AT_THE_DOOR = [
    # what is shown at a door that takes one call a second, and the code, reason and subject of its record
    ("Bearer good", (200, "", "alice")),
    ("Bearer good", (429, "rate-limited", "alice")),
    ("Bearer bad", (403, "forbidden", "mallory")),
    ("", (401, "unauthenticated", "")),
]


def judged(authorization: bytes) -> Caller:
    """Return who one token is of; the rest is refused."""
    if authorization == b"Bearer good":
        return Caller("alice")
    raise PredictForbidden("mallory") if authorization else Unauthenticated


class Strict:
    """A gate that has to ask about everybody."""

    def recall(self, authorization: bytes) -> Caller | None:
        return None

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        return judged(authorization)


async def test_who_is_refused_at_the_door_is_recorded_over_rest(
    exchange: Exchange, journal: Journal, tmp_path: Path
) -> None:
    client = Client(exchange)
    client.app = App(exchange, door(Strict(), Limits(requests_per_second="1", burst=1)), max_body_bytes=2000)
    for authorization, _ in AT_THE_DOOR:
        await client.send("POST", INFER, REQUEST, {"authorization": authorization})
    tell(exchange)
    await journal.close(5)
    assert [record for _, record in AT_THE_DOOR] == [
        (call["code"], call["reason"], call["subject"]) for call in calls(tmp_path)
    ]
    assert "Bearer" not in json.dumps(records(tmp_path))


async def test_who_is_refused_at_the_door_is_recorded_over_grpc(
    exchange: Exchange, journal: Journal, tmp_path: Path
) -> None:
    server = grpc_server.create(exchange, door(Strict()), max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        await stub.ModelInfer(message(), metadata=[("authorization", "Bearer good")])
        async for _ in stub.ModelStreamInfer(iter([message()]), metadata=[("authorization", "Bearer good")]):
            pass
        for metadata in ([("authorization", "Bearer bad")], []):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.ModelInfer(message(), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ServerMetadata(pb.ServerMetadataRequest())
    await server.stop(0)
    tell(exchange)
    await journal.close(5)
    expected = [(200, "", "alice"), (200, "", "alice"), (403, "forbidden", "mallory"), (401, "unauthenticated", "")]
    assert expected == [(call["code"], call["reason"], call["subject"]) for call in calls(tmp_path)]


async def test_a_refusal_does_not_wait_for_a_log_that_takes_no_records(exchange: Exchange) -> None:
    exchange.auditor = auditor_on(None)
    server = grpc_server.create(exchange, door(Strict()), max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message())
    await server.stop(0)
    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()


def tell(exchange: Exchange) -> None:
    """As a second later."""
    assert exchange.auditor
    exchange.auditor.tell_refusals()


async def test_a_flood_without_a_token_is_one_record_a_second_and_holds_no_room(
    exchange: Exchange, journal: Journal, tmp_path: Path
) -> None:
    client = Client(exchange)
    client.app = App(exchange, door(Strict()), max_body_bytes=2000)
    for path in [INFER] * 500 + ["/x/infer"] * 50:
        assert 401 == (await client.send("POST", path, b""))[0]
    assert 0 == journal.reserved
    tell(exchange)
    assert 200 == (await client.send("POST", INFER, REQUEST, {"authorization": "Bearer good"}))[0]
    await journal.close(5)
    assert [(401, 500), (200, 1)] == [(call["code"], call.get("calls", 1)) for call in calls(tmp_path)]
    assert check(tmp_path).is_whole


async def test_a_permitted_caller_who_floods_is_one_record_a_second_and_holds_no_room(
    exchange: Exchange, journal: Journal, tmp_path: Path
) -> None:
    client = Client(exchange)
    client.app = App(exchange, door(Strict(), Limits(requests_per_second="1", burst=2)), max_body_bytes=2000)
    found = [(await client.send("POST", INFER, REQUEST, {"authorization": "Bearer good"}))[0] for _ in range(300)]
    assert [200, 200, *[429] * 298] == found
    assert 0 == journal.reserved
    tell(exchange)
    await journal.close(5)
    expected = [(200, 1, "alice"), (200, 1, "alice"), (429, 298, "alice")]
    assert expected == [(call["code"], call.get("calls", 1), call["subject"]) for call in calls(tmp_path)]
    assert check(tmp_path).is_whole


async def test_while_the_sink_takes_nothing_refusals_stay_counted(exchange: Exchange, journal: Journal) -> None:
    auditor = exchange.auditor
    assert auditor
    before = journal.waiting
    journal._outlet._sink.write = _full  # type: ignore[method-assign]
    for round_ in range(50):
        for number in range(100):
            auditor.turn_away("rest", PredictForbidden(f"mallory-{round_}-{number}"))
        auditor.tell_refusals()
        await asyncio.sleep(0)
    assert journal.waiting - before <= 65, "64 with a name, one without"
    assert 4900 == sum(auditor._refusals._calls.values())
    auditor.tell_refusals(at_once=True)
    await journal._outlet.close(0.1)


def _full(*_: object, **__: object) -> None:
    raise SinkFailed("full")


async def test_what_is_no_inference_leaves_none(exchange: Exchange, journal: Journal, tmp_path: Path) -> None:
    client = Client(exchange)
    for method, path in (
        ("GET", "/v2"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/tiny"),
        ("GET", "/nothing"),
        ("POST", "/x/infer"),
        ("POST", "/v2/models/other/infer"),
    ):
        await client.send(method, path)
    await journal.close(5)
    assert [] == calls(tmp_path)


async def test_calls_over_grpc_and_each_of_a_stream_leave_records(
    exchange: Exchange, journal: Journal, stub: Any, tmp_path: Path
) -> None:
    await stub.ModelInfer(message())
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ModelInfer(message("other"))
    async for _ in stub.ModelStreamInfer(iter([message(), message(shape=(2, 4)), message()])):
        pass
    expected = [(200, ""), (404, "NotFound"), (200, ""), (400, "BadRequest"), (200, "")]
    found = calls(tmp_path)
    assert expected == [(call["code"], call["reason"]) for call in found]
    assert {"grpc"} == {call["transport"] for call in found}
    assert found[0]["requestBytes"] == message().ByteSize()
    assert found[0]["responseBytes"] > 0
    await journal.close(5)


async def test_the_same_input_has_one_hmac_over_both_transports(
    exchange: Exchange, journal: Journal, stub: Any, tmp_path: Path
) -> None:
    await stub.ModelInfer(message())
    await Client(exchange).infer()
    await Client(exchange).infer(REQUEST.replace(b"[1, 2, 3, 4]", b"[1, 2, 3, 5]"))
    first, second, third = (call["inputHmac"] for call in calls(tmp_path))
    assert first == second != third
    await journal.close(5)


async def test_while_its_log_cannot_be_written_the_server_is_not_ready(exchange: Exchange) -> None:
    exchange.auditor = auditor_on(None)
    client = Client(exchange)
    assert 503 == (await client.send("GET", "/v2/health/ready"))[0]
    status, _, body = await client.infer()
    assert (503, "the audit log takes no records") == (status, json.loads(body)["error"])
    exchange.auditor = None
    assert 200 == (await client.send("GET", "/v2/health/ready"))[0]


async def test_a_caller_who_leaves_leaves_a_record(exchange: Exchange, journal: Journal, tmp_path: Path) -> None:
    wire = Wire(App(exchange, door(), max_body_bytes=100))
    wire.feed(head_of("POST", INFER, {"content-length": "9"}))
    wire.hang_up()
    await settled()
    assert b"" == wire.sent
    await journal.close(5)
    (call,) = calls(tmp_path)
    assert (499, "Failed", "ClientGone") == (call["code"], call["decision"], call["reason"])


async def test_a_flaw_of_ours_is_recorded_without_its_text(
    exchange: Exchange, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(exchange, "begin", broken)
    assert 500 == (await Client(exchange).infer())[0]
    await journal.close(5)
    (call,) = calls(tmp_path)
    assert (500, "Failed", "InternalError") == (call["code"], call["decision"], call["reason"])
    assert "secret" not in json.dumps(records(tmp_path))


OUTCOMES = [
    ("a rule of a privacy policy", PolicyViolated("pii-rejected", "input 'text' holds an address"), (400, "Denied", "pii-rejected")),
    ("another refusal", Forbidden("no"), (403, "Denied", "Forbidden")),
    ("too much", QueueFull(3), (429, "Denied", "QueueFull")),
    ("too much of bodies", BodiesFull(3, 2), (429, "Denied", "BodiesFull")),
    ("away", Unavailable("draining"), (503, "Failed", "Unavailable")),
    ("a caller's text is no code", BadRequest("policy: Secret Text: x"), (400, "Denied", "BadRequest")),
    ("a flaw, named", ApiError("internal error"), (500, "Failed", "InternalError")),
    ("a flaw", ValueError("x"), (500, "Failed", "InternalError")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "error", "expected"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_an_error_has_a_stable_reason(reason: str, error: Exception, expected: tuple[int, str, str]) -> None:
    decision, code, name = outcome(error)
    assert expected == (code, decision, name), reason


TEXT = TensorSpec("a", "BYTES", (2,))
HMACS: list[tuple[str, TensorSpec, Any, TensorSpec, Any]] = [
    ("value", TensorSpec("a", "FP32", (2,)), np.array([1, 2], np.float32), TensorSpec("a", "FP32", (2,)), np.array([1, 3], np.float32)),
    ("shape", TensorSpec("a", "INT8", (4,)), np.zeros(4, np.int8), TensorSpec("a", "INT8", (2, 2)), np.zeros((2, 2), np.int8)),
    ("name", TensorSpec("a", "INT8", (1,)), np.zeros(1, np.int8), TensorSpec("b", "INT8", (1,)), np.zeros(1, np.int8)),
    ("type", TensorSpec("a", "INT8", (1,)), np.zeros(1, np.int8), TensorSpec("a", "UINT8", (1,)), np.zeros(1, np.uint8)),
    ("split of text", TEXT, np.array(["ab", "c"], object), TEXT, np.array(["a", "bc"], object)),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "one", "first", "two", "second"), HMACS, ids=[row[0] for row in HMACS])
def test_other_inputs_have_other_hmacs(reason: str, one: TensorSpec, first: Any, two: TensorSpec, second: Any) -> None:
    def made(spec: TensorSpec, array: Any, key: bytes = KEY) -> str:
        return input_hmac(key, face_of(echo(spec)), Decoded({spec.name: array}, ("out",)))

    assert made(one, first) == made(one, first)
    assert made(one, first) != made(two, second), reason
    assert made(one, first) != made(one, first, b"another key 1234"), reason


async def test_without_a_policy_nothing_is_made(exchange: Exchange, tmp_path: Path) -> None:
    assert exchange.auditor is None
    assert 200 == (await Client(exchange).infer())[0]
    assert [] == kinds(records(tmp_path))


def test_the_table_covers_what_a_call_can_be_refused_with_before_it_is_decoded() -> None:
    refused: Callable[[Any], bool] = lambda row: row[4][0] != 200  # noqa: E731
    assert {400, 404, 411, 413, 415, 429} == {row[4][0] for row in filter(refused, REST)}
