"""gRPC calls through the activator's own HTTP/2, both sides on real sockets in this process: who has room, and what pods may do to it."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime.activator.authority import Authority
from modelward_runtime.activator.channel import Channel
from modelward_runtime.activator.config import parse_routes
from modelward_runtime.activator.connection import Crowd
from modelward_runtime.activator.endpoints import Listed
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.ports import Ports
from modelward_runtime.activator.probing import Prober
from modelward_runtime.activator.route import ApiPlace, LiveRoute, Surroundings
from modelward_runtime.activator.share import PER_CALL, Common
from modelward_runtime.http2 import frames
from modelward_runtime.http2.client import ClientConnection, Exchange
from modelward_runtime.http2.faults import Code
from modelward_runtime.http2.frames import END_HEADERS, END_STREAM, Setting, Type
from modelward_runtime.http2.hpack import Encoder, Fields
from tests.activators import call
from tests.http2_wire import Transport
from tests.loop_clock import put_forward
from tests.ports import free_ports
from tests.until import PATIENCE, until

SERVICE = b"/inference.GRPCInferenceService/"
MESSAGE = b"\0\0\0\0\3\x0a\x01m"  # of model m
GRPC: Fields = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
Pod = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Stage:
    """An activator's ports, and one caller."""

    def __init__(self, folder: Path, room: int) -> None:
        self.memory = Common(room * PER_CALL)
        self.metrics = Metrics()
        place = ApiPlace("https://nowhere.invalid", folder, folder)
        self.around = Surroundings(place, Common(1000), self.memory, self.metrics, Prober(), lambda: None)
        crowd = Crowd(1000, 1000, 1000)
        self.ports = Ports("127.0.0.1", Authority(folder), self.metrics, crowd)
        self.routes: dict[str, LiveRoute] = {}
        self.channels: dict[str, Channel] = {}

    async def model(self, namespace: str, name: str) -> None:
        """A model at zero, called m by its callers."""
        http, grpc = free_ports(2)
        access = {"authentication": {"mode": "None"}}
        model = {"name": "m", "version": "1"}
        one: dict[str, Any] = {
            "namespace": namespace,
            "name": name,
            "ports": {"http": http, "grpc": grpc},
            "access": access,
            "model": model,
        }
        one |= {
            "tls": None,
            "holdSeconds": int(4 * PATIENCE),
            "maxHeld": 100,
            "wake": True,
            "refusal": None,
            "maxBodyBytes": 1 << 26,
        }
        (config,) = parse_routes(json.dumps({"apiVersion": "activator/v1", "routes": [one]}))
        self.routes[name] = LiveRoute(config, self.around)
        assert 0 == await self.ports.open(self.routes.values())
        self.channels[name] = Channel("127.0.0.1", grpc, None)

    async def call(self, name: str, method: bytes = b"ModelInfer", body: bytes = MESSAGE) -> Exchange:
        begins = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", SERVICE + method))
        sent = (await self.channels[name].connect()).request(begins, ((b":authority", b"m"), *GRPC))
        await sent.write(body)
        sent.end()
        return sent

    async def refused(self, name: str) -> bool:
        """Another call finds no room."""
        held = self.routes[name].line.held
        told = asyncio.ensure_future((await self.call(name)).head())
        await until(lambda: told.done() or self.routes[name].line.held > held)
        if told.done():
            return b"8" == dict(await told)[b"grpc-status"]
        told.cancel()
        await asyncio.wait([told])
        return False


@pytest.fixture
async def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("modelward_runtime.activator.channel.CONNECT_SECONDS", PATIENCE)
    monkeypatch.setattr("modelward_runtime.activator.ports.AGE", 4 * PATIENCE)
    made = Stage(tmp_path, 12)
    yield made
    for channel in made.channels.values():
        channel.close()
    for live in made.routes.values():
        live.close()
    await made.ports.drain(0)
    assert 0 == made.memory.taken, "what calls took they have given back"


