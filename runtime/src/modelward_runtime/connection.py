"""One HTTP/1.1 connection: uvicorn's own, with bounds on what may come before a request is a request.

uvicorn keeps a request's head in memory however long it grows, waits for it however long it takes, and drops the body of a
client that offers to upgrade. `listen.py` gives this class to uvicorn in place of its name for the same parser. Bodies are
bounded elsewhere (`body.py`, `watch.py`).
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 1 << 16
HEAD_SECONDS = 30.0  # for a head to be whole; checked that often, so that a request costs no timer of its own

_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_TOO_LARGE = b'{"error":"request headers are over the limit of %d bytes"}' % MAX_HEAD_BYTES
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_TOO_LARGE), _TOO_LARGE)
)


class BoundedConnection(HttpToolsProtocol):
    """Closes a connection whose request head is too long or too late."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever uvicorn hands over
        super().__init__(*args, **kwargs)
        self._in_head = True  # also before the first byte
        self._head_bytes = 0
        self._was_in_head = False
        self._patrol: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Watch from the first moment: a connection may never say a word."""
        super().connection_made(transport)
        self._patrol = self.loop.call_later(HEAD_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to watch."""
        if self._patrol is not None:
            self._patrol.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what belongs to a head that is not whole yet."""
        super().data_received(_decline_upgrade(data) if self._in_head and b"pgrade" in data else data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._was_in_head = True, 0, False

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def _check(self) -> None:
        """Close when a head was not whole the last time either, and no other began since."""
        if self._in_head and self._was_in_head:
            self.transport.close()
            return
        self._was_in_head = self._in_head
        self._patrol = self.loop.call_later(HEAD_SECONDS, self._check)


def _decline_upgrade(data: bytes) -> bytes:
    """Hide an offer to upgrade, as HTTP lets a server do: the parser would drop the body of whoever makes one.

    Java's HttpClient offers HTTP/2 so with every first request, curl with --http2. A head that comes in pieces keeps its offer.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-declined:", head) + end + rest
