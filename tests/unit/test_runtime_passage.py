"""An inference that needs no waiting is answered where it began; what would hold up the event loop goes elsewhere."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelward_runtime import engine, ports
from modelward_runtime.caller import ANONYMOUS
from modelward_runtime.engine import OnnxModel
from modelward_runtime.errors import DeadlineExceeded, InferenceFailed
from modelward_runtime.exchange import Exchange
from modelward_runtime.hardware import Hardware
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.pace import Inline
from modelward_runtime.passage import OFF_LOOP_BYTES, Passage
from modelward_runtime.states import Decoded, Released
from tests.onnx_models import identity, linear, model, save, slow, value
from tests.privacy_policies import rules
from tests.runtime_models import Double
from tests.until import PATIENCE

LATE = 1e12


@dataclass
class Call:
    """One row, and on which threads it was coded."""

    rows: int = 1
    size: int = 64
    parses: int = 64
    prints: bool = True
    value: float = 1.0
    here: list[bool] = field(default_factory=list)
    name = "tiny"
    version = ""

    def decode(self, face: Face) -> Decoded:
        self.here.append(threading.current_thread() is threading.main_thread())
        return Decoded({"x": np.full((self.rows, 4), self.value, np.float32)}, ("y",))

    def encode(self, face: Face, released: Released) -> float:
        self.here.append(threading.current_thread() is threading.main_thread())
        return float(released.outputs["y"][0, 0])


def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
    if (inputs["x"] < 0).any():
        raise ValueError("negative: -4242")
    return {"y": inputs["x"] * 2}


MODEL = Double(compute, (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),))


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """Of a model that is known to be short."""
    one = Exchange("tiny", "1", Metrics())
    one.serve(MODEL, None, inline=Inline(5.0))
    for rows in (1, OFF_LOOP_BYTES // 16 * 2):
        for _ in range(3):
            await one.infer(Call(rows), ANONYMOUS, LATE)
    await one.infer(Call(), ANONYMOUS, LATE)
    yield one
    one.close()


async def finish(exchange: Exchange, call: Call) -> float:
    begun = exchange.begin(call, ANONYMOUS, LATE)
    assert isinstance(begun, Passage)
    return await exchange.proceed(begun)


async def test_a_short_models_small_request_is_answered_at_once(exchange: Exchange) -> None:
    call = Call()
    assert 2 == exchange.begin(call, ANONYMOUS, LATE)
    assert [True, True] == call.here


async def test_it_is_counted_as_any_other(exchange: Exchange) -> None:
    before = exchange.metrics.exposition().decode()
    exchange.begin(Call(), ANONYMOUS, LATE)
    after = exchange.metrics.exposition().decode()
    for stage in ("decode", "queue", "run", "encode", "total"):
        line = f'modelward_stage_seconds_count{{stage="{stage}"}} '
        assert 1 == _figure(after, line) - _figure(before, line), stage
    assert 1 == _figure(after, "modelward_batch_requests_count ") - _figure(before, "modelward_batch_requests_count ")


def _figure(text: str, start: str) -> float:
    return next(float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start))


async def test_json_that_takes_long_to_parse_is_not_parsed_on_the_loop(exchange: Exchange) -> None:
    call = Call(size=OFF_LOOP_BYTES + 1, parses=OFF_LOOP_BYTES + 1)
    assert 2 == await finish(exchange, call)
    assert [False, True] == call.here


async def test_binary_tensors_are_looked_at_where_they_are(exchange: Exchange) -> None:
    call = Call(size=OFF_LOOP_BYTES * 4, parses=100)
    assert 2 == exchange.begin(call, ANONYMOUS, LATE)


@pytest.mark.parametrize("prints", [True, False])
async def test_a_large_answer_is_written_out_on_a_thread_and_copied_here(exchange: Exchange, *, prints: bool) -> None:
    call = Call(OFF_LOOP_BYTES // 16 * 2, prints=prints)
    begun = exchange.begin(call, ANONYMOUS, LATE)
    assert prints == isinstance(begun, Passage)
    assert 2 == (await exchange.proceed(begun) if isinstance(begun, Passage) else begun)
    assert [True, not prints] == call.here


async def test_what_a_policy_withholds_is_withheld_at_once_too(exchange: Exchange) -> None:
    with pytest.raises(InferenceFailed, match="4242"):
        exchange.begin(Call(value=-4242), ANONYMOUS, LATE)
    exchange.govern(rules(MODEL))
    with pytest.raises(InferenceFailed) as caught:
        exchange.begin(Call(value=-4242), ANONYMOUS, LATE)
    assert "4242" not in caught.value.message


async def test_who_leaves_before_its_turn_leaves_nothing_behind(exchange: Exchange) -> None:
    begun = exchange.begin(Call(parses=OFF_LOOP_BYTES + 1), ANONYMOUS, LATE)
    assert isinstance(begun, Passage)
    task = asyncio.ensure_future(exchange.proceed(begun))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert 0 == exchange.metrics.meter.concurrency
    async with asyncio.timeout(PATIENCE):
        await exchange.drain()


async def test_a_deadline_that_is_over_ends_what_would_have_to_wait(exchange: Exchange) -> None:
    with pytest.raises(DeadlineExceeded):
        await exchange.infer(Call(rows=200), ANONYMOUS, -1.0)


ONE, MANY = Hardware(processors=1, quota=None), Hardware(processors=8, quota=None)


def looping() -> onnx.ModelProto:
    """As many rows as a value says: y = x, repeated."""
    node = helper.make_node("Tile", ["x", "times"], ["y"])
    inputs = [value("x", TensorProto.FLOAT, ["N", 2]), value("times", TensorProto.INT64, [2])]
    return model([node], inputs, [value("y", TensorProto.FLOAT, ["M", "K"])])


@pytest.mark.parametrize(
    ("made", "hardware", "expected", "reason"),
    [
        (linear, MANY, Inline(300e-6), "a worker's run overlaps what the loop does"),
        (linear, ONE, Inline(4e-3, turn=2e-3, waits=True), "a worker could only take turns with the loop"),
        (lambda: identity(TensorProto.STRING), MANY, Inline(300e-6), "texts are weighed"),
        (slow, ONE, None, "a loop runs as often as a value says"),
        (looping, ONE, None, "so large is what a value says"),
    ],
    ids=["many processors", "one processor", "texts", "loop", "tile"],
)
def test_only_models_whose_work_their_shapes_tell_run_on_the_loop(
    made: Callable[[], onnx.ModelProto], hardware: Hardware, expected: Inline | None, reason: str, tmp_path: Path
) -> None:
    loaded: OnnxModel = engine.load(save(made(), tmp_path / "model.onnx"), "m", "1", hardware=ONE)
    assert expected == ports._inline(loaded, hardware), reason
