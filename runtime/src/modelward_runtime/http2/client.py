"""The other side of HTTP/2: one connection to a server, for many requests whose bodies and answers go through piece by piece.

Dialled by `activator/channel.py`. What both sides have in common is the server's (`connection.py`, `receiver.py`, `outbox.py`). What an
answer may have in memory is its stream's window: the server gets room again when somebody has taken a piece, and not before.

      connect ─▶ SETTINGS of the server: `stands` ─▶ request ─▶ send (…) ─▶ end
                                                       └─▶ head ─▶ piece (…) ─▶ trailers      lost: RST_STREAM, or the connection is gone
"""

import asyncio
from collections.abc import Callable
from typing import Final

from modelward_runtime.http2 import frames
from modelward_runtime.http2.connection import Connection, Home, Settings
from modelward_runtime.http2.faults import Code, ConnectionFault, StreamFault
from modelward_runtime.http2.fields import BadFields, check_answer
from modelward_runtime.http2.frames import END_STREAM, PREFACE, Setting
from modelward_runtime.http2.hpack import Fields, FieldsTooLarge
from modelward_runtime.http2.pieces import Pieces
from modelward_runtime.http2.reader import Reader
from modelward_runtime.http2.receiver import MOST_STREAMS, WINDOW, Receiver
from modelward_runtime.http2.stream import Stream

_LAST_OPENED: Final = 1 << 30  # a connection with so many requests behind it takes no more


class Exchange(Pieces):
    """One request and its answer, whose body is taken by `piece`. One task reads, another may write."""

    __slots__ = ("_head", "_sent", "bare", "trailers")

    def __init__(self, connection: Connection, number: int, window: int, allowance: int) -> None:
        super().__init__(connection, number, window, allowance)
        self.trailers: Fields = ()
        self.bare = False  # the answer's first fields were all of it
        self._head: Fields | None = None
        self._sent = False  # all of the request

    # What its task does

    def end(self) -> None:
        """The request is complete."""
        if not self._sent:
            self._sent = True
            self.connection.outbox.end(self)

    async def head(self) -> Fields:
        """The answer's first fields. Raises `Lost`."""
        while self._head is None:
            await self.move()
        return self._head

    def close(self) -> None:
        """Nobody waits for it any more: who reads or writes it hears that it is lost."""
        if not self.closed:
            if self.heard and self._sent and self.pending is None and isinstance(self.connection, ClientConnection):
                self.connection.forget(self)
            else:
                self.reset()
        self.lost()

    # What the connection tells

    def answered(self, fields: Fields, *, ends: bool) -> None:
        """A block of fields: the head, or what ends the answer. Raises `BadFields`."""
        check_answer(fields, trailing=self._head is not None)
        if self._head is None:
            if fields[0][1].startswith(b"1"):
                return  # only a hint that there will be one
            self._head, self.bare = fields, ends
        elif not ends:
            raise BadFields
        else:
            self.trailers = fields
        self.heard = ends
        self.received(b"")


class ClientConnection(Connection):
    """One connection to a server. `gone` is told when it can take no more requests."""

    def __init__(self, home: Home, settings: Settings, gone: Callable[["ClientConnection"], None]) -> None:
        super().__init__(home, _open_nothing, settings)
        self.receiver = _Answers(self, settings.most_fields)
        self.reader = Reader(self.receiver, home.buffer, settings.largest, settings.most_fields, greeted=True)
        self.stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.most = MOST_STREAMS  # that may be open, until the server says less
        self._gone = gone
        self._next = 1

    @property
    def takes(self) -> bool:
        """Another request: a server that does not read has enough of them, for their fields do not wait for it as bodies do."""
        return (
            not self._leaving
            and not self.closing
            and not self.choked
            and self.receiver.settled
            and len(self.streams) < self.most
            and self._next < _LAST_OPENED
        )

    def request(self, fields: Fields, others: Fields) -> Exchange:
        """Send a request's fields; of those `others` that no other request is likely to have."""
        number, self._next = self._next, self._next + 2
        stream = Exchange(self, number, self.outbox.initial, self._settings.window)
        self.streams[number] = stream
        self.receiver.last = number
        self.outbox.fields(stream, fields, others, end=False)
        return stream

    def greet(self) -> None:
        """Say what a client says first."""
        told = {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: self._settings.window,
            Setting.MAX_FRAME_SIZE: self._settings.largest,
            Setting.MAX_HEADER_LIST_SIZE: self._settings.most_fields,
        }
        self.write(PREFACE + frames.settings(told) + frames.window_update(0, WINDOW - frames.DEFAULT_WINDOW))

    def hear_settings(self, changes: list[tuple[int, int]]) -> None:
        """The server has said how it wants it."""
        self.most = min(dict(changes).get(Setting.MAX_CONCURRENT_STREAMS, self.most), MOST_STREAMS)
        if not self.stands.done():
            self.stands.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        if not self.stands.done():
            self.stands.set_exception(ConnectionResetError("the connection ended"))
            self.stands.exception()  # seen, also where nobody waits
        self._gone(self)

    def hear_ping(self, payload: bytes) -> None:
        """We asked nothing."""

    def hear_goaway(self, last: int) -> None:
        """The server takes no more requests; those that it has looked at go on."""
        for stream in [one for one in self.streams.values() if one.number > last]:
            self.lose(stream)
        self.retire()

    def retire(self) -> None:
        """Take no more requests, and end with the last one."""
        self._leaving = True
        self._gone(self)
        self._close_if_done()

    def forget(self, stream: Stream) -> None:
        """A request is answered."""
        self.answered += 1
        self._close(stream)

    def _close_if_done(self) -> None:
        if not self.streams and not self.closing:
            self.closing = True
            self._transport.close()


class _Answers(Receiver):
    """What a server's frames do."""

    def __init__(self, connection: ClientConnection, most_fields: int) -> None:
        super().__init__(connection, most_fields)
        self._client = connection

    def _take_block(self, number: int, flags: int, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block)
        except FieldsTooLarge:
            raise StreamFault(number, Code.ENHANCE_YOUR_CALM) from None
        stream = self._client.streams.get(number)
        if not isinstance(stream, Exchange):
            self._check_closed(number)
            return
        if stream.heard:
            raise StreamFault(number, Code.STREAM_CLOSED)
        try:
            stream.answered(fields, ends=bool(flags & END_STREAM))
        except BadFields:
            raise StreamFault(number, Code.PROTOCOL_ERROR) from None


def _open_nothing(_connection: Connection, _number: int, _window: int, _allowance: int) -> Stream:
    raise ConnectionFault(Code.PROTOCOL_ERROR, "servers open no streams")
