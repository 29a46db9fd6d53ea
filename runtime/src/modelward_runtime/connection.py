"""One HTTP/1.1 connection: whose turn it is, answers in the order of the requests, and an end to all that a caller may leave open.

`site.py` makes one for each caller, the activator a kind of its own; `requests.py` reads the bytes. An application takes a request
(`request.py`) and answers it at once, or returns a coroutine, which becomes the request's task. Requests behind one another wait
their turn, and nothing more is read meanwhile.

      ┌▶ head ─▶ body ─▶ whole ─┐
      │            └────────────┴▶ application ─▶ answer ─┬▶ the next head
      └───────────────────────────────────────────────────┘└▶ `connection: close`, by the caller's wish or ours
      a caller who leaves, anywhere: the task is cancelled; one who stands still: closed by `check`, which the site calls

It must not know paths, nor read a body for anybody.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from modelward_runtime.caller import ClientGone
from modelward_runtime.request import Request, Step
from modelward_runtime.requests import Requests, Unreadable

if TYPE_CHECKING:
    from modelward_runtime.site import Site

_STALLED: Final = 3  # looks at a caller who took nothing of an answer meanwhile
_WAITS: Final = 512  # bytes that a request behind another takes beside its body

_log = logging.getLogger(__name__)


class Application(Protocol):
    """Answers requests."""

    def __call__(self, request: Request, /) -> Coroutine[Any, Any, None] | None:
        """Answer it now, or return what will."""


class Connection(asyncio.BufferedProtocol):
    """One connection of a site. `address` is the caller's, spelled as gRPC does, empty where there is none."""

    def __init__(self, site: "Site") -> None:
        self.address = ""
        self.leaving = False  # no request may follow
        self._site = site
        self._application = site.application
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._requests = Requests(self, site.buffer, site.first)
        self._current: Request | None = None  # whose turn it is
        self._waiting: deque[Request] = deque()
        self._advancing = False
        self._last_words = b""  # for when all before is answered
        self._reading_paused = self._writing_paused = False
        self._writable: asyncio.Future[None] | None = None
        self._answers, self._seen, self._still, self._unsent = 0, -1, 0, 0
        self._kept = 0  # of `site.unfinished`

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller is there."""
        self._transport = transport  # type: ignore[assignment]  # a listener of streams makes no other
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.address = str(peer[0]).removeprefix("::ffff:")
        self._site.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left, or we have."""
        self._site.leave(self)
        self._site.unfinished.admits(self._kept, 0)
        self._kept = 0
        for request in {self._current, self._requests.arriving} - {None}:
            request.leave()  # type: ignore[union-attr]  # None is none of them
        self._requests.end()
        self._current = None
        self._waiting.clear()
        self._let_write()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._requests.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Read, and start what can be started."""
        try:
            self._requests.take(nbytes)
        except Unreadable as bad:
            self._give_up(bad.words)
            return
        if (request := self._requests.arriving) is not None and not request.taken:
            self.take_turn(request)
        if self._kept or request is not None or self._waiting or self._requests.in_head:
            self._tell_what_is_kept()

    def pause_writing(self) -> None:
        """The caller reads too slowly."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The caller has read some."""
        self._writing_paused = False
        self._let_write()
        self._advance()

    # what requests call

    def take_turn(self, request: Request) -> None:
        """It has begun to come, or is whole: it is its turn behind those before it."""
        if request.taken:
            return
        request.taken = True
        if self._current is None and not (
            self._waiting or self._advancing or self._writing_paused or self._transport.is_closing()
        ):
            self._advancing = True  # as `_advance` does it, for most requests
            self._current = request
            self._start(request)
            self._advancing = False
        else:
            self._waiting.append(request)
        self._advance()
        if self._waiting:
            self.pause()

    def write(self, data: bytes) -> None:
        """Send; who has left gets nothing."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Return when the caller has taken enough of what was written, or has left."""
        if self._writing_paused and not self._transport.is_closing():
            self._writable = self._loop.create_future()
            await self._writable

    def pause(self) -> None:
        """Nobody wants to read for now."""
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Somebody wants to read."""
        if self._reading_paused:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def finish(self, request: Request) -> None:
        """The answer is written."""
        if self._current is not request:
            return
        self._current = None
        self._answers += 1
        if not request.keep_alive:
            self._close(heard_out=request.complete)
            return
        if not request.complete:
            self.resume()
        self._advance()

    def follow(self, request: Request, step: Step) -> None:
        """What was waited for is there: go on with it."""
        try:
            work = step()
        except Exception:  # noqa: BLE001  the last border
            _log.exception("request failed unexpectedly")
            work = None
        self._go_on(request, work)

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # what the site calls

    def shutdown(self) -> None:
        """End it with the answer that is being made, or now."""
        self.leaving = True
        if self._current is None:
            self._transport.close()

    def give_up(self) -> None:
        """End it, whatever is being made."""
        if self._current is not None and self._current.task is not None:
            self._current.task.cancel()
        self.abort()

    def check(self, patience: int) -> None:
        """Looked at now and then: who has not moved for long is closed; `patience` is how many looks an idle caller may stay."""
        unsent = self._transport.get_write_buffer_size()
        moves = self._requests.moves + self._answers
        moved = moves != self._seen or unsent != self._unsent
        self._seen, self._unsent = moves, unsent
        self._still = 0 if moved else self._still + 1
        if unsent:
            if self._still >= _STALLED:
                self._transport.abort()
        elif self._current is None and self._still >= (1 if self._is_owed() else patience):
            self._transport.close()

    def _is_owed(self) -> bool:
        """The caller has begun something, or never began; after a whole request it may rest."""
        requests = self._requests
        return requests.in_head or requests.arriving is not None or requests.ended or not requests.moves

    # the rest

    def _advance(self) -> None:
        """Start what waits, one after the other, while the caller reads the answers."""
        if self._advancing:
            return
        self._advancing = True
        while self._waiting and self._current is None and not (self._writing_paused or self._transport.is_closing()):
            self._current = self._waiting.popleft()
            self._start(self._current)
        self._advancing = False
        if self._kept:
            self._tell_what_is_kept()
        if self._waiting or self._current is not None:
            return
        if self._last_words:
            self.write(self._last_words)
            self._close(heard_out=False)
        elif (arriving := self._requests.arriving) is None or arriving.answered:
            self.resume()

    def _tell_what_is_kept(self) -> None:
        """And end it where that is too much, with what others have begun."""
        kept = self._requests.unfinished + _WAITS * len(self._waiting)
        before, self._kept = self._kept, kept
        if not self._site.unfinished.admits(before, kept):
            self.abort()

    def _start(self, request: Request) -> None:
        try:
            work = self._application(request)
        except Exception:  # noqa: BLE001  the last border
            _log.exception("request failed unexpectedly")
            work = None
        self._go_on(request, work)

    def _go_on(self, request: Request, work: Coroutine[Any, Any, None] | None) -> None:
        """With its task; it is answered, or else waits for its body."""
        if work is not None:
            request.task = self._loop.create_task(self._attend(request, work))
        elif not (request.answered or request.awaits or request.gone):
            self._fail(request)

    async def _attend(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        request.begun = True
        if request.gone and request.task is not None:
            request.task.cancel()  # in its first wait, so that what it has begun comes to an end
        try:
            await work
        except ClientGone:
            pass
        except Exception:  # noqa: BLE001  the last border
            _log.exception("request failed unexpectedly")
        finally:
            if not (request.answered or request.gone):
                self._fail(request)

    def _fail(self, request: Request) -> None:
        if request.started:
            self.abort()
            return
        request.keep_alive = False
        request.respond(500, [(b"content-type", b"application/json")], b'{"error":"internal error"}')

    def _give_up(self, words: bytes) -> None:
        """What comes cannot be understood: say so in its turn, and end."""
        request, self._last_words = self._requests.arriving, words
        self._requests.end()
        if request is not None:
            if request.started:
                self.abort()
            request.leave()
            if self._current is request:
                self._current = None
            elif request in self._waiting:
                self._waiting.remove(request)
        self._advance()

    def _close(self, *, heard_out: bool) -> None:
        """Say goodbye. What is not read when a socket is closed takes the answer with it: such a caller closes first, or `check` does."""
        self._requests.end()
        self._last_words = b""
        self._waiting.clear()
        if heard_out or not self._transport.can_write_eof() or self._transport.is_closing():
            self._transport.close()
            return
        self._transport.write_eof()
        self.resume()

    def _let_write(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
