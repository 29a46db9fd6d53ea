"""The bytes of all bodies at once: who is let in, who is told to come back, and that everything is given back."""

import asyncio
import gzip
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime import grpc_server
from modelward_runtime.budget import Budget, size_of_budget
from modelward_runtime.errors import BodiesFull
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.metrics import Metrics
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.doors import door
from tests.unit.test_runtime_web import LIMIT, REQUEST, Client, Slow, error
from tests.wire import NO_ANSWER, Wire, head_of, settled

MIB = 1 << 20


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=40))
def test_the_budget_is_the_sum_of_what_is_held_and_never_more(steps: list[tuple[int, int]]) -> None:
    """A request that grows is let in exactly when there is room; one that shrinks is not a request."""
    budget, sizes = Budget(100), [0] * 4
    holds = [budget.hold() for _ in sizes]
    for number, size in steps:
        fits = sum(sizes) - sizes[number] + max(size, sizes[number]) <= 100
        try:
            holds[number].reach(size)
        except BodiesFull:
            assert not fits
        else:
            assert fits
            sizes[number] = max(size, sizes[number])
        assert sum(sizes) == budget.held <= 100
    for hold in holds:
        hold.__exit__(None, None, None)
    assert 0 == budget.held


def test_a_thread_that_outlives_its_request_takes_nothing_more() -> None:
    budget = Budget(100)
    with budget.hold() as hold:
        hold.reach(10)
    with pytest.raises(BodiesFull):
        hold.reach(20)
    assert 0 == budget.held


@pytest.mark.parametrize(
    ("reason", "max_body", "memory", "expected"),
    [
        ("an eighth of the memory", 64 * MIB, 4096 * MIB, 512 * MIB),
        ("but the largest body, packed and unpacked, always gets in", 64 * MIB, 256 * MIB, 128 * MIB),
    ],
)
def test_the_size_of_the_budget(reason: str, max_body: int, memory: int, expected: int) -> None:
    assert expected == size_of_budget(max_body, memory), reason


def exchange_of(slow: Slow, max_bodies: int) -> Exchange:
    exchange = Exchange("tiny", "1", Metrics(), Limits(max_bodies=max_bodies))
    exchange.serve(slow.model, None)
    return exchange


ROOM = len(REQUEST) + 50
PADDED = REQUEST + b" " * 100
FULL = f"too much at once: requests of {len(REQUEST)} bytes are being answered, {ROOM} bytes may be, retry in 1 s"


@pytest.mark.parametrize(
    ("reason", "body", "headers"),
    [
        ("a body at once", REQUEST, {}),
        (
            "pieces without a length",
            [REQUEST[:40], REQUEST[40:]],
            {"content_length": "", "transfer_encoding": "chunked"},
        ),
        ("a packed body", gzip.compress(PADDED + b" " * 1000, mtime=0), {"content_encoding": "gzip"}),
    ],
)
async def test_a_body_without_room_is_429_until_another_one_is_answered(
    reason: str, body: Any, headers: dict[str, str]
) -> None:
    slow = Slow()
    exchange = exchange_of(slow, ROOM if reason != "a packed body" else ROOM + len(body))
    client = Client(exchange)
    running = asyncio.ensure_future(client.infer())
    await slow.wait_until_busy()
    refused = await client.infer(body, **headers)
    assert (429, "1") == (refused[0], refused[1]["retry-after"]), reason
    assert "too much at once: requests of" in error(refused), reason
    slow.go_on.set()
    assert 200 == (await running)[0]
    assert 200 == (await client.infer(REQUEST))[0], "there is room again"
    assert 0 == exchange.bodies.held
    exchange.close()


async def test_an_announced_length_holds_nothing_until_its_bytes_come() -> None:
    """Or a few callers who announce much and send nothing would keep everybody else out."""
    slow = Slow()
    slow.go_on.set()
    exchange = exchange_of(slow, ROOM)
    client = Client(exchange)
    wire = Wire(client.app)
    wire.feed(head_of("POST", "/v2/models/tiny/infer", {"content-length": str(len(REQUEST))}) + REQUEST[:20])
    await settled()
    assert 20 == exchange.bodies.held
    assert 200 == (await client.infer())[0]
    wire.feed(REQUEST[20:])
    (answer,) = await wire.answers()
    assert 200 == answer[0]
    exchange.close()


async def test_a_refusal_says_how_much_is_held() -> None:
    slow = Slow()
    exchange = exchange_of(slow, ROOM)
    client = Client(exchange)
    running = asyncio.ensure_future(client.infer())
    await slow.wait_until_busy()
    assert error(await client.infer()) == FULL
    slow.go_on.set()
    assert 200 == (await running)[0]
    exchange.close()


async def test_every_way_out_gives_its_bytes_back() -> None:
    exchange = Exchange("tiny", "1", Metrics(), Limits(request_timeout=0.1))
    client = Client(exchange)
    assert 503 == (await client.infer())[0], "not loaded"
    slow = Slow()
    exchange.serve(slow.model, None)
    assert 400 == (await client.infer(b"{"))[0]
    assert 413 == (await client.infer(gzip.compress(b" " * 10 * LIMIT), content_encoding="gzip"))[0]
    assert 504 == (await client.infer())[0]
    exchange.limits = Limits()
    assert NO_ANSWER == await client.send("POST", "/v2/models/tiny/infer", REQUEST, leaves=True)
    slow.go_on.set()
    assert 0 == exchange.bodies.held
    exchange.close()


async def test_over_grpc_it_is_resource_exhausted_and_says_when_to_come_back() -> None:
    slow = Slow()
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    request = pb.ModelInferRequest(model_name="tiny", inputs=[tensor])
    exchange = exchange_of(slow, request.ByteSize() + 10)
    server = grpc_server.create(exchange, door(), max_body_bytes=LIMIT)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        running = stub.ModelInfer(request)
        await slow.wait_until_busy()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
        assert ("grpc-retry-pushback-ms", "1000") in tuple(caught.value.trailing_metadata())
        assert str(caught.value.details()).startswith(f"too much at once: requests of {request.ByteSize()} bytes")
        slow.go_on.set()
        assert "tiny" == (await running).model_name
        assert "tiny" == (await stub.ModelInfer(request)).model_name
    await server.stop(0)
    assert 0 == exchange.bodies.held
    exchange.close()
