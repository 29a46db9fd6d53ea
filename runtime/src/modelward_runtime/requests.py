"""Requests out of the bytes of a connection: heads by llhttp (httptools), bodies by their length, both under bounds.

One `Requests` lives as long as its connection (`connection.py`), which feeds it and hears of each request twice at most: when its
first bytes were understood (`arriving`) and when it is whole (`take_turn`). Nothing here waits, writes or closes.

    idle ─▶ head ─▶ body ─▶ whole ─▶ idle     a body of known length is not parsed, only counted, once its first piece was, and a
              │       └ chunked                large one is read to where its request wants it
              └ over 64 KiB: Unreadable        an offer to upgrade is declined: the head is read on as if it had none
                                               behind a last request (`Connection: close`) nothing is one
"""

from typing import TYPE_CHECKING, Any, Final

import httptools

from modelward_runtime.request import Header, Request

if TYPE_CHECKING:
    from modelward_runtime.connection import Connection

MAX_HEAD_BYTES: Final = 1 << 16
_MOST_BUFFERED: Final = (
    1 << 15
)  # bytes of a body that nobody reads; less than a first read, so that a large one says where it goes
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


def _refusal(status: bytes, text: bytes) -> bytes:
    body = b'{"error":"%b"}' % text
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status, len(body)) + body


_TOO_LARGE: Final = _refusal(
    b"431 Request Header Fields Too Large", b"request headers are over the limit of %d bytes" % MAX_HEAD_BYTES
)
_NOT_HTTP: Final = _refusal(b"400 Bad Request", b"this is not a request of HTTP/1.1")


class Unreadable(Exception):
    """What comes is no request, and nothing behind it can be one; `words` is the answer, whole."""

    def __init__(self, words: bytes) -> None:
        super().__init__("no request")
        self.words = words


class _HeadTooLarge(Exception):
    """A head has ended, beyond the limit."""


