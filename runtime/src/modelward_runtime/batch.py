"""Runs of the model: who waits, who runs together, who gets which rows back.

One `Batcher` per loaded model, made by `exchange.py` and used on the event loop's thread; the model runs on worker threads, or on the
loop's own where it is known to be short (`pace.py`).

    run_now(Cleared) ─▶ Raw, where it is short and to share a run would not pay, or nobody is there to share it: no future, no thread
        │ None
        ▼
    run(Cleared) ─▶ waiting, by signature (line.py) ─▶ a worker is free: take a batch ─▶ worker thread: join, run, split (runs.py)
        ▲                │ cancelled, over its deadline: leaves at once  │ short: here, at the turn's end │
        └── Raw or error ┴───────────────────── one call back per batch ◀┴───────────────────────────────┘

* No delay when idle: a request that finds a worker free runs in the same turn of the event loop, together with those that
  arrived in that turn. Batches form from what queues while the model runs. Only `max_delay` makes a request wait for others.
* A timer for a deadline is made only for who still waits, or runs on a worker, at the end of that turn.
* Where the loop's turn has had its share of runs, a worker takes what is left; on one processor that waits for the next turn (`pace.py`).
* Who may share a run with whom, and whose turn it is: `line.py`. Whether it pays: `worth.py`.
* A batch that fails, or whose outputs do not have the batch's rows, is run again one by one: nobody fails for a neighbour.
* At most `max_queue` requests wait; the next gets `QueueFull`.

It must not know transports, and never touches a payload but to join and to split.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Protocol

import msgspec

from modelward_runtime.errors import ApiError, QueueFull, Unavailable
from modelward_runtime.line import NOBODY, Item, Line, rows_of
from modelward_runtime.model import Model
from modelward_runtime.observability.trail import Trail, tell_run
from modelward_runtime.pace import Inline, Pace, weigh
from modelward_runtime.runs import Outcome, run_alone, run_together
from modelward_runtime.states import Cleared, Raw
from modelward_runtime.worth import ANY, Worth

_TICK = 0.001  # seconds; the event loop's timers know nothing finer, and none would be no wait at all
_SHARE_FROM = 50e-6  # seconds of a run from which on to share one saves more than the sharing costs (decisions/0018)
_ALONE = 8  # turns of the event loop with one request each, after which the next is not expected to have company either


class Batching(msgspec.Struct, frozen=True):
    """How requests may share a run: rows at most, and seconds that a request may wait for others."""

    max_batch_size: int
    max_delay: float = 0.0


class Observer(Protocol):
    """What the batcher tells about itself; called on the event loop's thread."""

    def ran(self, requests: int, rows: int, queue_seconds: Sequence[float], run_seconds: float) -> None:
        """One run of the model ended. `rows` is 0 where rows mean nothing."""

    def ran_now(self, rows: int, run_seconds: float) -> None:
        """One request ran that did not wait at all."""


