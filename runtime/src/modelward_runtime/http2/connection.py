"""One connection: its streams, what is sent on it, and how it ends.

Made by `server.py` for each socket, as asyncio's `BufferedProtocol`. What a client sends, `reader.py` and `receiver.py` understand. Who
does not read is sent no bodies; of what is sent all the same (errors, answers to pings) twice `Settings.unread`, and then it is cut off.
Answers to pings and room for more go out with the answer that follows, if that is made of the same read: a write costs as much as a small
call's whole way through Python.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from modelward_runtime.http2 import frames
from modelward_runtime.http2.faults import Code, ConnectionFault
from modelward_runtime.http2.frames import Setting, Type
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.outbox import Outbox
from modelward_runtime.http2.reader import Reader
from modelward_runtime.http2.receiver import MOST_STREAMS, WINDOW, Receiver
from modelward_runtime.http2.stream import Stream
from modelward_runtime.unfinished import Unfinished

_JOINED: Final = 1 << 16  # bytes that are cheaper to copy than to write apart
_FAREWELL: Final = b"farewell"  # the ping whose answer says that the client has heard what was sent before it


class Settings(msgspec.Struct, frozen=True):
    """What one side tells the other: bytes of each stream that may come unasked, of a frame, and of a stream's header fields.

    `unread` is told to nobody: the bytes that wait for the other side to read them, before bodies wait too; twice as many end it.
    """

    window: int = frames.DEFAULT_WINDOW
    largest: int = frames.DEFAULT_FRAME
    most_fields: int = 1 << 16
    unread: int = 1 << 20


class Home(Protocol):
    """What has a connection: a server, or who has dialled. All of its connections read into one `buffer`; `now` is a monotonic clock."""

    buffer: memoryview
    now: Callable[[], float]
    unfinished: Unfinished

    def enter(self, connection: "Connection") -> None:
        """A connection is there."""

    def leave(self, connection: "Connection") -> None:
        """It is gone."""

    def later(self, step: Callable[[], None]) -> None:
        """Do something when the other side had time to hear us."""


class Connection(asyncio.BufferedProtocol):
    """One client. `owes_since` is when it began what it must finish soon: its greeting, or a block of fields."""

    def __init__(self, server: Home, make: Callable[["Connection", int, int, int], Stream], settings: Settings) -> None:
        self.streams: dict[int, Stream] = {}
        self.working = 0  # streams that are closed, and whose work has not ended
        self.answered = 0
        self.choked = False  # the client does not read
        self.closing = False
        self.born = self.heard_at = server.now()
        self.owes_since: float | None = self.born
        self.peer = ""
        self.outbox = Outbox(self)
        self.receiver = Receiver(self, settings.most_fields)
        self.reader = Reader(self.receiver, server.buffer, settings.largest, settings.most_fields)
        self._server = server
        self._make = make
        self._settings = settings
        self._transport: Any = None
        self._asked_at = -1.0
        self._leaving = False
        self._done = False  # there will be no more streams, and none is open
        self._reading = False  # what has come is being looked at
        self._kept = 0  # of `server.unfinished`
        self._told: list[bytes] = []  # what goes out with the next write, when that is done at latest

    @property
    def load(self) -> int:
        """Streams that are open, or are still being worked on."""
        return len(self.streams) + self.working

    # asyncio's side

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  asyncio's transports have no common type
        """A client is there."""
        self._transport = transport
        self.peer = _address(transport)
        transport.set_write_buffer_limits(high=self._settings.unread)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() not in {"h2", None}:
            transport.abort()
            return
        self._server.enter(self)
        self.greet()

    def greet(self) -> None:
        """Say what a server says first."""
        told = {
            Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: self._settings.window,
            Setting.MAX_FRAME_SIZE: self._settings.largest,
            Setting.MAX_HEADER_LIST_SIZE: self._settings.most_fields,
        }
        self.write(frames.settings(told) + frames.window_update(0, WINDOW - frames.DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.closing = True
        self._server.leave(self)
        self._server.unfinished.admits(self._kept, 0)
        self._kept = 0
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            stream.closed = True
            self.outbox.forget(stream)
            stream.lost()

    def pause_writing(self) -> None:
        """The client does not read what it is sent."""
        self.choked = True

    def resume_writing(self) -> None:
        """It does again."""
        self.choked = False
        self.outbox.go_on()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self.reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        self.heard_at = self._server.now()
        self._reading = True
        try:
            self.reader.take(nbytes)
        except ConnectionFault as fault:
            self._end(fault)
        finally:
            self._reading = False
        if self._told:
            self.write(b"")
        kept = self.reader.unfinished + self.receiver.unfinished
        if kept != self._kept:
            before, self._kept = self._kept, kept
            if not self._server.unfinished.admits(before, kept):
                self.abort()

    # For streams and the outbox

    def write(self, data: "bytes | memoryview") -> None:
        """Send."""
        if self.closing:
            return
        if self.choked and self._transport.get_write_buffer_size() > 2 * self._settings.unread:
            self.abort()
            return
        if self._told:
            told, self._told = b"".join(self._told), []
            if len(data) > _JOINED:
                self._transport.write(told)
            else:
                data = told + data
        self._transport.write(data)

    def tell(self, data: bytes) -> None:
        """Send something that can wait until what has come was looked at."""
        if self._reading:
            self._told.append(data)
        else:
            self.write(data)

    def allow(self, number: int, more: int) -> None:
        """A stream's client may send so many bytes more."""
        self.tell(frames.window_update(number, more))

    def ended(self, stream: Stream) -> None:
        """A stream's answer is complete."""
        self.answered += 1
        if not stream.heard:  # the rest is not wanted
            self.write(frames.reset(stream.number, Code.NO_ERROR))
            self.receiver.remember_cut(stream.number)
        self._close(stream)

    def cut(self, stream: Stream, code: Code) -> None:
        """End a stream without an answer."""
        if stream.closed:
            return
        self.write(frames.reset(stream.number, code))
        self.receiver.remember_cut(stream.number)
        self._close(stream)

    # For the receiver

    def open(self, number: int, fields: Fields | None, expected: int, *, heard: bool) -> None:
        """A stream opens. Its fields are None where they are too large, `expected` bytes are announced, it may be all that comes."""
        stream = self._make(self, number, self.outbox.initial, self._settings.window)
        stream.expected, stream.heard = expected, heard
        self.streams[number] = stream
        if fields is None:
            stream.overflowed()
        else:
            stream.opened(fields)

    def lose(self, stream: Stream) -> None:
        """A stream's client does not wait for its answer, or broke it."""
        self._close(stream)
        stream.lost()

    def owes(self) -> None:
        """The client has begun what it must finish soon."""
        self.owes_since = self._server.now()

    def owes_nothing(self) -> None:
        """It has finished it."""
        self.owes_since = None

    def hear_ping(self, payload: bytes) -> None:
        """The client answers a ping."""
        if payload == _FAREWELL:
            self._say_goodbye()

    def hear_settings(self, changes: list[tuple[int, int]]) -> None:
        """The client wants it so; what concerns the streams is done."""

    def hear_goaway(self, last: int) -> None:
        """The client will open no more streams. Of a server's, `last` is the highest that it has looked at."""
        self._leaving = True
        self._say_goodbye()

    # For the server

    def ask_to_leave(self) -> None:
        """Tell the client to open no more streams here, without losing those that are under way: RFC 9113, section 6.8."""
        if self._leaving or self.closing:
            return
        self._leaving = True
        notice = frames.goaway(frames.LAST_STREAM, Code.NO_ERROR, "go on elsewhere")
        self.write(notice + frames.frame(Type.PING, 0, 0, _FAREWELL))
        self._server.later(self._say_goodbye)

    def check_alive(self) -> None:
        """Make a client that is silent show that it is there; once, for as long as it is."""
        if self._asked_at == self.heard_at:
            return
        self._asked_at = self.heard_at
        self.write(frames.frame(Type.PING, 0, 0, b"anybody?"))

    def abort(self) -> None:
        """It is not, or does not read."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def _close(self, stream: Stream) -> None:
        stream.closed = True
        self.outbox.forget(stream)
        self.streams.pop(stream.number, None)
        if self._leaving:
            self._close_if_done()

    def _say_goodbye(self) -> None:
        """Whoever was asked to leave has heard it, or does not answer: what comes now is refused, and may be sent elsewhere."""
        if self._leaving and not self.closing and self.receiver.most == frames.LAST_STREAM:
            self.receiver.most = self.receiver.last
            self.write(frames.goaway(self.receiver.last, Code.NO_ERROR))
            self._close_if_done()

    def _close_if_done(self) -> None:
        """Leave it to the client to hang up.

        A socket that is closed here with anything unread on it, an update of a window say, resets the connection, and what the client has
        not read of its last answer is lost.
        """
        if not self.streams and not self._done and self.receiver.most != frames.LAST_STREAM:
            self._done = True
            self._server.later(self._hang_up)

    def _hang_up(self) -> None:
        """It has not, though it could."""
        if self.closing:
            return
        if self._transport.get_write_buffer_size():
            self._server.later(self._hang_up)
            return
        self.closing = True
        self._transport.close()

    def _end(self, fault: ConnectionFault) -> None:
        """The client broke the connection."""
        if self.closing:
            return
        self.write(frames.goaway(self.receiver.last, fault.code, str(fault)))
        self.closing = True
        self._transport.close()


def _address(transport: Any) -> str:  # noqa: ANN401  as above
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""
