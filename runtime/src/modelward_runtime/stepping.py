"""The first step of a coroutine, taken at once: most requests are answered in it, and need no task of their own.

Called by `web.py` and `grpc_inference.py`. Until it waits for something the coroutine runs in its caller's turn of the event loop;
`asyncio.current_task()` is not its own there, so it must not come to an `asyncio.timeout` before it waits: `wait_by` needs no task. Python
3.12 has the like as eager tasks.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

ResultT = TypeVar("ResultT")


class Unfinished(Generic[ResultT]):
    """A coroutine that waits for something; awaited in a task, it goes on from there."""

    __slots__ = ("_awaited", "_work")

    def __init__(self, work: Coroutine[Any, Any, ResultT], awaited: Any) -> None:  # noqa: ANN401  what a loop waits for
        self._work = work
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, ResultT]:
        work, awaited = self._work, self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as error:  # noqa: BLE001  it is the coroutine's
                    awaited = work.throw(error)
                else:
                    awaited = work.send(sent)
        except StopIteration as done:
            result: ResultT = done.value
            return result


def take_first_step(work: Coroutine[Any, Any, ResultT]) -> ResultT | Unfinished[ResultT]:
    """The coroutine's result, where it does not wait. Raises what it raises."""
    try:
        awaited = work.send(None)
    except StopIteration as done:
        result: ResultT = done.value
        return result
    return Unfinished(work, awaited)


async def wait_by(deadline: float, future: asyncio.Future[ResultT]) -> ResultT:
    """The future's result. Raises `TimeoutError` when the deadline comes first, in the event loop's time; then the future is cancelled."""
    try:
        await asyncio.wait({future}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    finally:
        is_late = not future.done()
        future.cancel()
    if is_late:
        raise TimeoutError
    return future.result()
