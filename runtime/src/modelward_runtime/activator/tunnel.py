"""One HTTP request on its way to a pod and its answer on the way back, as they are, piece by piece.

Used by `rest.py`, one for each request. Headers that speak of one connection alone (RFC 9110, 7.6.1) end here, all others go on; bodies are
not looked at. Where both sides send at once, a task of its own sends up: a pod may answer before it has read everything.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Final, TypeVar

from modelward_runtime.activator.pods import Pod
from modelward_runtime.activator.upstream import Connection
from modelward_runtime.caller import ClientGone
from modelward_runtime.errors import BodyTooLarge, DeadlineExceeded
from modelward_runtime.request import Header, Request

T = TypeVar("T")

PATIENCE: Final = 60.0  # seconds from a pod being chosen to the first of the body, as a pod waits for all of it
SILENCE: Final = (
    90.0  # seconds that a pod may say nothing (its own deadline for a request is 60), or a caller read nothing
)
_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_OURS: Final = b"expect"  # is answered here


class Tunnel:
    """One request. `sent_up` and `sent_down` are bytes of bodies."""

    def __init__(self, request: Request, max_body_bytes: int) -> None:
        self._request = request
        self._max_body_bytes = max_body_bytes
        self._chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        self._length = next((int(value) for name, value in request.headers if name == b"content-length"), 0)
        self.sent_up = self.sent_down = 0
        self._read = not (self._chunked or self._length)

    @property
    def unread(self) -> bool:
        """The caller sends a body that nobody has taken to its end."""
        return not self._read

    def check_length(self) -> None:
        """Raises `BodyTooLarge` for a length that no pod would take."""
        if self._length > self._max_body_bytes:
            raise BodyTooLarge(self._max_body_bytes)

    async def through(self, pod: Pod) -> int:
        """Bring it to this pod and the answer back; its status. Raises `ConnectFailed` before anything is sent, `Broken`, `ApiError`."""
        upstream = await pod.rest.take()
        rising: asyncio.Task[None] | None = None
        try:
            if await self._begin(upstream):
                rising = asyncio.ensure_future(self._send_up(upstream))
            status = await self._send_down(upstream)
        except BaseException:
            upstream.close()
            raise
        finally:
            if rising is not None:
                rising.cancel()
        if rising is None or self._read:
            pod.rest.give_back(upstream)
        else:
            upstream.close()  # an answer to half a request
        return status

    async def _begin(self, upstream: Connection) -> bool:
        """Send the head and the first piece of the body; is there more?"""
        head = self._head()
        is_head = self._request.method == "HEAD"
        if self._read:
            upstream.begin(head, is_head=is_head)
            return False
        piece, more = await self._first_piece()
        upstream.begin(head + self._framed(piece, more=more), is_head=is_head)
        return more

    async def _first_piece(self) -> tuple[bytes, bool]:
        """The pod hears of the request only with it, and so cannot mind the time."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._next_piece()
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed before the request's body arrived") from None

    async def _send_up(self, upstream: Connection) -> None:
        try:
            more = True
            while more:
                piece, more = await self._next_piece()
                await upstream.write(self._framed(piece, more=more))
        except (ClientGone, BodyTooLarge) as error:
            upstream.fail(error)

    async def _next_piece(self) -> tuple[bytes, bool]:
        piece = await self._request.read()
        more = not self._request.complete
        self.sent_up += len(piece)
        if self.sent_up > self._max_body_bytes:
            raise BodyTooLarge(self._max_body_bytes)
        self._read = not more
        return piece, more

    def _framed(self, piece: bytes, *, more: bool) -> bytes:
        if not self._chunked:
            return piece
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        return framed if more else framed + b"0\r\n\r\n"

    async def _send_down(self, upstream: Connection) -> int:
        head = await _in_time(upstream.head(), "the pod")
        if self._read:  # what is not read when a connection is closed, takes the answer with it
            self._request.keep_alive = False
        self._request.start(head.status, _end_to_end(head.headers))
        more = True
        while more:
            piece = await _in_time(upstream.part(), "the pod")
            more = bool(piece) and not upstream.drained
            self.sent_down += len(piece)
            await _in_time(self._request.send(piece, more=more), "the caller")
        return head.status

    def _head(self) -> bytes:
        request = self._request
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.target)]
        lines += [name + b": " + value for name, value in _end_to_end(request.headers) if name != _OURS]
        if not any(name == b"host" for name, _ in request.headers):
            lines.append(b"host: model")  # of HTTP/1.0, which had none
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        return b"\r\n".join(lines) + b"\r\n\r\n"


async def _in_time(step: Awaitable[T], who: str) -> T:
    try:
        async with asyncio.timeout(SILENCE):
            return await step
    except TimeoutError:
        raise DeadlineExceeded(f"{who} did nothing for {SILENCE:g} s") from None


def _end_to_end(headers: Iterable[Header]) -> list[Header]:
    """Without those that speak of this connection, by their own names or because `connection` names them."""
    headers = list(headers)
    named = {
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    }
    hop = _HOP | (named - {b"content-length", b"host", b"authorization"})  # nobody strips these by naming them
    return [(name, value) for name, value in headers if name.lower() not in hop]
