"""Waits of tests for what comes by itself: a condition, and never a time.

The limit is for what does not come at all. It is generous, because what comes within milliseconds by itself takes seconds where a
machine has other things to do, and costs nothing where it comes.
"""

import asyncio
from collections.abc import Callable

PATIENCE = 60.0


async def until(true: Callable[[], object]) -> None:
    """Wait until something is true of this process."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  -- it may be anything, on any thread
            await asyncio.sleep(0.002)
