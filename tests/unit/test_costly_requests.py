"""A small body that asks for much: nothing is made of it before it is known how much, and what takes long is done beside the event loop.

The loop's own work is told by its thread's processor time (each of these took more than a second for 16 MiB); what is made, by tracemalloc.
"""

import gzip
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from google.protobuf.internal.encoder import _VarintBytes as varint

from modelward_runtime import wire
from modelward_runtime.caller import ANONYMOUS
from modelward_runtime.codec import RestCall
from modelward_runtime.errors import ApiError, BadRequest
from modelward_runtime.exchange import Exchange
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, TensorSpec, face_of
from modelward_runtime.pace import Inline
from modelward_runtime.passage import OFF_LOOP_BYTES
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.protobuf import GrpcCall
from modelward_runtime.web import App
from modelward_runtime.wire import Bytes, is_long
from tests.audit_logs import auditor_on
from tests.brief import Work, brief
from tests.doors import door
from tests.runtime_models import Double, doubler, echo
from tests.unit.test_grpc_calls import INFER, STREAM, Talk
from tests.wire import ask

MIB = 1 << 20
PIECE = 1 << 16  # what a client may send before it hears more
TEXT = echo(TensorSpec("s", "BYTES", (-1,)))
LATE = 1e12


READY, LOAD = (b"/inference.GRPCInferenceService/" + name for name in (b"ModelReady", b"RepositoryModelLoad"))


class Client(Talk):
    """Sends one call's message."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, limit=64 * MIB)

    async def ask(self, work: Work, message: bytes, path: bytes, *, packed: bool) -> tuple[bytes | None, str]:
        """The status and the words of a call, and what the event loop had to do from its last byte on."""
        body = bytes((packed,)) + len(message).to_bytes(4, "big") + message
        self.open(1, path, (b"grpc-encoding", b"gzip"))
        self.body(body[:5])
        for place in range(5, len(body) - 1, PIECE):
            if self.connection.streams:
                self.body(body[place : min(place + PIECE, len(body) - 1)])
        with work.measured():
            if self.connection.streams:
                self.body(body[-1:], ends=True)
            await self.until_done()
        return await self.status()


async def answer_to(
    exchange: Exchange, message: bytes, path: bytes = INFER, *, packed: bool = False
) -> tuple[bytes | None, str]:
    """The status and the words of a call that costs the event loop little."""
    for work in brief():
        answer = await Client(exchange).ask(work, message, path, packed=packed)
    return answer


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + bytes(varint(len(content))) + content


NAME = field(1, b"tiny")
OTHER = b"\xf8\x07\x00"  # a field that nobody knows: protobuf's parser reads such a message
PARAMETER = b"\x22\x00"
FLOOD: dict[str, tuple[Callable[[int], bytes], str]] = {
    "inputs": (lambda size: NAME + b"\x2a\x00" * (size // 2), "inputs: at most 4096 are taken, whatever the model"),
    "outputs": (lambda size: NAME + b"\x32\x00" * (size // 2), "outputs: at most 4096 are taken"),
    "raw tensors": (lambda size: NAME + b"\x3a\x00" * (size // 2), "raw_input_contents: at most 4096 are taken"),
    "axes": (
        lambda size: NAME + field(5, field(1, b"x") + field(2, b"FP32") + field(3, b"\x01" * size)),
        "input 'x': expected shape [-1, 4], got [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] and ",
    ),
    "axes one by one": (
        lambda size: NAME + field(5, field(1, b"x") + b"\x18\x01" * (size // 2)),
        "at most 32768 fields of a message are read",
    ),
    "unknown fields": (lambda size: NAME + OTHER * (size // 3), "at most 32768 fields of a message are read"),
    "parameters": (lambda size: NAME + PARAMETER * (size // 2), "at most 32768 fields of a message are read"),
    "an input's parameters": (
        lambda size: NAME + field(5, b"".join(field(4, field(1, b"%x" % n)) for n in range(size // 12))),
        "at most 32768 fields of a message are read",
    ),
    "parameters of some length": (
        lambda size: NAME + field(5, field(4, field(1, b"a" * (size // 2))) * 2),
        "parameters: at most 262144 bytes of them are taken",
    ),
    "inputs of a rare spelling": (lambda size: OTHER + NAME + b"\x2a\x00" * (size // 2), "inputs: at most 4096"),
    "axes of a rare spelling": (
        lambda size: OTHER + NAME + field(5, field(3, b"\x01" * size)),
        "inputs[0]: no tensor has more than 64 axes",
    ),
}


@contextmanager
def made(most: int) -> Iterator[None]:
    """No more than so many bytes were held at once."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= most


