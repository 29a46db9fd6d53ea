"""Bounds the text that is searched for personal data at once: a search takes many times the memory of what it reads.

`exchange.py` has one, `passage.py` searches long texts through it. Who finds no room waits for its turn, to its deadline: its body is
counted already, and to search two texts at once takes no less time, for Python has one lock.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from modelward_runtime.errors import DeadlineExceeded
from modelward_runtime.stepping import wait_by

MOST_AT_ONCE: Final = 1 << 23  # bytes of requests; a larger one is searched alone

T = TypeVar("T")


class Searches:
    """Those of one model. Used on the event loop's thread."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def run(self, size: int, deadline: float, work: Callable[[], T]) -> T:
        """Do the work of a request of so many bytes on a thread, once there is room. Raises what it raises, and `DeadlineExceeded`."""
        await self._enter(size, deadline)
        doing = asyncio.get_running_loop().run_in_executor(None, work)
        doing.add_done_callback(lambda _: self._leave(size))
        return await asyncio.shield(doing)  # its thread goes on when its caller has left, and holds what it holds

    async def _enter(self, size: int, deadline: float) -> None:
        if not self._waiting and self._fits(size):
            self.held += size
            return
        turn = asyncio.get_running_loop().create_future()
        waiting = size, turn
        self._waiting.append(waiting)
        try:
            await wait_by(deadline, turn)
        except BaseException as error:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._let_in()
            elif turn.done() and not turn.cancelled():
                self._leave(size)  # its turn came in the same moment
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("the deadline passed before the text was searched") from None
            raise

    def _leave(self, size: int) -> None:
        self.held -= size
        self._let_in()

    def _fits(self, size: int) -> bool:
        return not self.held or self.held + size <= self._most

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if turn.done():
                continue  # it is cancelled, and has not woken to it yet
            self.held += size
            turn.set_result(None)
