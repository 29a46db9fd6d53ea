"""Answers that are believed for a while. Of a question that fails, the last answer stands: a fact that could not be read changes nothing.

Used by network.py for what is outside the store: names, Services, the API server's addresses.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from modelward_operator.errors import OperatorError

T = TypeVar("T")
REMEMBERED: Final = 10_000
AGAIN: Final = 15.0
"""Seconds after which a question that failed is asked again."""


class Recent(Generic[T]):
    """Answers by name. `empty` is the answer to a question that has always failed."""

    def __init__(self, age: float, empty: T, clock: Callable[[], float]) -> None:
        self._age, self._empty, self._clock = age, empty, clock
        self._answers: dict[str, tuple[float, T]] = {}  # until when it is believed, and the answer

    async def ask(self, name: str, question: Callable[[], Awaitable[T]]) -> T:
        """Return what is believed of `name`, or what `question` says. It may fail with OperatorError or OSError."""
        until, answer = self._answers.get(name, (float("-inf"), self._empty))
        if self._clock() < until:
            return answer
        age = self._age
        try:
            answer = await question()
        except (OperatorError, OSError):  # a time-out is an OSError, and so is a name that is not known
            age = AGAIN
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        self._answers[name] = (self._clock() + age, answer)
        return answer
