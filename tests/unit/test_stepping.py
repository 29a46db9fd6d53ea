"""A coroutine whose first step was taken by hand ends as it would have ended in a task."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from modelward_runtime.stepping import Unfinished, take_first_step


async def waits(future: "asyncio.Future[int]", ended: list[str]) -> int:
    try:
        return await future + await asyncio.sleep(0, 1)
    except ValueError:
        return -1
    finally:
        ended.append("ended")


def begun(work: Coroutine[Any, Any, int]) -> Unfinished[int]:
    left = take_first_step(work)
    assert isinstance(left, Unfinished)
    return left


async def go_on(left: Unfinished[int]) -> int:
    return await left


async def test_what_does_not_wait_is_done_at_once() -> None:
    async def prompt() -> int:
        return 7

    async def fails() -> int:
        raise ZeroDivisionError

    assert 7 == take_first_step(prompt())
    with pytest.raises(ZeroDivisionError):
        take_first_step(fails())


@pytest.mark.parametrize("early", [True, False])
async def test_what_waits_goes_on_in_a_task(early: bool) -> None:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(go_on(begun(waits(future, []))))
    if not early:
        await asyncio.sleep(0)
    future.set_result(41)
    assert 42 == await task


async def test_errors_reach_it() -> None:
    future = asyncio.get_running_loop().create_future()
    left = begun(waits(future, []))
    future.set_exception(ValueError())
    assert -1 == await left


async def test_it_can_be_cancelled() -> None:
    ended: list[str] = []
    future = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(go_on(begun(waits(future, ended))))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert future.cancelled()
    assert ["ended"] == ended


async def test_what_is_given_up_is_ended() -> None:
    ended: list[str] = []
    left = begun(waits(asyncio.get_running_loop().create_future(), ended))
    steps = left.__await__()
    steps.send(None)
    steps.close()
    assert ["ended"] == ended
