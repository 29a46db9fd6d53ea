"""One HTTP request as an application sees it: its head, its body as it comes, and the way back to the caller.

Made by `connection.py` for each request; used by `web.py`, `admin.py` and the activator. A whole answer goes out by `respond`, in one
call and without a wait; one that is passed on piece by piece by `start` and `send`. A caller who leaves cancels the request's task,
and `gone` tells why. Whoever wants a whole body and has no task names the step that follows (`when_whole`): a future, a task and their
turns of the event loop cost a large request more than all else but its model. It must not know paths, nor what a body means.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httptools

from modelward_runtime.caller import ClientGone

if TYPE_CHECKING:
    from modelward_runtime.connection import Connection

Header = tuple[bytes, bytes]
Body = bytes | bytearray | memoryview
Step = Callable[[], Coroutine[Any, Any, None] | None]
"""Answers a request now, or returns what will."""

_JOINED_BYTES: Final = 1 << 16  # a larger body is not copied behind its head
_DIRECT: Final = 1 << 15  # bytes that a body lacks and that are worth memory of its own
_STATUS_LINES: Final = {int(status): f"HTTP/1.1 {status} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_BODILESS: Final = frozenset({204, 304})


class BadTarget(Exception):
    """What stands where the path should be is none."""


class Request:
    """Names of headers are in lower case; whoever sets `keep_alive` to False ends the connection with the answer."""

    keep_alive = True
    is_http10 = False
    complete = False  # the body is here to its end
    taken = False  # its turn has come, or will
    begun = False  # the task runs
    started = False  # some of the answer is on its way
    answered = False
    gone = False
    expects_continue = False
    length = 0  # of the body, where it was announced
    buffered = 0  # bytes of the body that nobody has read yet
    task: asyncio.Task[None] | None = None
    _waiter: asyncio.Future[None] | None = None
    _step: Step | None = None
    _check: Callable[[int], None] | None = None
    _refused: Exception | None = None
    _memory: Body | None = None  # for the whole of a large body
    _target: memoryview | None = None  # the same, while it is filled
    _head = b""
    _chunked = False

    def __init__(self, connection: "Connection", method: str, target: bytes, headers: list[Header]) -> None:
        self.connection: Any = connection  # of the kind that the listener makes
        self.method = method
        self.target = target
        self.path, self.query = split_target(target)
        self.headers = headers
        self._parts: list[bytes] = []

    @property
    def awaits(self) -> bool:
        """A step follows when the body is whole."""
        return self._step is not None

    async def read(self) -> bytes:
        """What has come of the body since the last time, empty at its end. Raises `ClientGone`."""
        while not self._parts:
            if self.complete:
                return b""
            if self.gone:
                raise ClientGone
            self._invite()
            await self._woken()
        return self._take_parts()

    async def read_whole(self, check: Callable[[int], None], allocate: Callable[[int], Body]) -> Body:
        """The whole body. `check` hears how much is here whenever it is more; what it raises ends the wait. Raises `ClientGone`.

        What a large body lacks is read into memory that `allocate` gives for all of it.
        """
        if self.buffered:
            check(self.buffered)
        if not self.complete:
            self._gather(check, allocate)
            await self._woken()
        return self.take_whole()

    def when_whole(self, check: Callable[[int], None], allocate: Callable[[int], Body], step: Step) -> None:
        """Take the step once `take_whole` can tell, of a body that is not here to its end. Raises what `check` raises of what is here.

        The same as `read_whole`, for who has no task.
        """
        if self.buffered:
            check(self.buffered)
        self._gather(check, allocate)
        self._step = step

    def refuse(self, error: Exception) -> None:
        """Whoever waits for the whole body waits no longer."""
        if self._check is not None:
            self._check, self._refused = None, error
            self._wake()

    def take_whole(self) -> Body:
        """The body, which is here to its end, or will never be. Raises what it was refused for, and `ClientGone`."""
        if self._refused is not None:
            raise self._refused
        if not self.complete:
            raise ClientGone
        return self._take()

    def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """The whole answer; its length is added. Who has left gets nothing. Headers that come again and again are a tuple."""
        head = b"%bcontent-length: %d\r\n%b" % (self._begin(status, headers), len(body), self._end_of_head())
        if self.method == "HEAD":
            self.connection.write(head)
        elif len(body) <= _JOINED_BYTES:
            self.connection.write(head + body)
        else:
            self.connection.write(head)
            self.connection.write(body)
        self._finish()

    def start(self, status: int, headers: Sequence[Header]) -> None:
        """The head of an answer that goes out in pieces, with the first of them; without a `content-length` it is chunked."""
        head = self._begin(status, headers)
        lengthless = status not in _BODILESS and not any(name.lower() == b"content-length" for name, _ in headers)
        if lengthless and self.method != "HEAD":
            if self.is_http10:
                self.keep_alive = False
            else:
                self._chunked = True
                head += _CHUNKED
        self._head = head + self._end_of_head()

    async def send(self, piece: bytes, *, more: bool) -> None:
        """The next piece; returns once the caller has taken enough of it. Raises `ClientGone`."""
        data, self._head = self._head + self._framed(piece, more=more), b""
        if data:
            self.connection.write(data)
        if not more:
            self._finish()
            return
        await self.connection.writable()
        if self.gone:
            raise ClientGone

    def abort(self) -> None:
        """End the connection at once: the caller sees that the answer is not whole."""
        self.answered = True
        self.connection.abort()

    def feed(self, piece: bytes) -> bool:
        """Some more of the body came; does somebody want more of it?"""
        self._parts.append(piece)
        self.buffered += len(piece)
        return self._is_wanted()

    def room(self) -> memoryview | None:
        """Where the rest of the body belongs, if it has memory of its own."""
        return None if self._target is None else self._target[self.buffered :]

    def filled(self, count: int) -> bool:
        """So many bytes stand in `room`; does somebody want more of it?"""
        self.buffered += count
        return self._is_wanted()

    def _is_wanted(self) -> bool:
        if self._check is None:
            return self._wake()
        try:
            self._check(self.buffered)
        except Exception as error:  # noqa: BLE001  whoever reads is told
            self.refuse(error)
        return self._check is not None

    def end_body(self) -> None:
        """The body is here to its end."""
        self.complete = True
        self._wake()

    def leave(self) -> None:
        """The caller is gone: whoever works on this may stop."""
        self.gone = True
        self._wake()
        if self.task is not None and self.begun and not self.answered:
            self.task.cancel()

    def _gather(self, check: Callable[[int], None], allocate: Callable[[int], Body]) -> None:
        """Let the rest of the body come."""
        self._check = check
        if self.length - self.buffered >= _DIRECT:
            self._move(allocate(self.length))
        self._invite()

    def _invite(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            self.connection.write(_CONTINUE)
        self.connection.resume()

    async def _woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._settle()

    def _settle(self) -> None:
        """Nobody waits for the body any more."""
        self._check = None
        if not self.complete:
            self._memory = self._target = None

    def _wake(self) -> bool:
        if self._step is not None:
            step, self._step = self._step, None
            self._settle()
            self.connection.follow(self, step)
            return True
        if self._waiter is None or self._waiter.done():
            return False
        self._waiter.set_result(None)
        return True

    def _move(self, memory: Body) -> None:
        """What is here to where the rest is to follow."""
        self._memory, self._target = memory, memoryview(memory)
        self._target[: self.buffered] = b"".join(self._parts)
        self._parts = []

    def _take(self) -> Body:
        if self._memory is None:
            return self._take_parts()
        memory, self._memory, self._target = self._memory, None, None
        return memory

    def _take_parts(self) -> bytes:
        parts, self._parts, self.buffered = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _begin(self, status: int, headers: Sequence[Header]) -> bytes:
        self.started = True
        return _usual_head(status, headers) if isinstance(headers, tuple) else _head(status, headers)

    def _end_of_head(self) -> bytes:
        if self.connection.leaving:
            self.keep_alive = False
        return b"\r\n" if self.keep_alive else _CLOSE

    def _framed(self, piece: bytes, *, more: bool) -> bytes:
        if not self._chunked:
            return b"" if self.method == "HEAD" else piece
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        return framed if more else framed + b"0\r\n\r\n"

    def _finish(self) -> None:
        self.answered = True
        self.connection.finish(self)


def _head(status: int, headers: Sequence[Header]) -> bytes:
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return line + b"".join([b"%b: %b\r\n" % header for header in headers])


_usual_head = lru_cache(maxsize=64)(_head)


def split_target(target: bytes) -> tuple[str, bytes]:
    """Path, decoded, and query of a request's target (RFC 9112, 3.2). Raises `BadTarget`."""
    if not target.startswith(b"/") or b"#" in target:
        return _split_url(target)
    raw, _, query = target.partition(b"?")
    return _decode(raw), query


def _split_url(target: bytes) -> tuple[str, bytes]:
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as bad:
        raise BadTarget from bad
    return _decode(url.path or b"/"), url.query or b""


def _decode(raw: bytes) -> str:
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError as bad:
        raise BadTarget from bad
    if "%" not in path:
        return path
    from urllib.parse import unquote  # noqa: PLC0415  hardly anybody spells our paths so

    return unquote(path)
