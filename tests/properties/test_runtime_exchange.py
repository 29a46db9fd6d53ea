"""Every answer is the bare model's on that caller's own input: through the exchange, with a real session, whatever runs where and when.

Beside `test_runtime_batcher.py`, whose model is arithmetic in Python: here runs are short ones on the event loop's thread, shared ones at a
turn's end, ones on workers, padded ones and bound ones, mixed as they fall, while callers leave, come too late, or break the run that they
are part of.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime import batch, engine, warming
from modelward_runtime.batch import Batching
from modelward_runtime.caller import Caller
from modelward_runtime.engine import OnnxModel
from modelward_runtime.errors import ApiError, DeadlineExceeded, InferenceFailed
from modelward_runtime.exchange import Exchange
from modelward_runtime.hardware import Hardware
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Face
from modelward_runtime.pace import Inline
from modelward_runtime.passage import Passage
from modelward_runtime.states import Decoded, Released
from tests.onnx_models import model, save, value
from tests.until import PATIENCE

TABLE = np.arange(1000, dtype=np.float32) * np.float32(0.37)
OUTSIDE = 4242  # no place of the table: the run that it is part of fails
OUTPUTS = (("y",), ("z",), ("y", "z"), ("z", "y"))


@dataclass(frozen=True)
class Guest:
    """What one caller sends, when it comes and leaves (turns of the event loop; None: never), and how long it has."""

    rows: int
    columns: int
    outputs: tuple[str, ...]
    seed: int
    breaks: bool
    arrives: int
    leaves: int | None
    seconds: float


guests = st.builds(
    Guest,
    rows=st.sampled_from([1, 1, 1, 2, 2, 0, 3, 5]),
    columns=st.sampled_from([1, 1, 1, 1, 2]),
    outputs=st.sampled_from([OUTPUTS[0]] * 4 + [*OUTPUTS[1:]]),
    seed=st.integers(0, 2**32 - 1),
    breaks=st.sampled_from([False] * 9 + [True]),
    arrives=st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5]),
    leaves=st.sampled_from([None] * 5 + [0, 1, 3]),
    seconds=st.sampled_from([600.0] * 6 + [0.002, -1.0]),
)


class Call:
    """One guest's, as a transport would bring it."""

    name, version, size, parses, prints = "m", "", 0, 0, False

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        random = np.random.default_rng(guest.seed)
        shape = (guest.rows, guest.columns)
        self.inputs: dict[str, Array] = {
            "x": random.random(shape, np.float32),
            "place": random.integers(0, len(TABLE), shape),
        }
        if guest.breaks and guest.rows:
            self.inputs["place"][-1, -1] = OUTSIDE

    def decode(self, face: Face) -> Decoded:
        return Decoded(self.inputs, self.guest.outputs)

    def encode(self, face: Face, released: Released) -> list[Array]:
        return [released.outputs[name].copy() for name in self.guest.outputs]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    """y = x + TABLE[place], z = 3 x."""
    nodes = [
        helper.make_node("Gather", ["table", "place"], ["found"]),
        helper.make_node("Add", ["x", "found"], ["y"]),
        helper.make_node("Mul", ["x", "three"], ["z"]),
    ]
    inputs = [value("x", TensorProto.FLOAT, ["N", "M"]), value("place", TensorProto.INT64, ["N", "M"])]
    outputs = [value(name, TensorProto.FLOAT, ["N", "M"]) for name in ("y", "z")]
    three = numpy_helper.from_array(np.array(3, np.float32), "three")
    file: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    save(model(nodes, inputs, outputs, [numpy_helper.from_array(TABLE, "table"), three]), file)
    return engine.load(file, "m", "1", hardware=Hardware(processors=1, quota=1.0))


async def visit(exchange: Exchange, bare: OnnxModel, guest: Guest) -> None:
    for _ in range(guest.arrives):
        await asyncio.sleep(0)
    call = Call(guest)
    broken = guest.breaks and guest.rows > 0
    try:
        begun = exchange.begin(call, Caller(), asyncio.get_running_loop().time() + guest.seconds)
        answer = await exchange.proceed(begun) if isinstance(begun, Passage) else begun
    except InferenceFailed:
        assert broken
    except DeadlineExceeded:
        assert guest.seconds < 1
    else:
        assert not (broken and "y" in guest.outputs), "what the bare model refuses is not answered"
        for found, expected in zip(answer, bare.run(call.inputs, guest.outputs), strict=True):
            np.testing.assert_array_equal(expected, found)