@pytest.mark.parametrize("name", FLOOD)
def test_nothing_is_made_of_a_message_of_too_many_parts(name: str) -> None:
    make, told = FLOOD[name]
    message = make(4 * MIB)
    with made(4 * len(message)), pytest.raises(BadRequest) as caught:
        GrpcCall(message).decode(face_of(doubler()))
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize("name", FLOOD)
async def test_a_packed_one_costs_the_event_loop_nothing(exchange: Exchange, name: str) -> None:
    make, told = FLOOD[name]
    code, message = await answer_to(exchange, gzip.compress(make(16 * MIB), 1), packed=True)
    assert (b"3", True) == (code, message.startswith(told))


@pytest.mark.parametrize("size", [OFF_LOOP_BYTES - 100, 8 * MIB])
@pytest.mark.parametrize("name", FLOOD)
async def test_a_plain_one_costs_the_event_loop_little(exchange: Exchange, name: str, size: int) -> None:
    code, _ = await answer_to(exchange, FLOOD[name][0](size))
    assert b"3" == code


@pytest.mark.parametrize("name", ["int64_contents", "bool_contents", "uint_contents"])
async def test_typed_contents_are_read_on_a_thread(exchange: Exchange, name: str) -> None:
    message = pb.ModelInferRequest(model_name="tiny")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    getattr(tensor.contents, name).extend([1] * (8 * MIB))
    told = f"input 'x': FP32 belongs into fp32_contents, got {name}"
    assert (b"3", told) == await answer_to(exchange, message.SerializeToString())


@pytest.mark.parametrize("contents", [
    field(6, bytes(4)) + b"\x08\x01" * MIB,
    field(6, bytes(4)) + field(6, bytes(2 * MIB)),
    field(7, bytes(2 * MIB + 1)),
])  # fmt: skip
def test_contents_that_only_begin_as_floats_take_long(contents: bytes) -> None:
    def message(inside: bytes) -> bytes:
        return NAME + field(5, field(1, b"x") + field(2, b"FP32") + field(5, inside))

    assert is_long(message(contents))
    assert not is_long(message(field(6, bytes(2 * MIB))))
    assert not is_long(message(field(7, bytes(2 * MIB))))


