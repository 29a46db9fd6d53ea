"""Answers that are believed for a while. Of a question that fails, the last answer stands: a fact that could not be read changes nothing.

Used by network.py for what is outside the store: names, Services, the API server's addresses.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from modelward_operator.errors import OperatorError

T = TypeVar("T")
REMEMBERED: Final = 10_000
AGAIN: Final = 15.0
"""Seconds after which a question that failed is asked again."""


class Busy(OSError):
    """A question that could not be asked now: that says nothing of its answer."""


class Recent(Generic[T]):
    """Answers by name. `empty` is the answer to a question that has always failed.

    A question that keeps failing is asked more and more seldom, down to once in `longest` seconds. Who asks while another one asks the same
    waits for its answer: after a restart every pass wants to know where the API server is.
    """

    def __init__(self, age: float, empty: T, clock: Callable[[], float], *, longest: float = AGAIN) -> None:
        self._age, self._empty, self._clock, self._longest = age, empty, clock, longest
        self._answers: dict[str, tuple[float, T, float]] = {}
        """Until when it is believed, the answer, and for how long the next failure is."""
        self._asking: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, question: Callable[[], Awaitable[T]]) -> T:
        """Return what is believed of `name`, or what `question` says. It may fail with OperatorError or OSError."""
        while under_way := self._asking.get(name):
            await under_way.wait()
        until, answer, pause = self._answers.get(name, (float("-inf"), self._empty, AGAIN))
        if self._clock() < until:
            return answer
        self._asking[name] = asyncio.Event()
        try:
            age, answer, pause = await self._answer(question, answer, pause)
        finally:
            self._asking.pop(name).set()  # also when it was given up: then the next one asks
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        self._answers[name] = (self._clock() + age, answer, pause)
        return answer

    async def _answer(self, question: Callable[[], Awaitable[T]], before: T, pause: float) -> tuple[float, T, float]:
        """For how long an answer is believed, the answer, and for how long the next failure would be."""
        try:
            return self._age, await question(), AGAIN
        except Busy:
            return AGAIN, before, pause
        except (OperatorError, OSError):  # a time-out is an OSError, and so is a name that is not known
            return pause, before, min(2 * pause, self._longest)
