"""Where no record is waited for, a small call of a short model is answered in its own turn of the event loop, and recorded all the same."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelward_runtime import grpc_server
from modelward_runtime.access.config import Limits
from modelward_runtime.audit.journal import Journal
from modelward_runtime.caller import Caller
from modelward_runtime.exchange import Exchange
from modelward_runtime.exchange import Limits as Bounds
from modelward_runtime.metrics import Metrics
from modelward_runtime.pace import Inline
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.web import App
from tests.audit_logs import auditor_on, check, journal_in
from tests.doors import door
from tests.runtime_models import doubler
from tests.unit.test_audit_calls import AT_THE_DOOR, KEY, REST, calls, judged, message, tell
from tests.unit.test_runtime_web import INFER, REQUEST
from tests.wire import Wire, ask, head_of

PROMPT = Inline(5.0)  # what a run may take on the loop: any of these models'


class Knowing:
    """A gate that remembers everybody's verdict."""

    def recall(self, authorization: bytes) -> Caller | None:
        return judged(authorization)

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        raise AssertionError(authorization)


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange("tiny", "1", Metrics(), Bounds(max_bodies=1500, request_timeout=60))
    made.serve(doubler(), None, inline=PROMPT)
    for _ in range(3):  # how long a run takes is known, and the last was computed here and now
        assert (await ask(App(made, door(), max_body_bytes=2000), "POST", INFER, REQUEST))[0] == 200
    yield made
    made.close()


@pytest.fixture
async def journal(tmp_path: Path, exchange: Exchange) -> Journal:
    made = journal_in(tmp_path)
    made.begin([])
    exchange.auditor = auditor_on(made, durability="Buffered")
    return made


async def recorded(exchange: Exchange, journal: Journal, folder: Path) -> list[dict[str, Any]]:
    """All records of calls, once the log is closed; it is whole, and no room is held."""
    assert exchange.auditor
    exchange.auditor.catch_up()
    tell(exchange)
    assert journal.reserved == 0
    await journal.close(5)
    assert check(folder).is_whole
    return calls(folder)


def asked(app: App, body: bytes, headers: Mapping[str, str], path: str = INFER) -> bytes:
    """What is there when the request's own turn of the loop is over."""
    wire = Wire(app)
    wire.feed(head_of("POST", path, {"content-length": str(len(body)), **headers}) + body)
    return bytes(wire.sent)


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "with inputHmac"])
async def test_a_call_over_rest_is_answered_in_its_turn_and_recorded(
    exchange: Exchange, journal: Journal, tmp_path: Path, key: bytes
) -> None:
    assert exchange.auditor
    exchange.auditor.input_key = key
    app = App(exchange, door(), max_body_bytes=2000)
    answers = [asked(app, REQUEST, {}) for _ in range(3)]
    assert [b"HTTP/1.1 200 OK"] * 3 == [answer.split(b"\r\n", 1)[0] for answer in answers]
    found = await recorded(exchange, journal, tmp_path)
    body = len(answers[0].partition(b"\r\n\r\n")[2])
    assert [(200, "Allowed", "", "rest", len(REQUEST), body)] * 3 == [
        (call["code"], call["decision"], call["reason"], call["transport"], call["requestBytes"], call["responseBytes"])
        for call in found
    ]
    assert {64 * bool(key)} == {len(call.get("inputHmac", "")) for call in found}


@pytest.mark.parametrize(("reason", "path", "body", "headers", "expected"), REST, ids=[row[0] for row in REST])
async def test_whatever_becomes_of_it_there_is_one_record(
    exchange: Exchange,
    journal: Journal,
    tmp_path: Path,
    reason: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    expected: Any,
) -> None:
    app = App(exchange, door(), max_body_bytes=2000)
    wire = Wire(app)
    length = {} if headers.get("content-length") == "" else {"content-length": str(len(body))}
    wire.feed(head_of("POST", path, {"content-type": "application/json", **headers, **length}) + body)
    await wire.answers(1)
    (call,) = await recorded(exchange, journal, tmp_path)
    assert expected == (call["code"], call["decision"], call["reason"]), reason


async def test_who_is_known_to_be_refused_is_refused_in_the_same_turn_and_recorded(
    exchange: Exchange, journal: Journal, tmp_path: Path
) -> None:
    app = App(exchange, door(Knowing(), Limits(requests_per_second="1", burst=1)), max_body_bytes=2000)
    statuses = [
        asked(app, REQUEST, {"authorization": authorization} if authorization else {})[9:12]
        for authorization, _ in AT_THE_DOOR
    ]
    assert [str(code).encode() for _, (code, _, _) in AT_THE_DOOR] == statuses
    found = await recorded(exchange, journal, tmp_path)
    assert [record for _, record in AT_THE_DOOR] == [(call["code"], call["reason"], call["subject"]) for call in found]
    assert "Bearer" not in json.dumps(found)


async def test_one_that_waits_for_its_record_is_not_answered_before(exchange: Exchange, tmp_path: Path) -> None:
    made = journal_in(tmp_path)
    made.begin([])
    exchange.auditor = auditor_on(made, durability="Synchronous")
    app = App(exchange, door(), max_body_bytes=2000)
    for _ in range(2):
        wire = Wire(app)
        wire.feed(head_of("POST", INFER, {"content-length": str(len(REQUEST))}) + REQUEST)
        assert not wire.sent
        ((status, _, _),) = await wire.answers(1)
        assert status == 200
    await made.close(5)


async def test_calls_over_grpc_are_recorded_too(exchange: Exchange, journal: Journal, tmp_path: Path) -> None:
    server = grpc_server.create(exchange, door(), max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(3):
            await stub.ModelInfer(message())
        for bad in (message("other"), message(shape=(2, 4))):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.ModelInfer(bad)
        await stub.ModelInfer(message(), compression=grpc.Compression.Gzip)
    await server.stop(0)
    found = await recorded(exchange, journal, tmp_path)
    expected = [(200, "")] * 3 + [(404, "NotFound"), (400, "BadRequest"), (200, "")]
    assert expected == [(call["code"], call["reason"]) for call in found]
    assert {"grpc"} == {call["transport"] for call in found}
    assert message().ByteSize() == found[0]["requestBytes"]
