"""The work queue between the doorbell (watch events) and the workers (reconcile).

Why it exists: an event says "look again", not what to do. The queue keeps each key once, hands a key to one worker
at a time, remembers a key that is rung while it is worked on, and spaces out retries. Kopf's own retries are edge-
triggered and write to the object; this one needs neither kopf nor a cluster.

    add / add_after ──▶ delayed (heap by due time) ──▶ ready (a FIFO per priority) ──get──▶ processing ──done──▶ gone
                            ▲                                                                  │
                            └────────────── rung meanwhile, or retry with back-off ────────────┘

Called by handlers.py and cluster/watch.py (add), main.py's workers (get, done, retry) and metrics.py (depth, age).
It must not know what a key means, and must not do I/O.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """How urgent a ring is: lower goes first."""

    CHANGE = 0  # somebody changed what is known and may serve, and waits for it
    LIVE = 1  # something else is news: one more of a thousand that are made, a child, a pod, the echo of our own writes
    ROUTINE = 2  # a listing after a start, a periodic look


@dataclass(frozen=True)
class Pace:
    """The waiting times of a queue, in seconds."""

    debounce: float = 0.01  # a burst of events on one key becomes one pass
    backoff_first: float = 0.25  # the first retry; doubles from there
    backoff_limit: float = 120.0
    ageing: float = 5.0  # a key that waited this long may take every `share`-th turn from those that go before it
    share: int = 4
    hurry: float = 30.0  # a key is urgent as a CHANGE once in so long: who changes without end is news like others


@dataclass(slots=True)
class _Entry:
    """Where a key stands while it waits."""

    priority: Priority
    due: float  # when it may be handed out
    rung: float  # when it was last said to be urgent, or put here
    ready: bool = False


class WorkQueue(Generic[K]):
    """Keys to work on, each once, one worker per key at a time.

    Not thread-safe: lives on one event loop. `clock` and `uniform` (a float in [0, 1)) are injected for tests;
    `waited` is told how many seconds a key was due before it was handed out.
    """

    def __init__(
        self,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._pace = pace or Pace()
        self._clock = clock
        self._uniform = uniform
        self._waited = waited
        self._entries: dict[K, _Entry] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._ready: dict[Priority, deque[K]] = {priority: deque() for priority in Priority}
        self._processing: set[K] = set()
        self._rung: dict[K, _Entry] = {}  # rung while processing
        self._failures: dict[K, int] = {}
        self._order = itertools.count()  # ties in the heap are broken by age, never by comparing keys
        self._hurried: dict[K, float] = {}  # when a key was last a CHANGE, the oldest first
        self._turns = 0  # since a line was last let in before its turn
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._alarm: tuple[float, asyncio.TimerHandle] | None = None
        self._closed = False

    # ---- putting in

    def add(self, key: K, priority: Priority = Priority.LIVE) -> None:
        """Ring for `key`: it is handed out after the debounce, however long a wait was asked for before."""
        self._schedule(key, self._pace.debounce, priority)

    def add_after(self, key: K, delay: float, priority: Priority = Priority.ROUTINE) -> None:
        """Look at `key` again in `delay` seconds, or earlier if it is rung or already waiting for an earlier time."""
        self._schedule(key, max(delay, 0.0), priority)

    def retry(self, key: K) -> float:
        """Note a failure of `key` and schedule the next try; returns the back-off in seconds (half of it is jitter)."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(self._pace.backoff_first * 2.0 ** min(failures, 62), self._pace.backoff_limit)
        delay = ceiling * (0.5 + 0.5 * self._uniform())
        self._schedule(key, delay, Priority.ROUTINE)
        return delay

    def forget(self, key: K) -> None:
        """Clear the failures of `key`: its next retry starts from the first back-off again."""
        self._failures.pop(key, None)

    def _schedule(self, key: K, delay: float, priority: Priority) -> None:
        now = self._clock()
        priority = self._eased(key, priority, now)
        table = self._rung if key in self._processing else self._entries
        entry = table.get(key)
        if entry is None:
            entry = table[key] = _Entry(priority, due=now + delay, rung=now)
        elif entry.ready:
            if priority < Priority.ROUTINE:
                entry.rung = now
            self._promote(key, entry, priority)
            return
        else:
            entry.priority = min(entry.priority, priority)
            if priority < Priority.ROUTINE:
                entry.rung = now
            if now + delay >= entry.due:
                return
            entry.due = now + delay
        if table is self._entries:
            heapq.heappush(self._delayed, (entry.due, next(self._order), key))
            self._wake()

    def _eased(self, key: K, priority: Priority, now: float) -> Priority:
        """Return the priority, LIVE in place of a CHANGE too many."""
        if priority is not Priority.CHANGE:
            return priority
        while self._hurried and now - self._hurried[oldest := next(iter(self._hurried))] >= self._pace.hurry:
            del self._hurried[oldest]
        if key in self._hurried:
            return Priority.LIVE
        self._hurried[key] = now
        return priority

    def _promote(self, key: K, entry: _Entry, priority: Priority) -> None:
        if priority < entry.priority:
            entry.priority = priority
            self._ready[priority].append(key)  # its old place in the slower line is stale and skipped there

    # ---- taking out

    async def get(self) -> K:
        """Wait for a key that is due and that nobody works on. The caller must call `done` for it."""
        loop = asyncio.get_running_loop()
        while True:
            key = self.poll()
            if key is not None:
                self._wake()  # more may be ready: pass the turn on
                return key
            waiter = loop.create_future()
            self._waiters.append(waiter)
            self._set_alarm(loop)
            try:
                await waiter
            except asyncio.CancelledError:
                self._give_up(waiter)
                raise

    def poll(self) -> K | None:
        """Hand out the next key, or None when nothing is due now."""
        if self._closed:
            return None
        now = self._clock()
        self._ripen(now)
        aged = self._aged(now)
        for priority in Priority if aged is None else (aged, *Priority):
            line = self._ready[priority]
            while line:
                key = line.popleft()
                entry = self._entries.get(key)
                if entry is None or not entry.ready or entry.priority != priority:
                    continue  # promoted to a faster line, or handed out from there
                del self._entries[key]
                self._processing.add(key)
                self._turns = self._turns + 1 if priority is not aged else 0
                self._waited(now - entry.due)
                return key
        return None

    def done(self, key: K) -> None:
        """The worker is through with `key`; if it was rung meanwhile it waits again."""
        self._processing.remove(key)
        entry = self._rung.pop(key, None)
        if entry is not None:
            self._entries[key] = entry
            heapq.heappush(self._delayed, (entry.due, next(self._order), key))
            self._wake()

    def demote(self, age: float) -> None:
        """Make routine what was urgent when it was last rung, longer ago than `age` seconds: a leader before has seen to it."""
        limit = self._clock() - age
        for key, entry in self._entries.items():
            if entry.priority < Priority.ROUTINE and entry.rung < limit:
                entry.priority = Priority.ROUTINE
                if entry.ready:
                    self._ready[Priority.ROUTINE].append(
                        key
                    )  # its old place in the faster line is stale and skipped there

    def close(self) -> None:
        """Hand out nothing any more: who waits in `get` waits until cancelled."""
        self._closed = True

    def _ripen(self, now: float) -> None:
        """Move what is due from the heap to its line; heap items that were superseded by an earlier ring are stale."""
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            entry = self._entries.get(key)
            if entry is not None and not entry.ready and entry.due == due:
                entry.ready = True
                self._ready[entry.priority].append(key)

    def _aged(self, now: float) -> Priority | None:
        """Return the line that is let in before its turn: every `share`-th, the one whose first key has waited longest, and long enough.

        So no line starves, and none that goes first waits for all of a slower one.
        """
        if self._turns < self._pace.share - 1:
            return None
        waiting = [(due, priority) for priority in Priority if (due := self._first_due(priority)) is not None]
        due, priority = min(waiting, default=(now, None))
        return priority if now - due >= self._pace.ageing else None

    def _first_due(self, priority: Priority) -> float | None:
        """Return when the first key of a line was due, None of an empty one; stale places before it are dropped."""
        line = self._ready[priority]
        while line and self._is_stale(line[0], priority):
            line.popleft()
        return self._entries[line[0]].due if line else None

    def _is_stale(self, key: K, priority: Priority) -> bool:
        entry = self._entries.get(key)
        return entry is None or not entry.ready or entry.priority != priority

    # ---- waking waiters

    def _wake(self) -> None:
        """Wake one waiter if a key is ready, or set the alarm for the next one due."""
        if not self._waiters:
            return
        self._ripen(self._clock())
        if any(self._ready.values()):
            while self._waiters:
                waiter = self._waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    return
        else:
            self._set_alarm(asyncio.get_running_loop())

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._delayed:
            return
        due = self._delayed[0][0]
        if self._alarm is not None:
            if self._alarm[0] <= due:
                return
            self._alarm[1].cancel()
        self._alarm = (due, loop.call_later(max(due - self._clock(), 0.0), self._ring_alarm))

    def _ring_alarm(self) -> None:
        self._alarm = None
        self._wake()

    def _give_up(self, waiter: asyncio.Future[None]) -> None:
        """A cancelled waiter leaves; if it had just been woken, its turn goes to the next one."""
        if waiter.done() and not waiter.cancelled():
            self._wake()
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    # ---- for metrics

    @property
    def depth(self) -> int:
        """Keys that are ready and wait for a worker."""
        self._ripen(self._clock())
        return sum(entry.ready for entry in self._entries.values())

    @property
    def oldest_age(self) -> float:
        """Seconds that the longest-waiting ready key has been due; 0.0 when none waits."""
        now = self._clock()
        self._ripen(now)
        return max((now - entry.due for entry in self._entries.values() if entry.ready), default=0.0)

    @property
    def processing(self) -> frozenset[K]:
        """The keys that workers hold now."""
        return frozenset(self._processing)
