"""Seen from outside, over real sockets: nobody gets another's rows, and nobody's bad item, haste or departure fails a neighbour.

Callers of both transports come in waves. What each does (how many rows, whether they are good, when it leaves) is drawn from a seed,
which a failure names. Each wave begins at once, so that its rows share runs where the server batches; that they did, its metrics tell.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from tritonclient.grpc import service_pb2_grpc

from e2e.soak import grpc_messages, rest_bytes
from e2e.soak.mistakes import MISTAKES, sound_row
from e2e.soak.model import NAME, Questions, Sound, build
from e2e.soak.wire import Answer, Wire
from tests.processes import Process, run

pytestmark = pytest.mark.process
WAVES, CALLERS, PATIENCE = 25, 24, 60.0
MODES = {
    "batching": {"maxBatchSize": 16, "maxDelayMicroseconds": 0},
    "waiting for company": {"maxBatchSize": 8, "maxDelayMicroseconds": 2000},
    "alone": {},
}


@pytest.fixture(scope="module", params=MODES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Process]]:
    """The soak's model, with and without batching."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "model").mkdir()
    onnx.save(build(), folder / "model/model.onnx")
    parts: dict[str, Any] = {"batching": MODES[request.param]} if MODES[request.param] else {}
    with run(folder, {"name": NAME, "version": "1", "directory": str(folder / "model")}, **parts) as process:
        process.until_ready()
        yield request.param, process


@dataclass(frozen=True)
class Caller:
    """What one does: `leaves` is after how many seconds, None for who stays; a `bad` item breaks the run that it is in."""

    transport: str
    sound: Sound
    bad: bool
    leaves: float | None


def draw(chance: random.Random, questions: Questions) -> Caller:
    leaves = chance.choice([None, None, None, 0.0, 0.0002, 0.001, 0.004])
    return Caller(chance.choice(["rest", "rest", "grpc"]), questions.draw(), chance.random() < 0.15, leaves)


class Callers:
    """Connections that are kept from wave to wave; who leaves a REST call leaves its connection."""

    def __init__(self, process: Process, channel: grpc.aio.Channel) -> None:
        self._port = process.ports[0]
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._idle: list[Wire] = []

    async def call(self, caller: Caller) -> None:
        """Ask; AssertionError when the answer is not the right one."""
        await (self._over_rest(caller) if caller.transport == "rest" else self._over_grpc(caller))

    async def _over_rest(self, caller: Caller) -> None:
        wire = self._idle.pop() if self._idle else await Wire.open(self._port)
        wire.send(BAD_REST if caller.bad else rest_bytes.flat(caller.sound))
        if caller.leaves is not None:
            await asyncio.sleep(caller.leaves)
            wire.reset()
            return
        async with asyncio.timeout(PATIENCE):
            answer = await wire.answer()
        self._idle.append(wire)
        if caller.bad:
            assert answer.status == 500, answer
        else:
            assert rest_bytes.is_right(answer, caller.sound), (answer, caller.sound.x.tolist())

    async def _over_grpc(self, caller: Caller) -> None:
        message = BAD_GRPC if caller.bad else grpc_messages.raw(caller.sound)
        call = self._stub.ModelInfer(message, timeout=PATIENCE)
        if caller.leaves is not None:
            await asyncio.sleep(caller.leaves)
            call.cancel()
            return
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            if not caller.bad or error.code() != grpc.StatusCode.INTERNAL:
                raise AssertionError(error) from error
        else:
            assert not caller.bad
            assert grpc_messages.is_right(answer, caller.sound), (answer, caller.sound.x.tolist())

    def close(self) -> None:
        for wire in self._idle:
            wire.close()


def broken() -> Any:
    """A request whose row is not in the table."""
    request = sound_row(7)
    next(mistake for mistake in MISTAKES if mistake.name == "not in the table").make(request)
    return request


BAD_REST, BAD_GRPC = rest_bytes.post(rest_bytes.as_json(broken())), grpc_messages.of(broken())


@asynccontextmanager
async def callers(process: Process) -> AsyncIterator[Callers]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.ports[1]}") as channel:
        made = Callers(process, channel)
        yield made
        made.close()


@pytest.mark.parametrize("seed", range(3))
async def test_everybody_gets_their_own_rows_or_their_own_error(served: tuple[str, Process], seed: int) -> None:
    _, process = served
    chance, questions = random.Random(seed), Questions(seed, seed, 3)
    async with callers(process) as present:
        for wave in range(WAVES):
            outcomes = await asyncio.gather(
                *(present.call(draw(chance, questions)) for _ in range(CALLERS)), return_exceptions=True
            )
            wrong = [outcome for outcome in outcomes if outcome is not None]
            assert not wrong, f"seed {seed}, wave {wave}: {wrong[:3]}"
    process.until(lambda: "modelward_in_flight 0.0" in process.get("/metrics")[1])
    assert "Traceback" not in process.log()


def test_runs_were_shared_where_they_may_be(served: tuple[str, Process]) -> None:
    """Or the above says nothing about batches."""
    mode, process = served
    found = dict(
        re.findall(r"^modelward_batch_requests_(count|sum) ([0-9.]+)", process.get("/metrics")[1], re.MULTILINE)
    )
    runs, requests = float(found["count"]), float(found["sum"])
    assert requests > 500
    if mode == "waiting for company":
        assert requests > 1.2 * runs
    if mode == "alone":
        assert requests == runs


def test_the_check_can_fail() -> None:
    """A row of somebody else is not taken for one's own."""
    one, other = Questions(1, 0, 2).draw(), Questions(1, 1, 2).draw()
    assert not np.array_equal(one.x[:1], other.x[:1])
    outputs = [
        {"name": name, "shape": y.shape, "data": y.ravel().tolist()} for name, y in (("y", other.y), ("z", other.z))
    ]
    body = rest_bytes._encode({"outputs": outputs})
    assert rest_bytes.is_right(Answer(200, b"", body), other)
    assert not rest_bytes.is_right(Answer(200, b"", body), one)