@pytest.mark.parametrize("audited", [False, True])
@pytest.mark.parametrize("size", [8 << 10, 60 << 10])
async def test_a_rare_spelling_is_counted_on_a_thread_unless_it_is_short(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, size: int, *, audited: bool
) -> None:
    if audited:
        exchange.auditor = auditor_on(None, required=False)
    threads: list[int] = []
    count = wire._check_parts

    def counted(data: Bytes) -> None:
        threads.append(threading.get_ident())
        count(data)

    monkeypatch.setattr(wire, "_check_parts", counted)
    sound = pb.ModelInferRequest(
        model_name="tiny",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 4]}],
        raw_input_contents=[bytes(16)],
    ).SerializeToString()
    for path in (INFER, STREAM):
        for work in brief():
            threads.clear()
            told = await Client(exchange).ask(work, sound + OTHER * (size // 3), path, packed=False)
        assert (b"0", "") == told
        assert [size < PIECE >> 2] == [thread == threading.get_ident() for thread in threads]
    assert 0 == exchange.bodies.held


@pytest.mark.parametrize("path", [READY, LOAD])
@pytest.mark.parametrize("packed", [False, True])
async def test_what_is_no_inference_is_small(exchange: Exchange, path: bytes, *, packed: bool) -> None:
    sent = NAME + OTHER * (4 * MIB)
    if path == LOAD and packed:
        expected = (b"7", "load: the model of this server is fixed by its manifest")
    else:
        expected = (b"8", "request body is over the limit of 262144 bytes")
    assert expected == await answer_to(exchange, gzip.compress(sent, 1) if packed else sent, path, packed=packed)


def body(**fields: bytes) -> bytes:
    parts = {"name": b'"x"', "shape": b"[1,4]", "datatype": b'"FP32"', "data": b"[1,2,3,4]"} | {
        key: value for key, value in fields.items() if key not in {"inputs", "outputs", "sent"}
    }
    tensor = b"{%b}" % b",".join(b'"%b":%b' % (key.encode(), value) for key, value in parts.items())
    return b'{"parameters":%b,"inputs":[%b],"outputs":[%b]}' % (
        fields.get("sent", b"{}"), fields.get("inputs", tensor), fields.get("outputs", b""),
    )  # fmt: skip


def many(item: bytes, size: int) -> bytes:
    return b",".join([item] * (size // (len(item) + 1)))


JSON: dict[str, tuple[Callable[[int], bytes], str]] = {
    "inputs": (
        lambda size: body(inputs=many(b'{"name":"x","shape":[],"datatype":""}', size)),
        "inputs, outputs: at most 4096 are taken, whatever the model",
    ),
    "outputs": (lambda size: body(outputs=many(b'{"name":"y"}', size)), "inputs, outputs: at most 4096 are taken"),
    "axes": (
        lambda size: body(shape=b"[%b]" % many(b"300", size)),
        "input 'x': expected shape [-1, 4], got [300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300] and ",
    ),
    "parameters": (
        lambda size: body(sent=b"{%b}" % b",".join(b'"%x":1' % n for n in range(size // 10))),
        "parameters: at most 262144 bytes of them are taken",
    ),
    "an input's parameters": (
        lambda size: body(parameters=b"{%b}" % b",".join(b'"%x":1' % n for n in range(size // 10))),
        "parameters: at most 262144 bytes of them are taken",
    ),
    "parameters before others of the same name": (
        lambda size: body(sent=b'{%b},"parameters":5' % b",".join(b'"%x":1' % n for n in range(size // 10))),
        "not an inference request: Expected `object`, got `int` - at `$.parameters`",
    ),
    "axes before others of the same name": (
        lambda size: body(shape=b'[%b],"shape":5' % many(b"300", size)),
        "not an inference request: Expected `array`, got `int` - at `$.inputs[0].shape`",
    ),
}


@pytest.mark.parametrize("name", JSON)
def test_nothing_is_made_of_json_of_too_many_parts(name: str) -> None:
    make, told = JSON[name]
    sent = make(4 * MIB)
    with made(4 * len(sent)), pytest.raises(BadRequest) as caught:
        RestCall("tiny", "", sent, None).decode(face_of(doubler()))
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize("call", [
    lambda count: GrpcCall(NAME + field(5, field(1, b"x")) * count),
    lambda count: RestCall("tiny", "", body(inputs=many(b'{"name":"x","shape":[],"datatype":""}', 38 * count)), None),
])  # fmt: skip
def test_as_many_inputs_as_a_model_may_have_are_told_apart(call: Callable[[int], Any]) -> None:
    assert "inputs[0] is not one of the model's: s" in _refusal(lambda: call(4096).decode(face_of(TEXT)))
    assert "inputs: at most 4096 are taken, whatever the model" == _refusal(lambda: call(4097).decode(face_of(TEXT)))


def _refusal(doing: Callable[[], object]) -> str:
    with pytest.raises(ApiError) as caught:
        doing()
    return caught.value.message


WORDS = ['{"a":[1,2]}', '\\"{', "{\\", "", "é{"] * 30_000


@pytest.mark.parametrize("words", [WORDS, WORDS[:7]])
def test_texts_full_of_braces_and_quotes_are_no_objects(words: list[str]) -> None:
    sent = json.dumps({"inputs": [{"name": "s", "shape": [len(words)], "datatype": "BYTES", "data": words}]}).encode()
    assert words == RestCall("t", "", sent, None).decode(face_of(TEXT)).inputs["s"].tolist()


@pytest.mark.parametrize("sent", [
    body(shape=b'["a"]'), body(sent=b'{"a":[]}'), body(parameters=b"7"), body(outputs=b'{"name":"y","parameters":{"a":{}}}'),
    body(shape=b"[[1]]"), body(shape=b"7"), body(inputs=b"7"), body(shape=b"[1,4],"), body(name=b"7"), body(data=b""),
])  # fmt: skip
def test_a_large_body_is_refused_in_the_words_of_a_small_one(sent: bytes) -> None:
    small, large = (
        _refusal(lambda one=one: RestCall("t", "", one, None).decode(face_of(doubler())))  # type: ignore[misc]
        for one in (sent, sent.replace(b'"outputs"', b'"more":"%b","outputs"' % (b"a" * 300_000)))
    )
    assert small.partition(" (byte")[0] == large.partition(" (byte")[0]


def binary(words: bytes, count: int) -> RestCall:
    head = json.dumps(
        {
            "inputs": [
                {"name": "s", "shape": [count], "datatype": "BYTES", "parameters": {"binary_data_size": len(words)}}
            ]
        }
    ).encode()
    return RestCall("tiny", "", head + words, str(len(head)))


def raw(words: bytes, count: int) -> GrpcCall:
    message = pb.ModelInferRequest(model_name="tiny", inputs=[{"name": "s", "datatype": "BYTES", "shape": [count]}])
    message.raw_input_contents.append(words)
    return GrpcCall(message.SerializeToString())


@pytest.mark.parametrize("call", [binary, raw])
@pytest.mark.parametrize(
    ("words", "count"), [(bytes(4), 2 * MIB), ((16 * MIB).to_bytes(4, "little") + b"a" * 16 * MIB, 1)]
)
async def test_texts_are_taken_apart_and_put_together_beside_the_event_loop(
    call: Callable[[bytes, int], Any], words: bytes, count: int
) -> None:
    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        here.append(threading.current_thread() is threading.main_thread())
        return {"out_s": inputs["s"]}

    for work in brief():
        here: list[bool] = []
        exchange = Exchange("tiny", "1", Metrics())
        exchange.serve(Double(compute, TEXT.inputs, TEXT.outputs, batchable=False), None, inline=Inline(60, turn=60))
        for _ in range(3):
            await exchange.infer(call(bytes(4), 1), ANONYMOUS, LATE)
        assert here[-1], "a short one is computed here and now"
        asked = call(words * count, count)
        with work.measured():
            answer = await exchange.infer(asked, ANONYMOUS, LATE)
        assert not here[-1] or count == 1
        assert answer is not None
        exchange.close()


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made_here = Exchange("tiny", "1", Metrics())
    made_here.serve(doubler(), None)
    yield made_here
    made_here.close()


async def test_what_is_no_inference_is_small_over_rest_too(exchange: Exchange) -> None:
    app = App(exchange, door(), max_body_bytes=64 * MIB)
    parameters = b'{"parameters":{%b}}' % b",".join(b'"%x":1' % number for number in range(MIB // 8))
    for sent, headers in ((parameters, {}), (gzip.compress(parameters), {"content-encoding": "gzip"})):
        for work in brief():
            with work.measured():
                status, _, told = await ask(app, "POST", "/v2/repository/index", sent, headers)
        assert (413, {"error": "request body is over the limit of 262144 bytes"}) == (status, json.loads(told))
