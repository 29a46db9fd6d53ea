"""The batcher: who shares a run, who waits, who is dropped, and that nobody fails for a neighbour."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from modelward_runtime import batch
from modelward_runtime.batch import Batcher, Batching
from modelward_runtime.errors import BadRequest, DeadlineExceeded, InferenceFailed, QueueFull, Unavailable
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Model, TensorSpec
from modelward_runtime.pace import Inline
from modelward_runtime.states import Cleared
from tests.loop_clock import LATER, put_forward
from tests.runtime_models import Double
from tests.until import PATIENCE, until

Make = Callable[..., Batcher]
LONG = Inline(PATIENCE)  # all runs here may be on the loop's thread


class Gate:
    """A doubler that waits until it is told to go on, and remembers the rows of each run."""

    name, version, execution_provider, batchable = "tiny", "1", "CPUExecutionProvider", True
    inputs = (TensorSpec("x", "FP32", (-1, 2)),)
    outputs = (TensorSpec("y", "FP32", (-1, 2)),)

    def __init__(self) -> None:
        self.open = threading.Event()
        self.runs: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        self.runs.append(len(inputs["x"]))
        assert self.open.wait(PATIENCE)
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return [inputs["x"] * 2]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Batcher] = []

    def build(
        model: Model,
        batching: Batching | None = None,
        max_queue: int = 100,
        workers: int = 1,
        inline: Inline | None = None,
    ) -> Batcher:
        one = Batcher(model, batching, max_queue=max_queue, workers=workers, observer=Metrics(), inline=inline)
        made.append(one)
        return one

    yield build
    for batcher in made:
        batcher.close()


def rows(*values: float, outputs: tuple[str, ...] = ("y",), columns: int = 2) -> Cleared:
    return Cleared({"x": np.array([[value] * columns for value in values], np.float32).reshape(-1, columns)}, outputs)


def later(batcher: Batcher, cleared: Cleared, timeout: float = PATIENCE) -> "asyncio.Task[list[float]]":
    async def run() -> list[float]:
        raw = await batcher.run(cleared, asyncio.get_running_loop().time() + timeout)
        return [float(value) for value in raw.arrays[0][:, 0]]

    return asyncio.ensure_future(run())


async def settle(turns: int = 10) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_requests_of_one_turn_share_a_run_and_get_their_own_rows(make: Make) -> None:
    gate = Gate()
    gate.open.set()
    batcher = make(gate, Batching(8))
    tasks = [later(batcher, rows(number, number + 0.5)) for number in range(3)]
    assert [[0, 1], [2, 3], [4, 5]] == await asyncio.gather(*tasks)
    assert [6] == gate.runs


async def test_batches_form_from_what_queues_while_the_model_runs(make: Make) -> None:
    gate = Gate()
    batcher = make(gate, Batching(4))
    first = later(batcher, rows(1))
    await until(lambda: gate.runs == [1])
    others = [later(batcher, rows(number)) for number in range(2, 8)]
    await settle()
    assert 6 == batcher.waiting
    gate.open.set()
    assert [[2]] + [[2 * number] for number in range(2, 8)] == await asyncio.gather(first, *others)
    assert [1, 4, 2] == gate.runs


async def test_a_client_batch_larger_than_the_limit_runs_alone(make: Make) -> None:
    gate = Gate()
    gate.open.set()
    batcher = make(gate, Batching(2))
    await asyncio.gather(later(batcher, rows(1, 2, 3)), later(batcher, rows(1)), later(batcher, rows(1)))
    assert [3, 2] == gate.runs


async def test_zero_rows_are_answered(make: Make) -> None:
    gate = Gate()
    gate.open.set()
    batcher = make(gate, Batching(2))
    tasks = [later(batcher, rows()), later(batcher, rows(1))]
    assert [[], [2]] == await asyncio.gather(*tasks)


async def test_only_equal_signatures_share_a_run(make: Make) -> None:
    seen: list[tuple[int, ...]] = []

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        seen.append(inputs["x"].shape)
        return {"y": inputs["x"] * 2, "z": inputs["x"] * 3}

    specs = (TensorSpec("y", "FP32", (-1, -1)), TensorSpec("z", "FP32", (-1, -1)))
    batcher = make(Double(compute, (TensorSpec("x", "FP32", (-1, -1)),), specs), Batching(8))
    asked = [rows(1), rows(2, columns=3), rows(3, outputs=("z",)), rows(4), rows(5, columns=3)]
    assert [[2], [4], [9], [8], [10]] == await asyncio.gather(*[later(batcher, one) for one in asked])
    assert [(2, 2), (2, 3), (1, 2)] == seen


async def test_a_model_without_a_dynamic_batch_axis_runs_every_request_alone(make: Make) -> None:
    seen: list[int] = []

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"]}

    spec = TensorSpec("x", "FP32", (1, 2))
    batcher = make(Double(compute, (spec,), (TensorSpec("y", "FP32", (1, 2)),), batchable=False), Batching(8))
    await asyncio.gather(*[later(batcher, rows(number)) for number in range(5)])
    assert [1] * 5 == seen


async def test_a_failing_request_does_not_fail_its_neighbours(make: Make) -> None:
    gate = Gate()
    gate.open.set()
    batcher = make(gate, Batching(8))
    answers = await asyncio.gather(*[later(batcher, rows(value)) for value in (1, -1, 3)], return_exceptions=True)
    assert [2] == answers[0]
    assert isinstance(answers[1], InferenceFailed)
    assert answers[1].message == "the model failed: negative"
    assert [6] == answers[2]


async def test_a_model_that_says_what_the_caller_did_wrong_is_quoted(make: Make) -> None:
    def compute(_: Mapping[str, Array]) -> dict[str, Array]:
        raise BadRequest("input 'x': too hot")

    batcher = make(Double(compute, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),)))
    with pytest.raises(BadRequest, match="too hot"):
        await later(batcher, rows(1))


@pytest.mark.parametrize("wrong", [np.zeros((1, 2), np.float32), np.float32(3) * np.ones(())])
async def test_outputs_without_the_batchs_rows_are_never_split(make: Make, wrong: Array) -> None:
    """A model may claim a batch axis and then sum over it: each caller must get what the model says for it alone."""

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": wrong if len(inputs["x"]) > 1 else inputs["x"] * 2}

    batcher = make(
        Double(compute, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),)), Batching(8)
    )
    assert [[2], [4], [6]] == await asyncio.gather(*[later(batcher, rows(number)) for number in (1, 2, 3)])


async def test_cancelled_requests_leave_the_queue_at_once_and_never_run(make: Make) -> None:
    gate = Gate()
    batcher = make(gate, Batching(8), max_queue=2)
    first = later(batcher, rows(1))
    await until(lambda: gate.runs == [1])
    gone = [later(batcher, rows(7)), later(batcher, rows(8))]
    await settle()
    for task in gone:
        task.cancel()
    await settle()
    assert 0 == batcher.waiting
    last = later(batcher, rows(2))
    await settle()
    gate.open.set()
    assert [[2.0], [4.0]] == [await first, await last]
    assert [1, 1] == gate.runs


async def test_a_full_queue_refuses_and_says_when_to_come_back(make: Make) -> None:
    gate = Gate()
    batcher = make(gate, max_queue=2)
    running = later(batcher, rows(1))
    await until(lambda: gate.runs == [1])
    waiting = [later(batcher, rows(2)), later(batcher, rows(3))]
    await settle()
    with pytest.raises(QueueFull, match="queue is full: 2 requests are waiting") as caught:
        await later(batcher, rows(4))
    assert 1 == caught.value.retry_after
    gate.open.set()
    assert [[2], [4], [6]] == await asyncio.gather(running, *waiting)


async def test_deadlines_pass_in_the_queue_and_during_the_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    batcher = make(gate)
    running = later(batcher, rows(1), timeout=LATER)
    await until(lambda: gate.runs == [1])
    tasks = [running, later(batcher, rows(2), timeout=LATER)]
    await settle()
    assert 1 == batcher.waiting
    put_forward(monkeypatch)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [DeadlineExceeded, DeadlineExceeded] == [type(answer) for answer in answers]
    assert 0 == batcher.waiting
    gate.open.set()
    assert [6] == await later(batcher, rows(3))
    assert [1, 1] == gate.runs


async def test_a_delay_waits_for_company_but_not_beyond_a_full_batch(make: Make) -> None:
    gate = Gate()
    gate.open.set()
    loop = asyncio.get_running_loop()
    patient = make(gate, Batching(2, max_delay=PATIENCE))
    first = later(patient, rows(1))
    await settle()
    assert [] == gate.runs, "it waits for company"
    async with asyncio.timeout(PATIENCE / 2):
        await asyncio.gather(first, later(patient, rows(2)))
    assert [2] == gate.runs
    hasty = make(gate, Batching(2, max_delay=0.2))
    started = loop.time()
    await later(hasty, rows(3))
    assert loop.time() - started >= 0.19


async def test_several_workers_run_at_once(make: Make) -> None:
    gate = Gate()
    batcher = make(gate, workers=2)
    tasks = [later(batcher, rows(number)) for number in range(3)]
    await until(lambda: gate.runs == [1, 1])
    await settle()
    assert 1 == batcher.waiting
    gate.open.set()
    assert [[0], [2], [4]] == await asyncio.gather(*tasks)


async def test_drain_refuses_the_new_and_finishes_the_old(make: Make) -> None:
    gate = Gate()
    batcher = make(gate, Batching(1, max_delay=30))
    tasks = [later(batcher, rows(number)) for number in range(3)]
    await settle()
    draining = asyncio.ensure_future(batcher.drain())
    await settle()
    with pytest.raises(Unavailable, match="draining"):
        await later(batcher, rows(9))
    assert not draining.done()
    gate.open.set()
    assert [[0], [2], [4]] == await asyncio.gather(*tasks)
    await draining


async def test_drain_returns_when_the_last_waiting_caller_leaves(make: Make) -> None:
    gate = Gate()
    gate.open.set()
    batcher = make(gate, Batching(8))
    task = later(batcher, rows(1))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(PATIENCE):
        await batcher.drain()


async def test_close_fails_who_still_waits(make: Make) -> None:
    gate = Gate()
    batcher = make(gate)
    tasks = [later(batcher, rows(1)), later(batcher, rows(2))]
    await until(lambda: gate.runs == [1])
    batcher.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await tasks[1]
    gate.open.set()
    assert [2] == await tasks[0]


class Threads:
    """Twice x, which takes seconds of the batcher's clock and no time; remembers on which threads it ran, and with how many rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> None:
        self.now = 0.0
        clock = SimpleNamespace(perf_counter=lambda: self.now, thread_time=lambda: self.now)
        monkeypatch.setattr(batch, "time", clock)
        self.seen: list[tuple[bool, int]] = []
        self.seconds = seconds
        spec = TensorSpec("x", "FP32", (-1, 2))
        self.model = Double(self.compute, (spec,), (TensorSpec("y", "FP32", (-1, 2)),))

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.seen.append((threading.current_thread() is threading.main_thread(), len(inputs["x"])))
        self.now += self.seconds
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"] * 2}


