"""Runs of the model: who waits, who runs together, who gets which rows back.

One `Batcher` per loaded model, made by `exchange.py` and used on the event loop's thread; the model runs on worker threads.

    run(Cleared) ─▶ waiting, grouped by signature ─▶ a worker is free: take a batch ─▶ worker thread: join, run, split
        ▲                │ cancelled, over its deadline: leaves at once                        │
        └── Raw or error ┴───────────────────── one call back per batch ◀─────────────────────┘

* No delay when idle: a request that finds a worker free runs in the same turn of the event loop, together with those that
  arrived in that turn. Batches form from what queues while the model runs. Only `max_delay` makes a request wait for others.
* Rows of several callers share a run when the model is batchable and the requests agree in input names, types, all axes but
  the first, and requested outputs. Groups take turns, so none starves.
* A batch that fails, or whose outputs do not have the batch's rows, is run again one by one: nobody fails for a neighbour.
* At most `max_queue` requests wait; the next gets `QueueFull`.

It must not know transports, and never touches a payload but to join and to split.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from modelward_runtime.errors import ApiError, DeadlineExceeded, InferenceFailed, QueueFull, Unavailable
from modelward_runtime.model import Model
from modelward_runtime.states import Cleared, Raw

_TICK = 0.001  # seconds; the event loop's timers know nothing finer, and none would be no wait at all

Outcome = Raw | ApiError
Signature = object


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests may share a run: rows at most, and seconds that a request may wait for others."""

    max_batch_size: int
    max_delay: float = 0.0


class Observer(Protocol):
    """What the batcher tells about itself; called on the event loop's thread."""

    def ran(self, requests: int, rows: int, queue_seconds: Sequence[float], run_seconds: float) -> None:
        """One run of the model ended. `rows` is 0 where rows mean nothing."""


class _Item:
    """One waiting request, and the future that its caller awaits."""

    __slots__ = ("alone", "arrived", "cleared", "future", "rows", "signature")

    def __init__(self, cleared: Cleared, arrived: float, future: asyncio.Future[Raw]) -> None:
        self.cleared = cleared
        self.arrived = arrived
        self.future = future
        self.rows = 0
        self.alone = True
        self.signature: Signature = self


