"""One gRPC call of a caller, on a stream of HTTP/2: what it says of itself, and its task. What becomes of it, `grpc_proxy.py` knows.

    opened ─▶ room for it? ─▶ its task: door ─▶ hold ─▶ carry ─▶ finish
                  │                └── lost: reset, or the connection is gone: the task is cancelled
                  └─ no ─▶ refused at once

What it has sent waits in its window: more comes only as it is passed on.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from modelward_runtime.activator.connection import Crowd
from modelward_runtime.activator.route import LiveRoute
from modelward_runtime.activator.tunnel import SILENCE
from modelward_runtime.errors import ApiError
from modelward_runtime.grpc_head import ANSWER, Head, ending, read_head
from modelward_runtime.http2.connection import Connection, Home, Settings
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.pieces import Pieces

if TYPE_CHECKING:
    from modelward_runtime.activator.grpc_proxy import Methods

SETTINGS: Final = Settings(unread=1 << 16)  # windows as HTTP/2 has them
_TOO_LARGE: Final = ((b"grpc-status", b"8"), (b"grpc-message", b"the metadata is over the limit of 65536 bytes"))


class Call(Pieces):
    """`deadline` is the caller's, in the event loop's time; None for ever."""

    __slots__ = (
        "_begun",
        "_methods",
        "_since",
        "_task",
        "deadline",
        "fields",
        "head",
        "received_bytes",
        "sent_bytes",
        "started",
    )

    def __init__(self, connection: Connection, number: int, window: int, allowance: int, methods: "Methods") -> None:
        super().__init__(connection, number, window, allowance)
        self.fields: Fields = ()
        self.head: Head
        self.deadline: float | None = None
        self.started = 0.0
        self._since = connection.heard_at
        self.received_bytes = self.sent_bytes = 0
        self._methods = methods
        self._begun = False
        self._task: asyncio.Task[None] | None = None

    def opened(self, fields: Fields) -> None:
        """A call begins."""
        self.started = time.perf_counter()
        self.fields, self.head = fields, read_head(fields)
        if self.head.timeout is not None:
            self.deadline = asyncio.get_running_loop().time() + self.head.timeout
        if self.head.refusal:
            self.finish(((b":status", b"%d" % self.head.refusal),))
        else:
            self._methods.enter(self)

    def overflowed(self) -> None:
        """Its fields are more than may be read."""
        self.finish(ANSWER, _TOO_LARGE)

    def work(self, doing: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Its task, which ends with it."""
        self._task = asyncio.ensure_future(doing)
        return self._task

    def ticked(self, now: float) -> None:
        """Whether the caller does not even take the end of its call, for which nobody works any more."""
        if (self._task is None or self._task.done()) and now > self._since + SILENCE:
            self.reset()

    def begin(self, fields: Fields, others: Fields) -> None:
        """An answer that goes on."""
        self._begun = True
        self.respond(fields, others)

    def fail(self, error: ApiError, others: Fields = ()) -> None:
        """End it with an error; at once where the caller does not take what it was sent before."""
        if self.pending is not None:
            self.reset()
        self.finish(() if self._begun else ANSWER, ending(error) + others)

    def lost(self) -> None:
        """The caller has gone."""
        super().lost()
        task = self._task
        if task is not None and not task.done():
            self.connection.working += 1  # it counts as long as it is worked on
            task.add_done_callback(self._rest)
            asyncio.get_running_loop().call_soon(
                task.cancel
            )  # not before it has begun: what it was given, it gives back

    def _rest(self, _task: "asyncio.Task[None]") -> None:
        self.connection.working -= 1


class CallerConnection(Connection):
    """One connection to the gRPC port of `route`; it has a place in the crowd."""

    def __init__(self, home: Home, methods: "Methods", route: LiveRoute, crowd: Crowd) -> None:
        super().__init__(home, self._make, SETTINGS)
        self.route = route
        self._methods = methods
        self._crowd = crowd

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  asyncio's transports have no common type
        """Take a place, or close."""
        if self._crowd.enter(self):
            super().connection_made(transport)
        else:
            self.closing = True
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever works for these calls may stop."""
        self._crowd.leave(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Take no more calls; those that are here end."""
        self.ask_to_leave()

    def _make(self, connection: Connection, number: int, window: int, allowance: int) -> Call:
        return Call(connection, number, window, allowance, self._methods)
