"""One stream of a connection: one call of a client. What it means, a subclass of the application's knows.

Made by `connection.py` when a client opens one; told there what arrives. What it sends goes through `outbox.py`.

      opened ─▶ received (…) ─▶ received(ended) ──────────────────┐
        │            │                                             ▼
        └────────────┴── lost: reset by the client, or the connection is gone      respond / send / finish / reset: closed
"""

from typing import TYPE_CHECKING

from modelward_runtime.http2.faults import Code
from modelward_runtime.http2.hpack import Fields

if TYPE_CHECKING:
    from modelward_runtime.http2.connection import Connection

Bytes = bytes | memoryview


class Stream:
    """What is common to all streams. `allowance` is what the client may send, `window` what it lets us send."""

    __slots__ = ("allowance", "closed", "connection", "expected", "heard", "number", "pending", "window")

    def __init__(self, connection: "Connection", number: int, window: int, allowance: int) -> None:
        self.connection = connection
        self.number = number
        self.window = window
        self.allowance = allowance
        self.expected = -1  # bytes that are still to come, where the client has said how many
        self.heard = False  # all of it: the client has ended its side
        self.closed = False
        self.pending: object = None  # `outbox.py`'s: what waits for the client's window

    # What the application makes of it

    def opened(self, fields: Fields) -> None:
        """The client's header fields are there, and well-formed."""
        raise NotImplementedError

    def overflowed(self) -> None:
        """The client's header fields are more than it was told that they may be."""
        raise NotImplementedError

    def ticked(self, now: float) -> None:
        """Time passes, in seconds of the monotonic clock: a few times a second."""

    def received(self, data: Bytes) -> None:
        """Bytes of the body, to be copied: a view is not valid afterwards. With the last ones `heard` is set."""
        raise NotImplementedError

    def room(self) -> memoryview | None:
        """Where the next bytes of the body may be put without another copy; `filled` follows."""
        return None

    def filled(self, count: int) -> None:
        """So many bytes stand in `room`."""
        raise NotImplementedError

    def drained(self) -> None:
        """All that was to be sent is on its way."""

    def lost(self) -> None:
        """Nobody waits for an answer any more. Nothing else is told afterwards."""
        raise NotImplementedError

    # What the application does with it

    def allow(self, more: int) -> None:
        """The client may send so many bytes more."""
        if not self.closed and not self.heard:
            self.allowance += more
            self.connection.allow(self.number, more)

    def respond(self, fields: Fields, others: Fields = ()) -> None:
        """The header fields of an answer that goes on."""
        self.connection.outbox.fields(self, fields, others, end=False)

    def send(self, parts: list[Bytes], size: int) -> None:
        """A part of the body, of so many bytes."""
        self.connection.outbox.data(self, parts, size)

    def finish(self, fields: Fields, others: Fields = ()) -> None:
        """The fields that end an answer: behind its body, or all there is of it."""
        self.connection.outbox.fields(self, fields, others, end=True)

    def reset(self, code: Code = Code.CANCEL) -> None:
        """End it without an answer."""
        self.connection.cut(self, code)