async def test_one_tenants_calls_leave_room_for_anothers_and_health_is_told(on: Stage) -> None:
    for namespace, name in (("evil", "a"), ("evil", "b"), ("risk", "c")):
        await on.model(namespace, name)
    assert [False] * 6 + [True] == [await on.refused("a") for _ in range(7)], "half"
    assert [False] * 2 + [True] == [await on.refused("b") for _ in range(3)], "two thirds together"
    assert [False] * 2 + [True] == [await on.refused("c") for _ in range(3)], "half of the rest"
    path = "/v2/models/m/infer"
    port = on.routes["c"].config.ports.http
    status, _, body = await asyncio.to_thread(call, "POST", "127.0.0.1", port, path, b"{}")
    assert 429 == status, "over REST, too"
    assert b"too many calls" in body
    alive = await on.call("a", b"ServerLive", b"\0\0\0\0\0")
    await alive.head()
    assert b"\0\0\0\0\2\x08\x01" == await alive.piece()


# ---- pods


@asynccontextmanager
async def pod(on: Stage, serve: Pod) -> AsyncIterator[list[int]]:
    """A pod of model m that says SETTINGS and then what `serve` says; a line for each connection that it got."""
    came: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(len(came))
        writers.append(writer)
        await reader.readexactly(len(frames.PREFACE))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    await on.model("risk", "m")
    port = server.sockets[0].getsockname()[1]
    on.routes["m"].list_pods({"u": Listed("u", "127.0.0.1", 1, port, True, False)})
    try:
        yield came
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    word, flags, number = frames.HEAD.unpack(await reader.readexactly(9))
    return word & 0xFF, flags, number, await reader.readexactly(word >> 8)


async def next_call(reader: asyncio.StreamReader) -> int:
    """The stream of a call that has come whole."""
    while True:
        kind, flags, number, _ = await next_frame(reader)
        if kind == Type.DATA and flags & END_STREAM:
            return number


def answer(encoder: Encoder, number: int) -> bytes:
    head = encoder.encode((), ((b":status", b"200"), (b"content-type", b"application/grpc"), (b"first", b"1")))
    last = encoder.encode((), ((b"grpc-status", b"0"), (b"last", b"2")))
    return (
        frames.frame(Type.HEADERS, END_HEADERS, number, head)
        + frames.frame(Type.DATA, 0, number, MESSAGE)
        + frames.frame(Type.HEADERS, END_HEADERS | END_STREAM, number, last)
    )


@pytest.mark.parametrize("resets", [False, True], ids=["and nothing more", "and wants no more of the call"])
async def test_an_answer_comes_back_with_its_fields(on: Stage, resets: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        encoder = Encoder()
        writer.write(frames.settings({}))
        while True:
            number = await next_call(reader)
            writer.write(answer(encoder, number) + (frames.reset(number, Code.NO_ERROR) if resets else b""))

    async with pod(on, serve) as came:
        for _ in range(3):
            sent = await on.call("m")
            assert b"1" == dict(await sent.head())[b"first"]
            assert (MESSAGE, b"") == (await sent.piece(), await sent.piece())
            assert {b"grpc-status": b"0", b"last": b"2"} == dict(sent.trailers)
        assert [0] == came, "the connection is kept"


async def test_a_pod_that_takes_one_call_at_a_time_gets_a_connection_for_each(on: Stage) -> None:
    both = asyncio.Event()
    calls: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings({Setting.MAX_CONCURRENT_STREAMS: 1}))
        number = await next_call(reader)
        calls.append(number)
        if len(calls) == 2:
            both.set()
        await both.wait()
        writer.write(answer(Encoder(), number))

    async with pod(on, serve) as came, asyncio.timeout(PATIENCE):
        sent = [await on.call("m") for _ in range(2)]
        assert [b"200"] * 2 == [dict(await one.head())[b":status"] for one in sent]
        assert 2 == len(came)


