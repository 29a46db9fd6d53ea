"""Each caller gets the answer to its own rows, or its own error, whatever its neighbours do and however the timing falls."""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.batch import Batcher, Batching
from modelward_runtime.errors import ApiError, DeadlineExceeded, InferenceFailed
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, TensorSpec
from modelward_runtime.states import Cleared
from tests.runtime_models import Double
from tests.until import PATIENCE

POISON = 666.0  # a value that breaks the run it is part of


@dataclass(frozen=True)
class Caller:
    """What one caller sends, when it comes and when it loses patience (turns of the event loop; None: never)."""

    rows: int
    columns: int
    output: str
    poisoned: bool
    arrives: int
    leaves: int | None
    deadline: float


callers = st.builds(
    Caller,
    rows=st.integers(0, 5),
    columns=st.sampled_from([1, 1, 1, 2]),
    output=st.sampled_from(["twice", "twice", "thrice"]),
    poisoned=st.sampled_from([False, False, False, False, True]),
    arrives=st.integers(0, 12),
    leaves=st.none() | st.none() | st.integers(0, 12),
    deadline=st.sampled_from([600.0, 600.0, 600.0, 0.002]),
)


def arithmetic(pauses: list[float], liar: bool) -> Double:
    """twice and thrice, sometimes slow; a liar's batches have a row too few."""

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        x = inputs["x"]
        time.sleep(pauses.pop() if pauses else 0)
        if (x == POISON).any():
            raise ValueError("poisoned")
        keep = slice(None, -1) if liar and len(x) > 5 else slice(None)
        return {"twice": (x * 2)[keep], "thrice": (x * 3)[keep]}

    outputs = (TensorSpec("twice", "FP64", (-1, -1)), TensorSpec("thrice", "FP64", (-1, -1)))
    return Double(compute, (TensorSpec("x", "FP64", (-1, -1)),), outputs)


async def visit(batcher: Batcher, caller: Caller, number: int) -> None:
    """Come, ask, check the answer against arithmetic done here."""
    for _ in range(caller.arrives):
        await asyncio.sleep(0)
    x = np.arange(caller.rows * caller.columns, dtype=np.float64).reshape(caller.rows, caller.columns) + 1000 * (
        number + 1
    )
    if caller.poisoned and x.size:
        x[-1, -1] = POISON
    loop = asyncio.get_running_loop()
    try:
        raw = await batcher.run(Cleared({"x": x}, (caller.output,)), loop.time() + caller.deadline)
    except InferenceFailed:
        assert caller.poisoned
    except DeadlineExceeded:
        assert caller.deadline < 1
    else:
        np.testing.assert_array_equal(x * {"twice": 2, "thrice": 3}[caller.output], raw.arrays[0])


async def leave(task: "asyncio.Task[None]", caller: Caller) -> None:
    if caller.leaves is not None:
        for _ in range(caller.arrives + caller.leaves):
            await asyncio.sleep(0)
        task.cancel()


async def party(model: Double, batching: Batching | None, workers: int, guests: list[Caller]) -> None:
    metrics = Metrics()
    batcher = Batcher(model, batching, max_queue=1000, workers=workers, observer=metrics)
    visits = [asyncio.ensure_future(visit(batcher, guest, number)) for number, guest in enumerate(guests)]
    departures = [leave(task, guest) for task, guest in zip(visits, guests, strict=True)]
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*visits, *departures, return_exceptions=True)
        for outcome in outcomes:
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        await batcher.drain()
    batcher.close()
    assert 0 == batcher.waiting


def run(main: Coroutine[object, object, None]) -> None:
    asyncio.run(main, debug=False)


@settings(max_examples=150, deadline=None)
@given(
    guests=st.lists(callers, min_size=1, max_size=14),
    rows=st.integers(1, 8),
    delay=st.sampled_from([0.0, 0.0, 0.003]),
    workers=st.integers(1, 3),
    pauses=st.lists(st.sampled_from([0.0, 0.001, 0.004]), max_size=8),
    liar=st.booleans(),
)
def test_every_caller_gets_its_own_rows(
    guests: list[Caller], rows: int, delay: float, workers: int, pauses: list[float], liar: bool
) -> None:
    run(party(arithmetic(pauses, liar), Batching(rows, delay), workers, guests))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    limit=st.integers(1, 6),
    queue=st.integers(1, 10),
)
def test_no_batch_is_over_its_limit_and_no_queue_over_its_bound(rows: list[int], limit: int, queue: int) -> None:
    seen: list[int] = []

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        seen.append(len(inputs["x"]))
        return {"twice": inputs["x"] * 2}

    spec = TensorSpec("x", "FP64", (-1, 1))
    model = Double(compute, (spec,), (TensorSpec("twice", "FP64", (-1, 1)),))

    async def main() -> None:
        batcher = Batcher(model, Batching(limit), max_queue=queue, workers=1, observer=Metrics())
        asked = [batcher.run(Cleared({"x": np.full((count, 1), 1.0)}, ("twice",)), 1e9) for count in rows]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        batcher.close()
        refused = [answer for answer in answers if isinstance(answer, ApiError)]
        assert max(0, len(rows) - queue) == len(refused)
        assert all(error.status == 429 for error in refused)

    run(main())
    served = rows[:queue]
    assert sum(served) == sum(seen)
    assert all(count <= limit or count in served for count in seen)