class Batcher:
    """The queue before one model."""

    def __init__(
        self, model: Model, batching: Batching | None, *, max_queue: int, workers: int, observer: Observer
    ) -> None:
        self._model = model
        self._max_rows = batching.max_batch_size if batching and model.batchable else 1
        self._max_delay = batching.max_delay if batching else 0.0
        self._max_queue = max_queue
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._clock = time.perf_counter  # uvloop's own time stands still within a turn and counts milliseconds
        self._groups: OrderedDict[Signature, OrderedDict[_Item, None]] = OrderedDict()
        self._waiting = 0
        self._free = workers
        self._workers = workers
        self._dispatching = False
        self._delay_timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._jobs: SimpleQueue[list[_Item] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"modelward-run-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return self._waiting

    async def run(self, cleared: Cleared, deadline: float) -> Raw:
        """Compute one request; `deadline` is in the event loop's time. Raises `ApiError`."""
        item = self._enqueue(cleared)
        timer = self._loop.call_at(deadline, _expire, item)
        try:
            return await item.future
        except asyncio.CancelledError:
            if item.future.done() and not item.future.cancelled():
                item.future.exception()  # an answer that came too late for its caller is no lost error
            raise
        finally:
            timer.cancel()
            self._forget(item)

    async def drain(self) -> None:
        """Take no more requests and return when none waits or runs."""
        self._draining = True
        self._dispatch()
        await self._idle.wait()

    def close(self) -> None:
        """End the worker threads once they have done what they were given. Requests still waiting fail."""
        self._draining = True
        for item in [item for group in self._groups.values() for item in group]:
            if not item.future.done():
                item.future.set_exception(Unavailable("the server is shutting down"))
            self._forget(item)
        for _ in self._threads:
            self._jobs.put(None)

    def _enqueue(self, cleared: Cleared) -> _Item:
        if self._draining:
            raise Unavailable("the server is draining")
        if self._waiting >= self._max_queue:
            raise QueueFull(self._waiting)
        item = _Item(cleared, self._clock(), self._loop.create_future())
        if self._max_rows > 1:
            self._sign(item)
        group = self._groups.get(item.signature)
        if group is None:
            group = self._groups[item.signature] = OrderedDict()
        group[item] = None
        self._waiting += 1
        self._idle.clear()
        if self._free and not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)
        return item

    def _sign(self, item: _Item) -> None:
        """Find out with whom the request may share a run; whoever has no common number of rows, or too many, runs alone."""
        inputs = item.cleared.inputs
        rows = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
        item.rows = rows.pop() if len(rows) == 1 else 0
        if 0 < item.rows < self._max_rows:
            item.alone = False
            kinds = [(name, array.dtype.char, array.shape[1:]) for name, array in inputs.items()]
            item.signature = (item.cleared.outputs, *kinds)

    def _forget(self, item: _Item) -> None:
        """Take a request that nobody awaits any more out of the queue, if it is still there."""
        group = self._groups.get(item.signature)
        if group is not None and item in group:
            del group[item]
            self._waiting -= 1
            if not group:
                del self._groups[item.signature]
            self._notice_idle()

    def _dispatch(self) -> None:
        """Give work to free workers, as long as there are both."""
        self._dispatching = False
        while self._free and (signature := self._next_group()) is not None:
            batch = self._take(signature)
            if batch:
                self._free -= 1
                self._jobs.put(batch)
        self._notice_idle()

    def _next_group(self) -> Signature | None:
        """The group whose turn it is; None, and a timer, where all of them wait for company."""
        if not self._max_delay or self._draining:
            return next(iter(self._groups), None)
        now, soonest = self._clock(), float("inf")
        for signature, group in self._groups.items():
            head = next(iter(group))
            due = head.arrived + self._max_delay
            if head.alone or due <= now or sum(item.rows for item in group) >= self._max_rows:
                return signature
            soonest = min(soonest, due)
        if self._groups:
            self._wake_after(soonest - now)
        return None

    def _wake_after(self, delay: float) -> None:
        if self._delay_timer is not None:
            self._delay_timer.cancel()
        self._delay_timer = self._loop.call_later(max(delay, _TICK), self._dispatch)

    def _take(self, signature: Signature) -> list[_Item]:
        """The head of a group and as many of its followers as fit; the rest goes to the end of the line."""
        group = self._groups[signature]
        batch: list[_Item] = []
        rows = 0
        while group:
            item = next(iter(group))
            if batch and rows + item.rows > self._max_rows:
                break
            del group[item]
            self._waiting -= 1
            if not item.future.done():
                batch.append(item)
                rows += item.rows
        if group:
            self._groups.move_to_end(signature)
        else:
            del self._groups[signature]
        return batch

    def _work(self) -> None:
        """A worker thread's life."""
        while (batch := self._jobs.get()) is not None:
            started = self._clock()
            live = [item for item in batch if not item.future.done()]
            outcomes = run_together(self._model, [item.cleared for item in live]) if live else []
            ended = self._clock()
            try:
                self._loop.call_soon_threadsafe(self._finish, live, outcomes, started, ended)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _finish(self, batch: list[_Item], outcomes: list[Outcome], started: float, ended: float) -> None:
        self._free += 1
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.future.done():
                continue
            if isinstance(outcome, ApiError):
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)
        if batch:
            waits = [started - item.arrived for item in batch]
            self._observer.ran(len(batch), sum(item.rows for item in batch), waits, ended - started)
        self._dispatch()

    def _notice_idle(self) -> None:
        if not self._waiting and self._free == self._workers:
            self._idle.set()


def _expire(item: _Item) -> None:
    if not item.future.done():
        item.future.set_exception(DeadlineExceeded("the deadline passed before the model answered"))


def run_together(model: Model, requests: Sequence[Cleared]) -> list[Outcome]:
    """Run requests of one signature as one batch and give each its own rows; alone where that does not work."""
    if len(requests) == 1:
        return [run_alone(model, requests[0])]
    counts = [len(next(iter(request.inputs.values()))) for request in requests]
    outputs = requests[0].outputs
    try:
        joined = {name: np.concatenate([request.inputs[name] for request in requests]) for name in requests[0].inputs}
        whole = model.run(joined, outputs)
    except Exception:  # noqa: BLE001 - whatever broke, each request is tried alone and gets its own error
        whole = []
    if len(whole) != len(outputs) or any(array.ndim == 0 or len(array) != sum(counts) for array in whole):
        return [run_alone(model, request) for request in requests]
    ends = np.cumsum(counts).tolist()
    return [Raw([array[end - count : end] for array in whole]) for count, end in zip(counts, ends, strict=True)]


def run_alone(model: Model, request: Cleared) -> Outcome:
    """Run one request; whatever goes wrong is its answer."""
    try:
        arrays = model.run(request.inputs, request.outputs)
    except ApiError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the border to foreign code: every failure becomes this caller's answer
        return InferenceFailed(f"the model failed: {error}")
    if len(arrays) != len(request.outputs):
        return InferenceFailed(f"the model gave {len(arrays)} outputs for {len(request.outputs)}")
    return Raw(arrays)
