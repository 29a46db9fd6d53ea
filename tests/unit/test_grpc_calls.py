"""Calls of gRPC frame by frame: what no library's client would send, and when exactly what is held is given back."""

import asyncio
from typing import Any

import numpy as np
import pytest

from modelward_runtime.caller import Caller
from modelward_runtime.errors import Unauthenticated
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.grpc_call import Call
from modelward_runtime.grpc_service import WINDOW, Service
from modelward_runtime.http2 import frames
from modelward_runtime.http2.connection import Connection
from modelward_runtime.http2.faults import Code
from modelward_runtime.http2.frames import END_HEADERS, END_STREAM, Type
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.metrics import Metrics
from modelward_runtime.proto import inference_pb2 as pb
from tests.audit_logs import auditor_on
from tests.doors import door
from tests.http2_wire import Wire
from tests.runtime_models import doubler

INFER, STREAM = b"/inference.GRPCInferenceService/ModelInfer", b"/inference.GRPCInferenceService/ModelStreamInfer"
LIVE = b"/inference.GRPCInferenceService/ServerLive"
SOUND = pb.ModelInferRequest(
    model_name="tiny",
    inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": [1, 2, 3, 4]}}],
).SerializeToString()


class Slow:
    """A gate that is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    def recall(self, authorization: bytes) -> Caller | None:
        return None

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        assert "10.0.0.1" == peer
        await self.open.wait()
        return Caller("ada")


class Revoking:
    """A gate that lets a caller in once."""

    def __init__(self) -> None:
        self.asked = 0

    def recall(self, authorization: bytes) -> Caller | None:
        return None

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        self.asked += 1
        if self.asked > 1:
            raise Unauthenticated
        return Caller("ada")


def head(path: bytes) -> Fields:
    return ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"content-type", b"application/grpc"))


class Talk(Wire):
    """A wire to the real service."""

    def __init__(self, exchange: Exchange, gate: Any = None, limit: int = 1 << 20) -> None:
        self.service = Service(exchange, door(gate), limit)

        def make(connection: Connection, number: int, window: int, allowance: int) -> Call:
            return Call(connection, number, window, allowance, self.service)

        super().__init__(make)
        self.exchange = exchange

    def open(self, number: int = 1, path: bytes = INFER, *more: tuple[bytes, bytes]) -> None:
        self.say(frames.frame(Type.HEADERS, END_HEADERS, number, self.encoder.encode((), (*head(path), *more))))

    def body(self, data: bytes, number: int = 1, *, ends: bool = False) -> None:
        self.say(frames.frame(Type.DATA, END_STREAM if ends else 0, number, data))

    def heard(self) -> tuple[dict[bytes, bytes], bytes, list[int]]:
        """All fields, the body, and the types of all frames."""
        fields: dict[bytes, bytes] = {}
        body, kinds = b"", []
        for kind, _, _, payload in self.hear():
            kinds.append(kind)
            if kind == Type.HEADERS:
                fields |= dict(self.decoder.decode(payload))
            elif kind == Type.DATA:
                body += payload
        return fields, body, kinds

    async def until_done(self) -> None:
        """No call is open."""
        for _ in range(10_000):
            if not self.connection.streams:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"still open: {self.connection.streams}")

    async def status(self) -> tuple[bytes | None, str]:
        """The status and message of the one call."""
        for _ in range(10):
            await asyncio.sleep(0)
        fields, _, _ = self.heard()
        return fields.get(b"grpc-status"), fields.get(b"grpc-message", b"").decode()


def framed(message: bytes, packed: int = 0) -> bytes:
    return bytes((packed,)) + len(message).to_bytes(4, "big") + message


@pytest.fixture
async def exchange() -> Any:
    made = Exchange("tiny", "1", Metrics(), Limits(max_bodies=1 << 18, request_timeout=30))
    made.serve(doubler(), None)
    yield made
    made.close()
    assert 0 == made.bodies.held
    assert 0 == made.metrics.meter.concurrency


WRONG = [
    ("no message", b"", b"3", "the call has no message"),
    ("half a prefix", b"\0\0", b"3", "the call ends within a message"),
    ("half a message", framed(SOUND)[:-3], b"3", "the call ends within a message"),
    ("a prefix that is none", framed(SOUND, 7), b"3", "a message's prefix is none of gRPC's"),
    ("packed, but nobody says how", framed(SOUND, 1), b"3", "this content encoding is not understood, send gzip, deflate or none"),
    ("no protobuf", framed(b"\xff"), b"3", "the message is not one of this method's: its bytes are no such protobuf"),
    ("over the limit", b"\0\xff\xff\xff\xff", b"8", "request body is over the limit of 1048576 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "body", "code", "message"), WRONG)
@pytest.mark.parametrize("step", [1, 1000])
async def test_what_is_no_call_is_refused_in_words(
    exchange: Exchange, reason: str, body: bytes, code: bytes, message: str, step: int
) -> None:
    talk = Talk(exchange)
    talk.open()
    for start in range(0, len(body), step):
        if talk.connection.streams:
            talk.body(body[start : start + step])
    if talk.connection.streams:
        talk.body(b"", ends=True)
    assert (code, message) == await talk.status()
    assert not talk.connection.streams


async def test_a_message_that_is_packed_wrongly_is_refused(exchange: Exchange) -> None:
    talk = Talk(exchange)
    talk.open(1, INFER, (b"grpc-encoding", b"gzip"))
    talk.body(framed(b"no gzip", 1), ends=True)
    code, message = await talk.status()
    assert (b"3", True) == (code, message.startswith("the body is not valid gzip"))


@pytest.mark.parametrize(("path", "expected"), [(INFER, b"3"), (LIVE, b"0")])
async def test_what_follows_the_one_message_is_not_looked_at(exchange: Exchange, path: bytes, expected: bytes) -> None:
    talk = Talk(exchange)
    talk.open(1, path)
    talk.body(framed(b"\xff" if path == INFER else b"") + framed(SOUND))
    assert expected == (await talk.status())[0]


@pytest.mark.parametrize(
    ("reason", "fields", "status"),
    [
        ("a page is asked for", ((b":method", b"GET"), (b"content-type", b"application/grpc")), b"405"),
        ("JSON", ((b":method", b"POST"), (b"content-type", b"application/json")), b"415"),
        ("of no type", ((b":method", b"POST"),), b"415"),
    ],
)
async def test_what_is_not_grpc_is_told_so_by_http(
    exchange: Exchange, reason: str, fields: Fields, status: bytes
) -> None:
    talk = Talk(exchange)
    said = (fields[0], (b":scheme", b"http"), (b":path", INFER), *fields[1:])
    talk.say(frames.frame(Type.HEADERS, END_HEADERS, 1, talk.encoder.encode((), said)))
    assert {b":status": status} == talk.heard()[0]


async def test_nothing_more_is_asked_of_a_stranger_until_it_is_known_who_that_is(exchange: Exchange) -> None:
    gate = Slow()
    talk = Talk(exchange, gate)
    large = framed(SOUND + bytes((0x3A, 0x80, 0x80, 0x10)) + bytes(1 << 18))
    talk.open()
    talk.body(large[:16384])
    assert [] == talk.heard()[2], "no room, no answer"
    gate.open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    ((kind, _, number, room),) = talk.hear()
    assert (Type.WINDOW_UPDATE, 1) == (kind, number)
    assert len(large) - WINDOW <= int.from_bytes(room, "big") <= len(large)
    talk.say(frames.reset(1, Code.CANCEL))


async def test_what_a_stranger_sends_with_the_call_is_read_when_it_is_known_who_that_is(exchange: Exchange) -> None:
    gate = Slow()
    talk = Talk(exchange, gate)
    talk.open()
    talk.body(framed(SOUND)[:20])
    talk.body(framed(SOUND)[20:], ends=True)
    gate.open.set()
    await talk.until_done()
    assert b"0" == (await talk.status())[0]


async def test_a_stranger_who_leaves_is_not_asked_about_any_more(exchange: Exchange) -> None:
    gate = Slow()
    talk = Talk(exchange, gate)
    talk.open()
    await asyncio.sleep(0)
    talk.say(frames.reset(1, Code.CANCEL))
    assert 1 == talk.connection.working
    for _ in range(5):
        await asyncio.sleep(0)
    assert 0 == talk.connection.working
    assert 'code="CANCELLED",transport="grpc"} 1.0' in exchange.metrics.exposition().decode()


async def test_a_body_that_does_not_come_in_time_is_given_up(exchange: Exchange) -> None:
    talk = Talk(exchange)
    now = talk.service.loop.time()
    talk.open(1, INFER, (b"grpc-timeout", b"2S"))
    talk.open(3, INFER)
    talk.open(5, STREAM)
    for number in (1, 3, 5):
        talk.body(framed(SOUND)[:10], number)
    streams = dict(talk.connection.streams)
    late: list[list[int]] = []
    for seconds in (1.0, 3.0, 31.0, 99.0):
        talk.service.time = lambda seconds=seconds: now + seconds  # type: ignore[misc]
        for stream in list(talk.connection.streams.values()):
            stream.ticked(0)
        for _ in range(3):
            await asyncio.sleep(0)
        late.append([number for number, stream in streams.items() if stream.closed])
    assert [[], [1], [1, 3], [1, 3]] == late, "a stream may last"
    fields, _, _ = talk.heard()
    assert (b"4", b"the deadline passed before the request was complete") == (
        fields[b"grpc-status"],
        fields[b"grpc-message"],
    )
    talk.say(frames.reset(5, Code.CANCEL))
    await asyncio.sleep(0.01)


async def test_bytes_count_as_they_come_and_who_finds_no_room_is_told_when_to_come_back(exchange: Exchange) -> None:
    talk = Talk(exchange)
    talk.open(1)
    talk.body(b"\0\0\3\0\0" + bytes(1000))  # 196,608 are announced
    assert 1000 == exchange.bodies.held
    talk.body(bytes(16000))
    assert 17000 == exchange.bodies.held
    with exchange.bodies.hold() as others:
        others.reach((1 << 18) - 17001)
        talk.body(bytes(2))
        fields = await asyncio.sleep(0.01, talk.heard()[0])
        fields |= talk.heard()[0]
        assert (b"8", b"1000") == (fields[b"grpc-status"], fields[b"grpc-retry-pushback-ms"])


CUTS = [
    # why this row, bytes of a frame, of a read, whether an empty frame ends it
    ("many small frames in one read", 1000, 1 << 18, False),
    ("frames cut anywhere", 1000, 777, False),
    ("as gRPC's clients cut them", 16384, 1 << 16, False),
    ("an end of its own", 16384, 1 << 18, True),
    ("an end of its own, alone in a read", 16384, 16393, True),
    ("one frame", 1 << 20, 5000, False),
]


@pytest.mark.parametrize(("reason", "frame", "read", "apart"), CUTS, ids=[row[0] for row in CUTS])
async def test_a_large_message_is_the_same_however_it_is_cut(
    reason: str, frame: int, read: int, *, apart: bool, exchange: Exchange
) -> None:
    rows = np.arange(20_000, dtype="<f4")
    tensor = {"name": "x", "datatype": "FP32", "shape": [5000, 4]}
    message = framed(
        pb.ModelInferRequest(
            model_name="tiny", inputs=[tensor], raw_input_contents=[rows.tobytes()]
        ).SerializeToString()
    )
    talk = Talk(exchange)
    for number in (1, 3):
        talk.open(number)
        talk.say(frames.window_update(0, 1 << 17) + frames.window_update(number, 1 << 17))
        starts = range(0, len(message), frame)
        data = b"".join(
            frames.frame(
                Type.DATA, 0 if apart or start < starts[-1] else END_STREAM, number, message[start : start + frame]
            )
            for start in starts
        )
        talk.say(data + frames.frame(Type.DATA, END_STREAM, number, b"") * apart, [read] * 200)
        await talk.until_done()
        fields, body, _ = talk.heard()
        answer = pb.ModelInferResponse.FromString(body[5:])
        assert b"0" == fields[b"grpc-status"], reason
        np.testing.assert_array_equal(2 * rows, np.frombuffer(answer.raw_output_contents[0], "<f4"))


@pytest.mark.parametrize("pads", [False, True])
async def test_a_client_that_keeps_to_its_window_is_given_all_it_needs_at_once(pads: bool, exchange: Exchange) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [12_500, 4]}
    sent = pb.ModelInferRequest(model_name="tiny", inputs=[tensor], raw_input_contents=[bytes(200_000)])
    message, window, updates, padding = framed(sent.SerializeToString()), WINDOW, 0, 100 * pads
    talk = Talk(exchange)
    talk.open(1)
    talk.say(frames.window_update(0, 1 << 18) + frames.window_update(1, 1 << 18))
    while message:
        assert window > 0, "it has to wait, and for what?"
        padding *= window > padding + 1
        size = min(16_000, window - (padding + 1) * bool(padding))
        piece, message = message[:size], message[size:]
        content = bytes((padding,)) + piece + bytes(padding) if padding else piece
        window -= len(content)
        flags = frames.PADDED * bool(padding) | END_STREAM * (not message)
        talk.say(frames.frame(Type.DATA, flags, 1, content), [7000])
        for kind, _, number, payload in talk.hear():
            if kind == Type.WINDOW_UPDATE and number == 1:
                window, updates = window + int.from_bytes(payload, "big"), updates + 1
            if message:
                assert kind == Type.WINDOW_UPDATE
    await talk.until_done()
    assert pads or updates == 1
    assert b"0" == talk.heard()[0][b"grpc-status"]


async def test_who_leaves_before_anything_was_done_gives_back_what_was_held(exchange: Exchange) -> None:
    talk = Talk(exchange)
    talk.open()
    block = talk.encoder.encode((), head(INFER))
    message = framed(SOUND)
    talk.body(message[:30])
    talk.say(
        frames.frame(Type.DATA, END_STREAM, 1, message[30:])  # a task is made
        + frames.reset(1, Code.CANCEL)  # in the same read
        + frames.frame(Type.HEADERS, END_HEADERS, 3, block)
        + frames.frame(Type.DATA, 0, 3, message[:9])
        + frames.reset(3, Code.CANCEL)
    )
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert (0, 0, {}) == (exchange.bodies.held, talk.connection.working, talk.connection.streams)


async def test_a_client_that_sends_faster_than_it_is_answered_gets_no_more_room(exchange: Exchange) -> None:
    talk = Talk(exchange)
    talk.open(1, STREAM)
    message = framed(SOUND)
    sent = 0
    while talk.connection.streams[1].allowance >= 30 * len(message):
        talk.body(message * 30)
        sent += 30
    assert not [kind for kind in talk.heard()[2] if kind == Type.WINDOW_UPDATE]
    assert WINDOW // len(message) >= sent > 100
    talk.say(frames.window_update(0, 1 << 20) + frames.window_update(1, 1 << 20))
    room = answers = 0
    while answers < sent:
        await asyncio.sleep(0.001)
        for kind, _, number, payload in talk.hear():
            answers += kind == Type.DATA
            room += int.from_bytes(payload, "big") if (kind, number) == (Type.WINDOW_UPDATE, 1) else 0
    assert room >= WINDOW // 2, "room again for what was read"
    talk.body(b"", ends=True)
    await talk.until_done()


@pytest.mark.parametrize("follows", [b"\x07\0\0\0\0", b"\0\xff\xff\xff\xff"], ids=["no prefix", "too large"])
async def test_a_message_is_given_back_where_what_follows_in_the_same_read_is_none(
    follows: bytes, exchange: Exchange
) -> None:
    talk = Talk(exchange)
    message = framed(SOUND + bytes(1 << 17))
    talk.open(path=STREAM)
    talk.body(message[:100])
    talk.body(message[100:-100])
    assert exchange.bodies.held > 1 << 16
    talk.body(message[-100:] + follows)
    await talk.until_done()
    assert 0 == exchange.bodies.held


@pytest.mark.parametrize(("path", "status"), [(INFER, b"14"), (STREAM, b"0")], ids=["one", "of a stream"])
async def test_a_message_is_given_back_where_its_record_cannot_be_kept(
    path: bytes, status: bytes, exchange: Exchange
) -> None:
    exchange.auditor = auditor_on(None)
    talk = Talk(exchange)
    message = framed(SOUND)
    talk.open(path=path)
    talk.body(message[:30])
    talk.body(message[30:], ends=True)
    await talk.until_done()
    fields, body, _ = talk.heard()
    assert (status, path == STREAM) == (fields[b"grpc-status"], b"the audit log takes no records" in body)
    assert 0 == exchange.bodies.held


async def test_a_stream_whose_right_is_lost_gives_back_what_waits_and_what_is_half_here(exchange: Exchange) -> None:
    talk = Talk(exchange, Revoking())
    message = framed(SOUND)
    talk.open(1, STREAM)
    await asyncio.sleep(0.01)
    for _ in range(3):
        talk.body(message[:30])
        talk.body(message[30:])
    talk.body(message[:30])
    assert exchange.bodies.held > 3 * len(SOUND)
    await talk.until_done()
    assert b"16" == talk.heard()[0][b"grpc-status"]
    assert 0 == exchange.bodies.held


@pytest.mark.parametrize("rest", [1000, 1 << 16], ids=["partly", "whole"])
async def test_nothing_is_held_of_what_follows_the_one_message_in_the_same_read(rest: int, exchange: Exchange) -> None:
    talk = Talk(exchange)
    message = framed(SOUND)
    talk.open()
    talk.body(message[:30])
    talk.body(message[30:] + framed(bytes(1 << 16))[: 5 + rest])
    await talk.until_done()
    assert b"0" == talk.heard()[0][b"grpc-status"]
    assert 0 == exchange.bodies.held
