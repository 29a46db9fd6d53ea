"""Questions about the world whose answers no event tells: asked again now and then, once for all models, and rung for when one is another.

    a pass ──note(model, questions and what it was answered)──▶ ┌───────────┐
                                                                │ Following │──ask, when it is due──▶ DNS, Services
    a model is gone ──forget──▶                                 └───────────┘──the answer is another──▶ a pass of each model that asked

So a thousand models of a namespace that read from one store cost one lookup, and no pass, for as long as its addresses stay. Used by
network.py; main.py runs `run` where the Lease is held. It decides nothing.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from modelward_operator.facts import Key

Q = TypeVar("Q", bound=Hashable)

LOOK_AGAIN: Final = 300.0
"""Seconds after which a question is asked again: an answer that changes often must not mean as many passes."""
SOON: Final = 30.0
"""The same, while the answer is not known: what the pods cannot reach, they wait for."""
TICK: Final = 5.0
"""Seconds between looks at what is due."""
AT_ONCE: Final = 16


@dataclass(slots=True)
class _Followed:
    told: object
    due: float
    models: set[Key] = field(default_factory=set)


class Following(Generic[Q]):
    """Asks through `ask`, and rings for models by `ring`."""

    def __init__(
        self,
        ask: Callable[[Q], Awaitable[object]],
        ring: Callable[[Key], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._ring, self._clock = ask, ring, clock
        self._followed: dict[Q, _Followed] = {}
        self._asked: dict[Key, frozenset[Q]] = {}

    def note(self, key: Key, answers: Mapping[Q, object]) -> None:
        """Take what a pass of a model asked, and what it was answered: the others that asked are told, too."""
        self._leave(key, self._asked.get(key, frozenset()) - answers.keys())
        for question, answer in answers.items():
            known = self._followed.get(question)
            if known is None:
                known = self._followed[question] = _Followed(answer, self._clock() + _wait(answer))
            known.models.add(key)
            self._tell(known, answer, known.models - {key})
        if answers:
            self._asked[key] = frozenset(answers)

    def forget(self, key: Key) -> None:
        """A model is gone."""
        self._leave(key, self._asked.get(key, frozenset()))

    async def run(self) -> None:
        """Ask again, for ever."""
        while True:
            await asyncio.sleep(TICK)
            await self.look()

    async def look(self) -> None:
        """Ask what is due."""
        due = iter([question for question, known in self._followed.items() if known.due <= self._clock()])
        while some := list(itertools.islice(due, AT_ONCE)):
            await asyncio.gather(*map(self._again, some))

    async def _again(self, question: Q) -> None:
        answer = await self._ask(question)
        if known := self._followed.get(question):
            known.due = self._clock() + _wait(answer)
            self._tell(known, answer, known.models)

    def _tell(self, known: _Followed, answer: object, models: Iterable[Key]) -> None:
        if answer == known.told:
            return
        known.told = answer
        for model in models:
            self._ring(model)

    def _leave(self, key: Key, questions: Iterable[Q]) -> None:
        for question in questions:
            known = self._followed[question]
            known.models.discard(key)
            if not known.models:
                del self._followed[question]
        self._asked.pop(key, None)


def _wait(answer: object) -> float:
    return LOOK_AGAIN if answer else SOON
