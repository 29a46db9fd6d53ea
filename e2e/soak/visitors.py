"""A process full of visitors of one transport. `run.py` starts one for each; they share what is left to ask.

A crowd comes, waits until the one of the other transport is there, asks until nothing is left, and leaves without a connection behind; the
process waits, and lets the next crowd in.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from typing import Any

from e2e.soak import grpc_calls, rest, rude
from e2e.soak.model import Questions
from e2e.soak.tally import Tally

TURN = 50  # requests that a visitor takes on before it looks how many are left
TRANSPORTS = ("rest", "grpc")
THOROUGH = 4  # visitors of the first crowd who send each wrong request once: memory has been as large as it may get


@dataclass(frozen=True)
class Plan:
    """What one process does."""

    transport: str
    port: int
    visitors: int
    loiterers: int
    seed: int


def main(plan: Plan, left: Any, doors: Sequence[Event], all_here: Barrier, results: "Queue[Tally]") -> None:
    """A crowd for each door, when it opens. `left` is a shared counter of the requests that nobody has taken on yet."""
    questions = Questions(plan.seed, TRANSPORTS.index(plan.transport), len(TRANSPORTS))
    for number, door in enumerate(doors):
        door.wait()
        results.put(asyncio.run(_Crowd(plan, left, questions, number, all_here).run()))


class _Crowd:
    def __init__(self, plan: Plan, left: Any, questions: Questions, number: int, all_here: Barrier) -> None:
        self._plan = plan
        self._left = left
        self._all_here = all_here
        self._tally = Tally()
        self._questions = questions
        self._seed = f"{plan.seed} {number}"
        self._comes_first = number == 0

    async def run(self) -> Tally:
        plan = self._plan
        loiter = rude.loiter if plan.transport == "rest" else grpc_calls.loiter
        chances = [random.Random(f"{self._seed} {number} loiters") for number in range(plan.loiterers)]
        loiterers = [asyncio.ensure_future(loiter(plan.port, self._tally, chance)) for chance in chances]
        await (self._visit_rest() if plan.transport == "rest" else self._visit_grpc())
        for loiterer in loiterers:
            loiterer.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*loiterers)
        await asyncio.sleep(0.1)  # connections that were closed just now are gone before the process is
        return self._tally

    async def _visit_rest(self) -> None:
        plan = self._plan
        visitors = [
            rest.Visitor(plan.port, self._questions, self._tally, f"{self._seed} {n}") for n in range(plan.visitors)
        ]
        await asyncio.gather(*(visitor.connect() for visitor in visitors))
        await asyncio.to_thread(self._all_here.wait)
        watching = asyncio.ensure_future(_watch(visitors))
        if self._comes_first:
            await asyncio.gather(*(visitor.try_all() for visitor in visitors[:THOROUGH]))
        await asyncio.gather(*(self._go_on(visitor.visit) for visitor in visitors))
        watching.cancel()
        for visitor in visitors:
            visitor.leave()

    async def _visit_grpc(self) -> None:
        plan = self._plan
        channels = [grpc_calls.connect(plan.port) for _ in range(max(1, plan.visitors // 3))]
        visitors = [
            grpc_calls.Visitor(
                plan.port, channels[n % len(channels)], self._questions, self._tally, f"{self._seed} {n}"
            )
            for n in range(plan.visitors)
        ]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        await asyncio.to_thread(self._all_here.wait)
        await asyncio.gather(*(self._go_on(visitor.visit) for visitor in visitors))
        for channel in channels:
            await channel.close()

    async def _go_on(self, visit: Callable[[], Awaitable[int]]) -> None:
        while (turn := self._take()) > 0:
            while turn > 0:
                turn -= await visit()

    def _take(self) -> int:
        with self._left.get_lock():
            turn: int = min(TURN, self._left.value)
            self._left.value -= turn
        return turn


async def _watch(visitors: list[rest.Visitor]) -> None:
    while True:
        await asyncio.sleep(1)
        now = asyncio.get_running_loop().time()
        for visitor in visitors:
            visitor.watch(now)