class Requests:
    """The requests of one connection; `moves` counts what has begun or ended, so that standing still can be seen.

    It is read into `buffer`, to `first` of it where a request begins.
    """

    def __init__(self, connection: "Connection", buffer: memoryview, first: memoryview) -> None:
        self.arriving: Request | None = None  # its head was read, and its body not to the end
        self.in_head = False
        self.moves = 0
        self._connection = connection
        self._buffer, self._first = buffer, first
        self._filling: Request | None = None  # to whose memory the next bytes go
        self._parser = self._make_parser()
        self._target, self._headers = b"", list[Header]()
        self._head_bytes = self._piece_bytes = 0
        self._is_measured = False  # `_head_bytes` are those of the request that arrives
        self._body_left = 0  # of a body whose length is known
        self._ended = False
        self._declining = False

    def end(self) -> None:
        """Nothing that comes is a request any more, nor the body of one. Nothing is kept of a head."""
        if self.in_head:
            self._parser = self._make_parser()
        self._ended, self.in_head, self.arriving = True, False, None
        self._target, self._headers = b"", []

    @property
    def ended(self) -> bool:
        """The last request of this connection has begun, or all has ended."""
        return self._ended

    @property
    def unfinished(self) -> int:
        """Bytes of a head that is kept for a request that is not whole."""
        if self.in_head:
            return self._head_bytes
        if self.arriving is None:
            return 0
        if not self._is_measured:
            self._head_bytes, self._is_measured = self._collected(), True
        return self._head_bytes

    def room(self) -> memoryview:
        """Where the next bytes go."""
        self._filling = None
        request = self.arriving
        if request is None:
            return self._first
        room = request.room() if self._body_left else None
        if room is None:
            return self._buffer
        self._filling = request
        return room

    def take(self, count: int) -> None:
        """So many of them are there. Raises `Unreadable`."""
        request, self._filling = self._filling, None
        if request is not None:
            self._fill(request, count)
            return
        data = bytes(self._buffer[:count])
        if self._body_left:
            data = self._take_body(data)
        if not data or (self._ended and self.arriving is None):
            return
        moves, idle = self.moves, not self.in_head and self.arriving is None
        self._piece_bytes = len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as bad:
            raise Unreadable(_TOO_LARGE if isinstance(bad.__context__, _HeadTooLarge) else _NOT_HTTP) from None
        if self.in_head:
            self._count_head(began_here=self.moves != moves, at_start=idle and self.moves == moves + 1)

    # what the parser calls

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._declining:
            return
        self.moves += 1
        self.in_head, self._head_bytes, self._is_measured = True, 0, False
        self._target, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target = self._target + url if self._target else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what stands behind a chunked body means nothing here."""
        if self.in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """A head is whole."""
        if self._declining:
            return
        self.in_head = False
        if self._ended:
            return
        if self._head_bytes + self._piece_bytes > MAX_HEAD_BYTES and self._collected() > MAX_HEAD_BYTES:
            raise _HeadTooLarge
        parser, headers = self._parser, self._headers
        method = parser.get_method().decode()
        request = Request(self._connection, method, self._target if method != "CONNECT" else b"/", headers)
        request.is_http10 = parser.get_http_version() == "1.0"
        if request.is_http10 or not parser.should_keep_alive():
            request.keep_alive = False
        for name, value in headers:
            if name == b"content-length":
                self._body_left = request.length = int(value)  # the parser lets only digits through
            elif name == b"expect" and value.lower() == b"100-continue" and not request.is_http10:
                request.expects_continue = True
        self.arriving = request

    def on_body(self, piece: bytes) -> None:
        """A piece of a body; nobody will read what comes of one that is answered."""
        if self._body_left:
            self._body_left -= len(piece)
        request = self.arriving
        if request is None or request.answered:
            return
        wanted = request.feed(piece)
        if not (wanted or request.answered) and request.buffered > _MOST_BUFFERED:
            self._connection.pause()

    def on_message_complete(self) -> None:
        """A request is whole."""
        request = self.arriving
        if request is None or self._parser.should_upgrade():
            return
        self.arriving, self._body_left = None, 0
        self.moves += 1
        if not request.keep_alive:
            self._ended = True
        request.end_body()
        if not request.answered:
            self._connection.take_turn(request)

    # the rest

    def _make_parser(self) -> Any:  # noqa: ANN401  httptools has no type of it that knows leniencies
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # it is ignored here, not an error
        return parser

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._decline_upgrade()
                data = data[offer.args[0] :]
            else:
                return

    def _decline_upgrade(self) -> None:
        """Go on as if nothing had been offered, as HTTP lets a server do: the parser would drop the body of whoever offers.

        Java's HttpClient offers HTTP/2 so with every first request, curl with --http2. A new parser is told how the body is framed.
        """
        framing = [b"%b: %b\r\n" % header for header in self._headers if header[0] in _FRAMING]
        self._parser = self._make_parser()
        self._declining = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
        self._declining = False

    def _take_body(self, data: bytes) -> bytes:
        """More of a body of known length; what is left of the data behind it, for a new parser."""
        left = self._body_left
        if len(data) < left:
            self.on_body(data)
            return b""
        self.on_body(data[:left])
        self._end_body()
        return data[left:]

    def _fill(self, request: Request, count: int) -> None:
        """More of a body, where it wants it."""
        self._body_left -= count
        wanted = request.filled(count)
        if not self._body_left:
            self._end_body()
        elif not (wanted or request.answered):
            self._connection.pause()

    def _end_body(self) -> None:
        self._parser = self._make_parser()
        self.on_message_complete()

    def _count_head(self, *, began_here: bool, at_start: bool) -> None:
        """A head that began behind something else in this piece counts by what was found of it."""
        if began_here and not at_start:
            self._head_bytes = self._collected()
        else:
            self._head_bytes += self._piece_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            raise Unreadable(_TOO_LARGE)

    def _collected(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)
