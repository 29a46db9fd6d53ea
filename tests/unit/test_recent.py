"""Answers that are believed for a while: who asks what another one is asking waits for its answer."""

import asyncio

import pytest

from modelward_operator.cluster.recent import AGAIN, Recent
from modelward_operator.errors import Unreadable


class World:
    """Answers when it is told to, and counts who asked."""

    def __init__(self) -> None:
        self.asked, self.now, self.fails = 0, 0.0, False
        self.may_answer = asyncio.Event()

    async def say(self) -> str:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        if self.fails:
            raise Unreadable("away")
        return f"answer {number}"


@pytest.mark.parametrize("fails", [False, True])
async def test_many_who_ask_the_same_at_once_ask_once(fails: bool) -> None:
    world = World()
    world.fails = fails
    recent = Recent[str](60.0, "nothing", lambda: world.now)
    asking = [asyncio.create_task(recent.ask("a", world.say)) for _ in range(16)]
    other = asyncio.create_task(recent.ask("b", world.say))
    await asyncio.sleep(0)
    assert world.asked == 2, "once for each name"
    world.may_answer.set()
    assert set(await asyncio.gather(*asking)) == {"nothing" if fails else "answer 1"}
    await other
    assert world.asked == 2
    world.now = AGAIN + 1.0
    await recent.ask("a", world.say)
    assert world.asked == (3 if fails else 2), "a failure is asked again sooner"


async def test_one_who_gives_up_leaves_the_question_to_the_next() -> None:
    world = World()
    recent = Recent[str](60.0, "nothing", lambda: world.now)
    first = asyncio.create_task(recent.ask("a", world.say))
    second = asyncio.create_task(recent.ask("a", world.say))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    world.may_answer.set()
    assert await second == "answer 2"
