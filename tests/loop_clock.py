"""The event loop's clock, put forward by hand: what is to happen after a while happens now, and nothing before it was meant to.

A deadline of tenths of a second is over before anything begins where the machine has other things to do, and a long one is waited for.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

LATER = 10_000.0
"""Seconds from now: a deadline that comes when it is put forward to, and not by itself."""


def put_forward(monkeypatch: pytest.MonkeyPatch, seconds: float = 2 * LATER) -> None:
    """Let so much time pass on the running loop, which has to be asyncio's own."""
    loop = asyncio.get_running_loop()
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + seconds)


async def in_the_end(monkeypatch: pytest.MonkeyPatch, *tries: Awaitable[Any]) -> list[Any]:
    """What becomes of tries that come to nothing by themselves, once `LATER` has passed: values and errors."""
    begun = asyncio.gather(*tries, return_exceptions=True)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not begun.done(), "they wait"
    put_forward(monkeypatch)
    return list(await begun)
