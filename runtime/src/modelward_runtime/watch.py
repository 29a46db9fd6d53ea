"""Watches one HTTP request for a caller who leaves, or who never sends the rest of the body.

Used by `web.py` around an inference. One timer per request: most are answered before it fires, and only a slow one is worth
a task of its own that listens for the connection's end. It ends the request by cancelling its task.
"""

import asyncio

from modelward_runtime.body import ClientGone, Receive
from modelward_runtime.errors import DeadlineExceeded

SLOW = 0.25  # seconds after which a request is watched


class Watch:
    """A context manager; `body_arrived` tells it what to wait for, `explain` says why it cancelled the task."""

    __slots__ = ("_deadline", "_listener", "_loop", "_reading", "_reason", "_receive", "_slow", "_task", "_timer")

    def __init__(self, receive: Receive, deadline: float) -> None:
        self._receive = receive
        self._deadline = deadline
        self._reading = True
        self._slow = False
        self._reason: Exception | None = None
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> "Watch":
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._timer = self._loop.call_later(SLOW, self._grow_attentive)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def body_arrived(self) -> None:
        """The whole body is here: from now on the connection's end is the only message left."""
        self._reading = False
        if self._slow:
            self._listen()

    def explain(self) -> Exception | None:
        """Why the task was cancelled, if it was the watch that did it."""
        if self._reason is not None and self._task is not None:
            self._task.uncancel()
        return self._reason

    def _grow_attentive(self) -> None:
        self._slow = True
        if self._reading:
            self._timer = self._loop.call_at(self._deadline, self._expire)
        else:
            self._listen()

    def _listen(self) -> None:
        self._timer.cancel()
        self._listener = self._loop.create_task(self._await_departure())

    async def _await_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(ClientGone())

    def _expire(self) -> None:
        self._end(DeadlineExceeded("the deadline passed before the request's body arrived"))

    def _end(self, reason: Exception) -> None:
        if self._task is not None:
            self._reason = reason
            self._task.cancel()
