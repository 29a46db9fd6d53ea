"""Kopf's watches are closed before asyncio closes everything at once, which it would log as an error."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from kopf._cogs.clients import watching

from modelward_operator import handlers

LEFT: list[Any] = []
"""What a traceback would hold: generators that nobody iterates any more."""


@asynccontextmanager
async def block() -> AsyncIterator[None]:
    """As kopf's: the end of a watch is waited for."""
    waiter = asyncio.get_running_loop().create_future()
    try:
        yield
    finally:
        with suppress(asyncio.CancelledError):
            waiter.cancel()
            await waiter


async def infinite_watch() -> AsyncIterator[int]:
    async with block():
        yield 1


async def stopped_between_two_events() -> None:
    """Many, because asyncio closes them in any order: that it takes each before the block in it is out of the question."""
    LEFT.extend(infinite_watch() for _ in range(50))
    for watch in LEFT:
        await anext(watch)
    raise asyncio.CancelledError


async def spawned(**_: Any) -> list[Any]:
    return []


def told_at_the_end(main: Any) -> list[str]:
    """Run until it is cancelled; what asyncio complains of as it ends."""
    told: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        with suppress(asyncio.CancelledError):
            await main()

    asyncio.run(run())
    LEFT.clear()
    return told


def test_a_watch_that_was_stopped_between_two_events_ends_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kopf.spawn_tasks", spawned)
    monkeypatch.setattr("kopf.run_tasks", lambda *_, **__: stopped_between_two_events())
    registry: Any = None
    assert [] == told_at_the_end(lambda: handlers.listen(registry, (), spawned=lambda: None))


def test_left_to_asyncio_it_would_be_an_error() -> None:
    """The control, without which the test above shows nothing."""
    told = told_at_the_end(stopped_between_two_events)
    assert told
    assert all("closing of asynchronous generator" in message for message in told)


def test_kopf_calls_its_watch_so() -> None:
    assert inspect.isasyncgenfunction(getattr(watching, handlers.WATCH))
