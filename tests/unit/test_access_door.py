"""The door in the request path of one process: turns that are given back whatever happens, and what is counted and logged."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from modelward_runtime import grpc_server
from modelward_runtime.access.config import Limits
from modelward_runtime.access.door import Door, GuardedGate
from modelward_runtime.access.identity import Identity
from modelward_runtime.access.limits import Subjects
from modelward_runtime.caller import Caller
from modelward_runtime.exchange import Exchange
from modelward_runtime.exchange import Limits as Bounds
from modelward_runtime.metrics import Metrics
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.web import App
from tests.callers import request
from tests.unit.test_runtime_web import LIMIT, REQUEST, Client, Slow

ONE = Limits(concurrency=1)


class Names:
    """Believes every token: its text is the name."""

    broken, permitted = False, True

    async def authenticate(self, token: bytes) -> Identity:
        return Identity(token.decode())

    async def permits(self, identity: Identity) -> bool:
        if self.broken:
            raise ZeroDivisionError("secret")
        return self.permitted


class House:
    """A slow model behind a door, over both transports."""

    def __init__(self) -> None:
        self.slow, self.names = Slow(), Names()
        self.exchange = Exchange("tiny", "1", Metrics(), Bounds(request_timeout=60))
        self.exchange.serve(self.slow.model, None, workers=2)
        self.subjects = Subjects(lambda: ONE)
        self.door = Door(GuardedGate(self.names, self.names), self.subjects, self.exchange.metrics.refused)
        self.rest = Client(self.exchange)
        self.rest.app = App(self.exchange, self.door, max_body_bytes=LIMIT)
        self.channel: Any = None
        self.stub: Any = None

    async def infer(self, who: str, body: bytes = REQUEST) -> tuple[int, dict[str, str], bytes]:
        return await self.rest.send("POST", "/v2/models/tiny/infer", body, {"authorization": f"Bearer {who}"})

    def call(self, who: str) -> Any:
        metadata = (("authorization", f"Bearer {who}"),)
        return self.stub.ModelInfer(request("tiny"), metadata=metadata)

    @property
    def active(self) -> int:
        return sum(bucket.active for bucket in self.subjects._buckets.values())


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    server = grpc_server.create(made.exchange, made.door, max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        made.channel, made.stub = channel, pb_grpc.GRPCInferenceServiceStub(channel)
        yield made
    await server.stop(0)
    made.exchange.close()


async def test_one_at_a_time_means_one_over_both_transports(house: House) -> None:
    running = house.call("ada")
    await house.slow.wait_until_busy()
    status, headers, body = await house.infer("ada")
    assert (429, "1") == (status, headers["retry-after"])
    assert b"access: concurrency-limited: too many requests of this subject at once, retry in 1 s" in body
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.call("ada")
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
    assert ("grpc-retry-pushback-ms", "1000") in tuple(caught.value.trailing_metadata())
    house.slow.go_on.set()
    assert 200 == (await house.infer("bob"))[0], "another subject"
    assert "tiny" == (await running).model_name
    assert 200 == (await house.infer("ada"))[0], "and then again"
    assert 'modelward_refused_total{reason="concurrency-limited"} 2.0' in house.exchange.metrics.exposition().decode()


async def test_a_turn_is_given_back_whatever_happens(house: House) -> None:
    house.slow.go_on.set()
    for body, expected in ((b"{", 400), (b" " * (LIMIT + 1), 413), (REQUEST, 200)):
        assert expected == (await house.infer("ada", body))[0]
        assert 0 == house.active
    sent = {"authorization": "Bearer ada"}
    house.slow.go_on.clear()
    assert (0, {}, b"") == await house.rest.send("POST", "/v2/models/tiny/infer", REQUEST, sent, leaves=True)
    assert 0 == house.active, "a caller who left"
    call = house.call("ada")
    await house.slow.wait_until_busy()
    call.cancel()
    house.slow.go_on.set()
    assert 200 == (await house.infer("bob"))[0]
    assert 0 == house.active


async def test_over_both_transports_a_stranger_is_known_by_the_address(house: House) -> None:
    asked: list[str] = []
    admit = house.door._gate.admit

    async def note(authorization: bytes, peer: str = "") -> Caller:
        asked.append(peer)
        return await admit(authorization, peer)

    house.door._gate.admit = note  # type: ignore[method-assign]
    house.slow.go_on.set()
    assert "tiny" == (await house.call("ada")).model_name
    assert "tiny" == (await house.call("ada")).model_name
    assert ["127.0.0.1"] == asked, "of whom nothing is known"
    await house.rest.send("GET", "/v2", headers={"authorization": "Bearer bob"})
    assert ["127.0.0.1"] * 2 == asked


async def test_a_strangers_stream_is_answered_or_refused(house: House) -> None:
    house.slow.go_on.set()
    metadata = (("authorization", "Bearer eve"),)
    answers = [answer async for answer in house.stub.ModelStreamInfer(iter([request("tiny")] * 2), metadata=metadata)]
    assert ["tiny"] * 2 == [answer.infer_response.model_name for answer in answers]
    house.names.permitted = False

    async def hesitate() -> AsyncIterator[Any]:
        await asyncio.Event().wait()  # where a refusal comes before a message is sent, gRPC's client says INTERNAL
        yield request("tiny")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [answer async for answer in house.stub.ModelStreamInfer(hesitate(), metadata=(("authorization", "Bearer x"),))]
    assert grpc.StatusCode.PERMISSION_DENIED == caught.value.code()


async def test_a_strangers_call_may_be_too_large_or_to_no_method(house: House) -> None:
    house.slow.go_on.set()
    large = request("tiny")
    large.id = "x" * (1 << 21)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.stub.ModelInfer(large, metadata=(("authorization", "Bearer new"),))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.channel.unary_unary("/inference.GRPCInferenceService/No")(
            b"", metadata=(("authorization", "Bearer newer"),)
        )
    assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()


async def test_a_flaw_at_the_door_is_told_to_nobody_and_lets_nobody_in(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.names.broken = True
    status, _, body = await house.infer("ada")
    assert (503, False) == (status, b"secret" in body)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.call("bob")
    assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
    assert "secret" not in str(caught.value.details())
    assert "ZeroDivisionError: secret" in caplog.text


async def test_a_method_that_does_not_exist_is_not_logged_by_its_name(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modelward.access")
    for method in ("/inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/jo@example.com"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.channel.unary_unary(method)(b"")
        assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()
    logged = [vars(record)["path"] for record in caplog.records if record.name == "modelward.access"]
    assert ["/inference.GRPCInferenceService/ModelInfer", "{other}"] == logged
