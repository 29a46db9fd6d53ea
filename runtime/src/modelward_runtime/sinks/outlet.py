"""Lines on their way into a sink: a queue in memory, and the one thread that empties it.

Made and used on the event loop's thread by `audit/journal.py` and `payloads/log.py`; only `_work` and what it calls run on the thread.

    put ─▶ queue ─▶ thread: batch ─▶ sink.write ─▶ safe: counted on the loop, who waits is woken
                              └─ failed: told, tried again after 0.1 s, doubling to 5 s, always the same batch

The order of lines is the order of `put`. It sets no bound: who puts looks at `waiting` before. It must not look into a line.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from modelward_runtime.sinks.sink import Sink, SinkFailed

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
MOST_BATCH: Final = 4 << 20  # bytes
_HURRY: Final = 2048  # waiting lines that are not kept waiting for company

log = logging.getLogger(__name__)

_TURN: Final = None  # in the queue: the next line begins a new piece
Item = bytes | None


class Watcher(Protocol):
    """Who is told on the event loop's thread how the outlet fares."""

    def wrote(self, lines: int, last: bytes, seconds: float) -> None:
        """So many more lines are safe, the last of them is this."""

    def failed(self, why: str) -> None:
        """A write failed; it is tried again."""


class Outlet:
    """The queue before one sink. `linger`: seconds that a line may wait for others to share its write."""

    def __init__(self, sink: Sink, linger: float, watcher: Watcher) -> None:
        self._sink = sink
        self.linger = linger  # may be changed at any time
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self.made = 0
        self._waiters: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._signalled = False
        self._wake, self._hurry, self._give_up = threading.Event(), threading.Event(), threading.Event()
        self._ending = self._handing_over = False
        self._fresh = False  # the thread's own: the next batch begins a new piece
        self._ended: asyncio.Future[list[Item]] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="modelward-outlet", daemon=True)
        self.safe = 0
        self.failure = ""

    def start(self, before: "list[Item] | None" = None) -> None:
        """Begin to write: what another outlet could not, then what was put meanwhile."""
        if before:
            self._items.extendleft(reversed(before))
            self.safe -= sum(item is not _TURN for item in before)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Lines that are not safe yet."""
        return self.made - self.safe

    def put(self, line: bytes) -> int:
        """Queue a line; returns its position, for `wait`."""
        self._items.append(line)
        self.made += 1
        if not self._signalled:
            self._signalled = True
            self._wake.set()
        elif self.linger and self.waiting >= _HURRY and not self._hurry.is_set():
            self._hurry.set()
        return self.made

    def turn(self) -> None:
        """The next line begins a new piece."""
        self._items.append(_TURN)

    async def wait(self, position: int, seconds: float) -> bool:
        """Whether that line is safe: False as soon as a write has failed, or after so long."""
        if self.safe >= position:
            return True
        if self.failure:
            return False
        future: asyncio.Future[bool] = self._loop.create_future()
        self._waiters.append((position, future))
        timer = self._loop.call_later(seconds, _resolve, future, False)
        try:
            return await future
        finally:
            timer.cancel()

    async def close(self, seconds: float) -> int:
        """Write what waits, for so long at most, and end. How many lines could not be written is returned."""
        self._end()
        done, _ = await asyncio.wait({self._ended}, timeout=seconds)
        if not done:
            self._give_up.set()
            await asyncio.wait({self._ended}, timeout=1)
        return self.waiting

    async def hand_over(self) -> list[Item]:
        """Write what waits and end; at the first failure give up and return the rest, for another outlet."""
        self._handing_over = True
        if self.failure:
            self._give_up.set()
        self._end()
        return await self._ended

    def _end(self) -> None:
        self._ending = True
        self._hurry.set()
        self._wake.set()

    # ── on the thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        left: list[Item] = []
        while not left:
            self._wake.wait()
            if self.linger:
                self._hurry.wait(self.linger)
                if not self._ending:
                    self._hurry.clear()
            self._wake.clear()
            self._signalled = False  # before the queue is read: what is put from now on wakes us again
            while self._items and not left:
                left = self._persist(self._take())
            if self._ending and not self._items:
                break
        self._sink.close()
        self._tell(self._finish, left + list(self._items))

    def _take(self) -> list[bytes]:
        """A batch for one piece."""
        lines: list[bytes] = []
        size = 0
        while self._items and size < MOST_BATCH:
            item = self._items[0]
            if item is _TURN:
                if lines:
                    break
                self._fresh = True
            else:
                lines.append(item)
                size += len(item)
            self._items.popleft()
        return lines

    def _persist(self, lines: list[bytes]) -> list[Item]:
        """Write the batch, however often it takes; when that is given up, the batch."""
        pause = FIRST_PAUSE
        while lines:
            began = time.perf_counter()
            try:
                self._sink.write(lines, fresh=self._fresh)
            except Exception as error:
                if not isinstance(error, SinkFailed):
                    log.exception("a sink broke: this is a bug")
                self._tell(self._failed, str(error) if isinstance(error, SinkFailed) else "internal error")
                if self._handing_over or self._give_up.wait(pause):
                    return [*lines]
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self._fresh = False
                self._tell(self._wrote, lines, time.perf_counter() - began)
                return []
        return []

    def _tell(self, told: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(told, *arguments)

    # ── on the event loop's thread again ────────────────────────────────────────────────────────────────────────

    def _wrote(self, lines: list[bytes], seconds: float) -> None:
        self.safe += len(lines)
        self.failure = ""
        while self._waiters and self._waiters[0][0] <= self.safe:
            _resolve(self._waiters.popleft()[1], True)
        self._watcher.wrote(len(lines), lines[-1], seconds)

    def _failed(self, why: str) -> None:
        self.failure = why
        while self._waiters:
            _resolve(self._waiters.popleft()[1], False)
        self._watcher.failed(why)

    def _finish(self, left: list[Item]) -> None:
        if not self._ended.done():
            self._ended.set_result(left)


def _resolve(future: "asyncio.Future[bool]", is_safe: bool) -> None:
    if not future.done():
        future.set_result(is_safe)
