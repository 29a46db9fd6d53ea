"""Runs blocking work that nobody can interrupt on a thread that nobody has to wait for.

`load.py` uses it for fetching and for making sessions. The loop's own executor will not do: its threads are joined when
the process ends, so that a stalled download would hold up SIGTERM. It must not be used for requests.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")
_SHORT: Final = 0.0005  # seconds


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Python's threads take turns ten times as often, within.

    While a model loads, a thread that hashes or decrypts comes back for a moment after each MiB, and would wait up to 5 ms each time
    for one that imports.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SHORT)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


async def in_thread(work: Callable[[], T], name: str) -> T:
    """What `work` returns or raises; cancelling the wait leaves the thread to itself."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T may be None; then so is the result

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001  carried over to the waiting task
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
