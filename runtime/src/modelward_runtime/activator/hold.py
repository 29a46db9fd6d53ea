"""The queue of one model's requests that wait for a pod: bounded, in order of arrival, each with a deadline of its own.

Used by `route.py`. A request is in the queue while its task is in `wait`; whoever leaves (served, expired, cancelled, refused) takes itself
out, so that no list of the forgotten can grow. All of them are let go at once when a pod is there: the pod has a queue of its own.
It must not know what a request is.
"""

import asyncio
from collections.abc import Callable

from modelward_runtime.activator.errors import HoldExpired, HoldFull
from modelward_runtime.activator.share import Share
from modelward_runtime.errors import ApiError


class Queue:
    """Who waits for one model, each on a seat of the model's share. `on_first` hears when the first comes."""

    def __init__(self, seats: Share, on_first: Callable[[], None], clock: Callable[[], float]) -> None:
        self._seats = seats
        self._on_first = on_first
        self._clock = clock
        self._held: dict[asyncio.Future[None], float] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def oldest(self) -> float:
        """Seconds that the oldest has waited."""
        return self._clock() - next(iter(self._held.values())) if self._held else 0.0

    async def wait(self, deadline: float, *, most: int | None, patience: float, since: float) -> None:
        """Until somebody lets go. `deadline` is in the loop's time; `since`, when it first came, keeps its place in the count of seconds.

        `most` bounds the queue for who comes; None is for who was in it already, and needs no more than a seat.

        Raises `HoldFull`, `HoldExpired` (which speaks of `patience`), or what `refuse` was given.
        """
        held = len(self._held)
        if (most is not None and held >= most) or not self._seats.take(again=most is None):
            raise HoldFull(held)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._held[future] = since
        timer = loop.call_at(deadline, _expire, future, patience)
        try:
            if len(self._held) == 1:
                self._on_first()
            await future
        finally:
            timer.cancel()
            del self._held[future]
            self._seats.give_back()

    def let_go(self) -> None:
        """A pod is there."""
        for future in self._held:
            if not future.done():
                future.set_result(None)

    def refuse(self, error: Callable[[], ApiError]) -> None:
        """Nobody will be served: each gets an error of its own."""
        for future in self._held:
            if not future.done():
                future.set_exception(error())


def _expire(future: "asyncio.Future[None]", patience: float) -> None:
    if not future.done():
        future.set_exception(HoldExpired(patience))