async def ask(batcher: Batcher, cleared: Cleared) -> list[float]:
    raw = batcher.run_now(cleared) or await batcher.run(cleared, asyncio.get_running_loop().time() + PATIENCE)
    return [float(number) for number in raw.arrays[0][:, 0]]


async def test_a_short_model_runs_on_the_loops_thread_once_it_is_known_to_be_short(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads(monkeypatch)
    batcher = make(threads.model, inline=LONG)
    for number in range(4):
        assert [2 * number] == await ask(batcher, rows(number))
    assert [False, False, True, True] == [here for here, _ in threads.seen]
    with pytest.raises(InferenceFailed, match="the model failed: negative"):
        batcher.run_now(rows(-1))


async def test_a_model_that_turns_slow_goes_back_to_the_workers(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(monkeypatch)
    batcher = make(threads.model, inline=Inline(0.05))
    for number in range(3):
        await ask(batcher, rows(number))
    threads.seconds = 0.06
    for number in range(3):
        await ask(batcher, rows(number))
    assert [False, False, True, True, False, False] == [here for here, _ in threads.seen]


async def test_on_one_processor_runs_come_one_after_the_other_each_answered_before_the_next(make: Make) -> None:
    events: list[object] = []
    turn, handle = 0, asyncio.get_running_loop().call_soon(lambda: None)

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        time.sleep(0.001)
        events.append((threading.current_thread() is threading.main_thread(), turn, float(inputs["x"][0, 0])))
        return {"y": inputs["x"] * 2}

    def count_turns() -> None:
        nonlocal turn, handle
        turn += 1
        handle = asyncio.get_running_loop().call_soon(count_turns)

    async def caller(number: int) -> None:
        await ask(batcher, rows(number))
        events.append(number)

    spec = TensorSpec("x", "FP32", (-1, 2))
    batcher = make(Double(compute, (spec,), (spec,)), inline=Inline(PATIENCE, turn=0.0005, waits=True))
    assert batcher._pace is not None
    count_turns()
    batcher._pace._now = lambda: float(turn)  # the event loop's time stands still within a turn
    for _ in range(2):
        await ask(batcher, rows(0))
    del events[:]
    await asyncio.gather(*[caller(number) for number in range(4)])
    handle.cancel()
    runs = [event for event in events if isinstance(event, tuple)]
    assert [(True, float(number)) for number in range(4)] == [(here, number) for here, _, number in runs], (
        "in order, here"
    )
    assert len({at for _, at, _ in runs}) == 4, "probes are answered in between"
    assert [0, 1, 2, 3] == [event for event in events if isinstance(event, int)]
    for number in range(1, 4):
        assert events.index(number - 1) < events.index(runs[number]), "an answer does not wait for another's run"


async def test_short_runs_that_pay_to_share_are_shared_at_the_turns_end(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads(monkeypatch, 0.002)
    batcher = make(threads.model, Batching(8), inline=LONG)
    for _ in range(2):  # both weights become known
        await ask(batcher, rows(1))
        await asyncio.gather(*[ask(batcher, rows(number)) for number in range(5)])
    del threads.seen[:]
    assert batcher.run_now(rows(1)) is None, "it waits for who else comes in this turn"
    assert [[0], [2], [4], [6], [8]] == await asyncio.gather(*[ask(batcher, rows(number)) for number in range(5)])
    assert [(True, 5)] == threads.seen


async def test_who_is_alone_does_not_wait_for_company(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(monkeypatch, 0.001)
    batcher = make(threads.model, Batching(8), inline=LONG)
    for number in range(4):
        await ask(batcher, rows(number))
        await settle(2)
    for number in range(3):
        assert batcher.run_now(rows(number)) is not None, "nobody else has come for long"
        await settle(2)
    assert batcher.run_now(rows(1)) is not None
    assert batcher.run_now(rows(2)) is None, "not alone any more"
    await settle(2)
    for _ in range(8):
        assert batcher.run_now(rows(3)) is None, "a turn ago there was company"
        await settle(2)
    assert batcher.run_now(rows(4)) is not None, "it has not come back"


async def test_rows_that_cost_as_much_together_as_apart_do_not_share_runs(make: Make) -> None:
    now, runs = 0.0, list[int]()

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        nonlocal now
        now += len(inputs["x"])
        runs.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    model = Double(compute, (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
    batcher = make(model, Batching(8))
    batcher._clock = lambda: now
    for _ in range(16):
        await asyncio.gather(*[later(batcher, rows(number)) for number in range(4)])
    assert [4] * 16 == runs
    for _ in range(7):
        await asyncio.gather(*[later(batcher, rows(number)) for number in range(4)])
    assert {1, 4} <= set(runs[16:]), "both ways are tried"
    del runs[:]
    assert [[0], [2], [4], [6]] == await asyncio.gather(*[later(batcher, rows(number)) for number in range(4)])
    assert [1] * 4 == runs, "in the order in which they came, and nobody waits for the last"


async def test_runs_that_cost_less_than_sharing_are_not_shared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_SHARE_FROM", 1.0)
    threads = Threads(monkeypatch)
    batcher = make(threads.model, Batching(8), inline=LONG)
    for _ in range(4):
        await ask(batcher, rows(1))
    del threads.seen[:]
    assert [[0], [2], [4]] == await asyncio.gather(*[ask(batcher, rows(number)) for number in range(3)])
    assert all(here and count == 1 for here, count in threads.seen) or (True, 3) in threads.seen, (
        "a slow machine shares"
    )


async def test_a_deadline_that_has_passed_is_told_and_nothing_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(monkeypatch)
    batcher = make(threads.model, Batching(8), inline=LONG)
    with pytest.raises(DeadlineExceeded):
        await later(batcher, rows(1), timeout=-1)
    assert [] == threads.seen


async def test_nobody_overtakes_who_waits(make: Make) -> None:
    gate = Gate()
    batcher = make(gate, inline=LONG)
    tasks = [later(batcher, rows(1)), later(batcher, rows(2))]
    await until(lambda: gate.runs == [1])
    assert batcher.run_now(rows(3)) is None
    gate.open.set()
    assert [[2], [4]] == await asyncio.gather(*tasks)