async def leave(task: "asyncio.Task[None]", guest: Guest) -> None:
    if guest.leaves is not None:
        for _ in range(guest.arrives + guest.leaves):
            await asyncio.sleep(0)
        task.cancel()


async def party(
    bare: OnnxModel,
    served: OnnxModel,
    batching: Batching | None,
    workers: int,
    inline: Inline | None,
    company: list[Guest],
) -> None:
    exchange = Exchange("m", "1", Metrics())
    exchange.serve(served, batching, workers=workers, inline=inline)
    batcher = exchange._batcher
    assert batcher
    if batcher._pace:
        batcher._pace._expected = [1e-4] * len(batcher._pace._expected)  # all weights are known, as after a while
        batcher.prompt = True
    visits = [asyncio.ensure_future(visit(exchange, bare, guest)) for guest in company]
    departures = [leave(task, guest) for task, guest in zip(visits, company, strict=True)]
    async with asyncio.timeout(PATIENCE):
        for outcome in await asyncio.gather(*visits, *departures, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        await exchange.drain()
    exchange.close()
    assert 0 == batcher.waiting == exchange.metrics.meter.concurrency


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    company=st.lists(guests, min_size=1, max_size=20),
    rows=st.sampled_from([None, 1, 2, 5, 8, 12, 16, 16]),
    workers=st.integers(1, 2),
    inline=st.sampled_from([None, Inline(5.0), Inline(5.0, turn=1e-9, waits=True)]),
    share=st.booleans(),
    padded=st.booleans(),
)
def test_every_answer_is_the_bare_models(
    bare: OnnxModel,
    company: list[Guest],
    rows: int | None,
    workers: int,
    inline: Inline | None,
    share: bool,
    padded: bool,
) -> None:
    served = bare
    if padded and rows:
        served = warming.warm_up(bare, rows, padded=True)
        assert served.sizes or rows == 1
    batching = Batching(rows) if rows else None
    loops = asyncio.Runner(loop_factory=uvloop.new_event_loop)  # time stands still within a turn of theirs
    with patch.object(batch, "_SHARE_FROM", 0.0 if share else 1.0), loops as runner:
        runner.run(party(bare, served, batching, workers, inline, company))


async def test_bound_runs_keep_callers_apart_too(tmp_path: Path) -> None:
    """One shape's buffers are every caller's in turn: with two workers on them, each must take its own answer away."""
    node = helper.make_node("Mul", ["x", "three"], ["y"])
    edges = [value("x", TensorProto.FLOAT, ["N", 4])], [value("y", TensorProto.FLOAT, ["N", 4])]
    three = numpy_helper.from_array(np.array(3, np.float32), "three")
    file = save(model([node], *edges, [three]), tmp_path / "model.onnx")
    loaded = engine.load(file, "m", "1", hardware=Hardware(processors=1, quota=1.0))
    served = msgspec.structs.replace(warming.warm_up(loaded, 4, padded=True, device="cpu"))
    assert 3 == len(served.bound)
    exchange = Exchange("m", "1", Metrics())
    exchange.serve(served, None, workers=2)

    class One(Call):
        def __init__(self, number: int) -> None:
            self.guest = Guest(number % 4 + 1, 4, ("y",), number, False, 0, None, 600.0)
            self.inputs = {"x": np.full((self.guest.rows, 4), number, np.float32)}

    async def ask(number: int) -> None:
        call = One(number)
        (found,) = await exchange.infer(call, Caller(), asyncio.get_running_loop().time() + 30)
        np.testing.assert_array_equal(call.inputs["x"] * 3, found)

    outcomes = await asyncio.gather(*(ask(number) for number in range(300)), return_exceptions=True)
    exchange.close()
    assert [] == [one for one in outcomes if one is not None and not isinstance(one, ApiError)]
    assert all(one is None for one in outcomes)