async def test_a_pod_that_says_goodbye_is_called_on_another_connection(on: Stage) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings({}))
        number = await next_call(reader)
        writer.write(frames.goaway(frames.LAST_STREAM, Code.NO_ERROR) + answer(Encoder(), number))
        await reader.read()

    async with pod(on, serve) as came, asyncio.timeout(PATIENCE):
        for count in (1, 2, 3):
            sent = await on.call("m")
            assert b"200" == dict(await sent.head())[b":status"]
            assert (MESSAGE, b"") == (await sent.piece(), await sent.piece())
            assert count == len(came)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("resets the call", frames.reset(1, Code.REFUSED_STREAM)),
        ("has not looked at it", frames.goaway(0, Code.NO_ERROR)),
        ("speaks no HTTP/2", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("begins with no status", frames.frame(Type.HEADERS, END_HEADERS, 1, Encoder().encode((), ((b"a", b"b"),)))),
        ("answers a call of nobody", frames.frame(Type.HEADERS, END_HEADERS, 9, b"\x88")),
        ("sends a body first", frames.frame(Type.DATA, 0, 1, b"x") + frames.reset(1, Code.NO_ERROR)),
        ("splits a field", frames.frame(Type.HEADERS, END_HEADERS, 1, b"\x88" + b"\0\1a\3b\r\n")),
        ("pushes", frames.frame(Type.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82")),
        ("sends more than its window", b"".join(frames.frame(Type.DATA, 0, 1, bytes(16384)) for _ in range(5))),
        ("opens too large a frame", frames.head(Type.DATA, 0, 1, 1 << 20)),
        ("hangs up", b""),
    ],
)
async def test_what_a_pod_does_wrong_is_told_as_a_pod_that_was_lost(on: Stage, reason: str, says: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings({}))
        assert 1 == await next_call(reader)
        writer.write(says)
        if not says:
            writer.transport.abort()
        await reader.read()

    async with pod(on, serve), asyncio.timeout(PATIENCE):
        told = dict(await (await on.call("m")).head())
        assert (b"14", b"1000") == (told[b"grpc-status"], told[b"grpc-retry-pushback-ms"]), reason


async def test_a_pod_that_never_says_how_it_wants_it_knows_of_no_call(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = bytearray()
    met = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        while data := await reader.read(1 << 16):
            heard.extend(data)

    async with pod(on, serve):
        await on.call("m")
        await until(met.is_set)
        assert on.routes["m"].has_pods
        put_forward(monkeypatch, 2 * PATIENCE)
        await until(lambda: not on.routes["m"].has_pods)  # it is given up, and doubted
        assert b"ModelInfer" not in heard
        assert 1 == on.routes["m"].line.held


class Unread(Transport):
    """To a pod that reads when it is told to."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self.connection = connection
        self.high = 0

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def write(self, data: bytes) -> None:
        super().write(data)
        self.waiting += len(data)
        if self.waiting > self.high:
            self.connection.pause_writing()

    def read(self) -> None:
        self.waiting = 0
        self.connection.resume_writing()

    def greet(self) -> None:
        said = frames.settings({})
        self.connection.get_buffer(-1)[: len(said)] = said
        self.connection.buffer_updated(len(said))


async def test_a_thousand_held_calls_go_to_a_pod_that_has_just_come_and_reads_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, dialled, begun = asyncio.get_running_loop(), list[Unread](), list[Exchange]()
    all_begun = asyncio.Event()

    async def dial(make: Callable[[], ClientConnection], *_: object, **__: object) -> None:
        dialled.append(Unread(make()))
        dialled[-1].connection.connection_made(dialled[-1])
        loop.call_soon(dialled[-1].greet)

    monkeypatch.setattr(loop, "create_connection", dial)
    channel = Channel("10.0.0.9", 9000, None)

    async def send(number: int) -> None:
        begins = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", SERVICE + b"ModelInfer"))
        token = b"Bearer " + random.Random(number).randbytes(1000).hex().encode()
        sent = (await channel.connect()).request(begins, ((b":authority", b"m"), (b"authorization", token), *GRPC))
        begun.append(sent)
        if len(begun) == 1000:
            all_begun.set()
        await sent.write(MESSAGE)
        sent.end()

    calls = asyncio.gather(*map(send, range(1000)))
    async with asyncio.timeout(PATIENCE):
        await all_begun.wait()
        for one in dialled:
            one.read()
        await calls
    assert not any(one.aborted for one in dialled)
    assert not any(sent.closed for sent in begun)
    assert 1000 == sum(bytes(one.written).count(MESSAGE) for one in dialled)
    assert len(dialled) < 40
    channel.close()