class Batcher:
    """The queue before one model. `inline`: what may run on the event loop's thread, None for nothing."""

    def __init__(
        self,
        model: Model,
        batching: Batching | None,
        *,
        max_queue: int,
        workers: int,
        observer: Observer,
        inline: Inline | None = None,
    ) -> None:
        self.callers = 0  # requests of its model, from before they are decoded: kept by `exchange.py`
        self.quiet = asyncio.Event()  # nobody is left; looked at by who waits for that
        self._model = model
        self._max_rows = batching.max_batch_size if batching and model.batchable else 1
        self._max_delay = batching.max_delay if batching else 0.0
        self._line = Line(self._max_rows, self._max_delay)
        self._max_queue = max_queue
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._clock = time.perf_counter  # uvloop's own time stands still within a turn and counts milliseconds
        self._pace = Pace(inline, self._loop.time) if inline else None
        self._worth = (
            Worth() if self._max_rows > 1 and not self._max_delay else None
        )  # who names a delay wants runs shared
        self._free = workers
        self._workers = workers
        self._dispatching = False
        self._newcomers: list[Item] = []
        self._arrived = 0  # requests of this turn, where to share a run pays
        self._expecting = 0  # turns for which company is expected
        self._delay_timer: asyncio.TimerHandle | None = None
        self.prompt = False  # the last request was computed here and now
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._jobs: SimpleQueue[list[Item] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"modelward-run-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return self._line.length

    def run_now(self, cleared: Cleared, trail: Trail | None = None) -> Raw | None:
        """Compute one request here and now, followed by `trail`; None where it must wait in `run`. Raises `ApiError`."""
        self.prompt = False
        pace = self._pace
        if pace is None or self._line.length or self._max_delay or self._draining:
            return None
        weight = weigh(cleared.inputs)
        if not pace.permits(weight):
            return None
        shareable = self._max_rows > 1 and pace.expected(weight) >= _SHARE_FROM
        if shareable and (self._worth is None or self._worth.pays(weight)) and self._has_company():
            return None
        self.prompt = True
        started = self._clock()
        outcome = run_alone(self._model, cleared)
        ended = self._clock()
        rows = rows_of(cleared.inputs) if self._max_rows > 1 else 0
        pace.ran(weight, ended - started)
        if shareable and self._worth is not None:
            self._worth.ran(1, weight, ended - started)
        self._observer.ran_now(rows, ended - started)
        if trail is not None:
            tell_run([trail], started, ended, 1, rows)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def _has_company(self) -> bool:
        """Whether one more request had better wait for the end of the turn, and for those that come until then."""
        if not self._arrived:
            self._loop.call_soon(self._end_turn)
        self._arrived += 1
        return self._arrived > 1 or self._expecting > 0

    def _end_turn(self) -> None:
        if self._arrived > 1:
            self._expecting = _ALONE
        elif self._expecting:
            self._expecting -= 1
        self._arrived = 0

    async def run(self, cleared: Cleared, deadline: float, trail: Trail | None = None) -> Raw:
        """Compute one request, followed by `trail`; `deadline` is in the event loop's time. Raises `ApiError`."""
        item = self._enqueue(cleared, deadline, trail)
        try:
            return await item.future
        except asyncio.CancelledError:
            if item.future.done() and not item.future.cancelled():
                item.future.exception()  # an answer that came too late for its caller is no lost error
            raise
        finally:
            if item.timer is not None:
                item.timer.cancel()
            self._forget(item)

    async def leave(self) -> None:
        """Answer whoever came before now, then take no more requests; nobody new comes."""
        while self.callers:
            self.quiet.clear()
            await self.quiet.wait()
        await self.drain()

    async def drain(self) -> None:
        """Take no more requests and return when none waits or runs."""
        self._draining = True
        self._dispatch()
        await self._idle.wait()

    def close(self) -> None:
        """End the worker threads once they have done what they were given. Requests still waiting fail."""
        self._draining = True
        for item in self._line.everybody():
            if not item.future.done():
                item.future.set_exception(Unavailable("the server is shutting down"))
            self._forget(item)
        for _ in self._threads:
            self._jobs.put(None)

    def _enqueue(self, cleared: Cleared, deadline: float, trail: Trail | None) -> Item:
        if self._draining:
            raise Unavailable("the server is draining")
        if self._line.length >= self._max_queue:
            raise QueueFull(self._line.length)
        item = Item(cleared, self._clock(), deadline, trail, self._loop.create_future())
        if self._pace is not None or self._worth is not None:
            item.weight = weigh(cleared.inputs)
        self._line.join(item)
        self._idle.clear()
        self._newcomers.append(item)
        self._dispatch_soon()
        return item

    def _dispatch_soon(self) -> None:
        if not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _forget(self, item: Item) -> None:
        """Take a request that nobody awaits any more out of the queue, if it is still there."""
        if self._line.leave(item):
            self._notice_idle()

    def _dispatch(self) -> None:
        """Run what is short, give work to free workers, as long as there are both; who has to wait has a timer from now on."""
        self._dispatching = False
        while self._free:
            signature, wait = self._line.next_signature(self._clock(), hurry=self._draining)
            if signature is None:
                self._wake_after(wait)
                break
            if self._pace is not None and self._pace.defers():
                self._dispatching = True
                self._loop.call_soon(self._dispatch_next)
                break
            most = ANY if self._worth is None else self._worth.most(self._line.head(signature).weight)
            if batch := self._line.take(signature, self._loop.time(), most):
                self._begin(batch)
        newcomers, self._newcomers = self._newcomers, []
        for item in newcomers:
            if not item.future.done():
                item.timer = self._loop.call_at(item.deadline, item.expire)
        self._notice_idle()

    def _dispatch_next(self) -> None:
        """In this turn those get their answers who were computed in the last one; they are sent at its end."""
        self._loop.call_soon(self._dispatch)

    def _begin(self, batch: list[Item]) -> None:
        if self._pace is not None and self._pace.permits(sum(item.weight for item in batch)):
            self._run_here(batch, self._pace)
        else:
            self._free -= 1
            self._jobs.put(batch)

    def _wake_after(self, delay: float) -> None:
        if delay == NOBODY:
            return
        if self._delay_timer is not None:
            self._delay_timer.cancel()
        self._delay_timer = self._loop.call_later(max(delay, _TICK), self._dispatch)

    def _run_here(self, batch: list[Item], pace: Pace) -> None:
        """A short run, on the event loop's thread."""
        started = self._clock()
        outcomes = run_together(self._model, [item.cleared for item in batch])
        ended = self._clock()
        pace.ran(sum(item.weight for item in batch), ended - started)
        self._settle(batch, outcomes, started, ended)

    def _work(self) -> None:
        """A worker thread's life."""
        while (batch := self._jobs.get()) is not None:
            started, busy = self._clock(), time.thread_time()
            live = [item for item in batch if not item.future.done()]
            outcomes = run_together(self._model, [item.cleared for item in live]) if live else []
            ended, busy = self._clock(), time.thread_time() - busy
            try:
                self._loop.call_soon_threadsafe(self._finish, live, outcomes, started, ended, busy)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _finish(self, batch: list[Item], outcomes: list[Outcome], started: float, ended: float, busy: float) -> None:
        self._free += 1
        if batch:
            if self._pace is not None:
                self._pace.ran_elsewhere(sum(item.weight for item in batch), busy)
            self._settle(batch, outcomes, started, ended)
        self._dispatch()

    def _settle(self, batch: list[Item], outcomes: list[Outcome], started: float, ended: float) -> None:
        rows = sum(item.rows for item in batch)
        if self._worth is not None:
            self._worth.ran(len(batch), sum(item.weight for item in batch), ended - started)
        if trails := [item.trail for item in batch if item.trail is not None and not item.future.done()]:
            tell_run(trails, started, ended, len(batch), rows)
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.future.done():
                continue
            if isinstance(outcome, ApiError):
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)
        waits = [started - item.arrived for item in batch]
        self._observer.ran(len(batch), rows, waits, ended - started)

    def _notice_idle(self) -> None:
        if not self._line.length and self._free == self._workers:
            self._idle.set()
