"""Visitors over REST: each sends sound, wrong and rude requests, one after the other, and holds every answer to what it must be.

Called by `visitors.py`, in a process of its own.
"""

import random
from collections.abc import Awaitable

from e2e.soak import rest_bytes
from e2e.soak.model import Questions
from e2e.soak.rest_bytes import BAD, COSTLY, FORMS, PLAIN, Bad
from e2e.soak.rude import RUDE, Place
from e2e.soak.tally import Tally, Wrong
from e2e.soak.wire import PATIENCE, Gone, Wire


class Visitor:
    """One caller, on a connection that is kept as long as the server keeps it."""

    def __init__(self, port: int, questions: Questions, tally: Tally, seed: str) -> None:
        self._questions = questions
        self._tally = tally
        self._random = random.Random(seed)
        self._place = Place(port, questions, tally, self._random)
        self._wire: Wire | None = None

    async def visit(self) -> int:
        """Do one thing; return how many requests it was."""
        draw = self._random.random()
        if draw < 0.72:
            return await self._guarded("sound", self._sound())
        if draw < 0.90:
            return await self._wrong(self._random.choice(PLAIN))
        if draw < 0.93:
            return await self._guarded("pipelined", self._pipelined())
        if draw < 0.935:
            return await self._wrong(self._random.choice(COSTLY))
        rude = self._random.choice(RUDE)
        return await self._guarded(rude.__name__, rude(self._place))

    async def try_all(self) -> None:
        """Each wrong request once."""
        for bad in BAD:
            await self._wrong(bad)

    def watch(self, now: float) -> None:
        """Give up an answer that does not come."""
        wire = self._wire
        if wire is not None and wire.waits_since and now - wire.waits_since > PATIENCE:
            wire.give_up(f"no answer within {PATIENCE:.0f} s")

    def leave(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()

    async def _guarded(self, kind: str, work: Awaitable[int]) -> int:
        try:
            return await work
        except (Wrong, Gone, OSError, TimeoutError, ValueError, LookupError, TypeError) as error:
            self._tally.find(f"REST, {kind}", error)
            self.leave()
            self._wire = None
            return 1

    async def connect(self) -> Wire:
        """The connection, a new one where the last has ended."""
        if self._wire is None or self._wire.closed:
            self._wire = await Wire.open(self._place.port)
        return self._wire

    async def _sound(self) -> int:
        wire, sound = await self.connect(), self._questions.draw()
        form = self._random.choice(FORMS)
        answer = await wire.ask(form(sound))
        self._tally.count(f"sound, {form.__name__}", f"REST {answer.status}")
        if not rest_bytes.is_right(answer, sound):
            raise Wrong(
                f"{form.__name__}: {answer.status} {answer.body[:300]!r} for x={sound.x.tolist()} k={sound.k.tolist()}"
            )
        return 1

    async def _wrong(self, bad: Bad) -> int:
        return await self._guarded(f"wrong, {bad.name}", self._refused(bad))

    async def _refused(self, bad: Bad) -> int:
        wire = await self.connect()
        answer = await wire.ask(bad.sent)
        self._tally.count(f"wrong, {bad.name}", f"REST {answer.status}")
        if not bad.is_right(answer):
            raise Wrong(f"expected {bad.status} {bad.says!r}, got {answer.status} {answer.body[:300]!r}")
        if bad.closes:
            if bad.status != 413:  # a body over the limit may also be read to its end, which here never comes
                await wire.until_closed(PATIENCE)
            wire.reset()
            self._wire = None
        return 1

    async def _pipelined(self) -> int:
        """Some requests sent ahead, wrong ones between sound ones: answered in their order."""
        wire = await self.connect()
        asked = [
            self._random.choice(PLAIN) if self._random.random() < 0.4 else self._questions.draw() for _ in range(4)
        ]
        wire.send(b"".join(one.sent if isinstance(one, Bad) else rest_bytes.flat(one) for one in asked))
        for one in asked:
            answer = await wire.answer()
            self._tally.count("pipelined", f"REST {answer.status}")
            right = one.is_right(answer) if isinstance(one, Bad) else rest_bytes.is_right(answer, one)
            if not right:
                raise Wrong(f"asked {one}, got {answer.status} {answer.body[:300]!r}")
        return len(asked)
