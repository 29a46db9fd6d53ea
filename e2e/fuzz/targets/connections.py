"""The bytes of an HTTP connection, in any pieces: what is answered is well formed, and does not depend on where the pieces end.

A second parser (h11) reads the same bytes: as far as both take them for requests they are the same ones, so that no proxy in front can be
told another story than the server.
"""

import asyncio
import json
from typing import Any

import h11

from e2e.fuzz.draw import Draw
from e2e.fuzz.target import target
from modelward_runtime.request import BadTarget, Request, split_target
from modelward_runtime.site import Site

_BODY = b'{"inputs":[]}'
_POST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\n" + _BODY
_GET = b"GET /v2/health/live?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
_CHUNKED = b"POST /a%20b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"
_OFFER = _POST.replace(
    b"Host: h", b"Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA"
)
SEEDS = [
    b"\0" + _POST,
    b"\5" + _POST + _GET + _CHUNKED,
    b"\3" + _OFFER + _POST,
    b"\7" + _CHUNKED.replace(b"Host: h", b"Host: h\r\nUpgrade: websocket\r\nConnection: upgrade") + _GET,
    b"\2" + _POST.replace(b"Host: h", b"Host: h\r\nExpect: 100-continue\r\nConnection: close") + _GET,
    b"\1" + _GET.replace(b"1.1", b"1.0") + _POST,
    b"\4" + _POST.replace(b"POST", b"HEAD") + b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n" + _GET,
    b"\6" + b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET http://h/v2 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\x0b" + _POST.replace(b"Content-Length: 13", b"Content-Length: 13\r\nContent-Length: 14"),
    b"\x0c" + _POST.replace(b"Content-Length: 13", b"Content-Length: 13\r\nTransfer-Encoding: chunked"),
]
WORDS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"0\r\n\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"HTTP/1.0", b"HTTP/2.0", b"PRI * HTTP/2.0", b"\x00", b"\t", b" ", b"%00", b"%", b"#", b"GET /", b"HEAD /", b": ",
    b"ffffffffffffffffff\r\n", b"-1",
]  # fmt: skip


class _Transport(asyncio.Transport):
    """Takes what a connection writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("::ffff:127.0.0.1", 5, 0, 0)})
        self.written = bytearray()
        self.ended = False

    def write(self, data: Any) -> None:
        assert not self.ended, "written after the end"
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = True

    abort = close

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None:
        """Nothing comes but what is given."""

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        return 0


async def _echo(request: Request) -> None:
    """Answer with what was asked."""
    body = b""
    if request.length % 2:
        body = bytes(await request.read_whole(lambda _: None, bytearray))
    while piece := await request.read():
        body += piece
    said = json.dumps([request.method, request.target.decode("latin-1"), body.decode("latin-1")]).encode()
    request.respond(200, [(b"content-type", b"application/json")], said)


async def _converse(pieces: list[bytes]) -> bytes:
    """What one connection answers to these pieces."""
    site = Site(_echo, keep_alive=120)
    connection, transport = site(), _Transport()
    connection.connection_made(transport)
    for piece in pieces:
        position = 0
        while position < len(piece):
            room = connection.get_buffer(-1)
            count = min(len(room), len(piece) - position)
            room[:count] = piece[position : position + count]
            position += count
            connection.buffer_updated(count)
        for _ in range(2):
            await asyncio.sleep(0)
    for _ in range(30):  # as many answers as there may be
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    await site.close(0)
    assert not site.unfinished.held, "what was kept is given back"
    return bytes(transport.written)


def _read_answers(said: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer, but for 100s. AssertionError when they are no HTTP."""
    answers = []
    while said:
        head, end, said = said.partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        assert end, head
        assert line.startswith(b"HTTP/1.1 "), line
        status = int(line[9:12])
        if status == 100:
            assert not headers
            continue
        lengths = [value for name, _, value in (one.partition(b": ") for one in headers) if name == b"content-length"]
        assert len(lengths) == 1, head
        length = int(lengths[0])
        if said.startswith(b"HTTP/1.1 ") or not said:  # of a HEAD
            length = 0
        assert len(said) >= length, "an answer is cut"
        answers.append((status, said[:length]))
        said = said[length:]
    return answers


def _by_the_book(data: bytes) -> list[tuple[str, str, str]]:
    """The whole requests that h11 reads, until it understands no more."""
    found: list[tuple[str, str, str]] = []
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(data)
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                method, where, body = event.method.decode(), event.target.decode("latin-1"), b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                found.append((method, where, body.decode("latin-1")))
                parser.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                parser.send(h11.EndOfMessage())
                parser.start_next_cycle()
            else:
                return found
    except h11.ProtocolError:
        return found


_loop: list[asyncio.AbstractEventLoop] = []


@target("connection", seeds=SEEDS, words=WORDS, longest=600, runs=600)
def converse(data: bytes) -> None:
    """A connection's answers are well formed, the same in whatever pieces its bytes come, and to the requests that h11 reads."""
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    size = 1 + Draw(data).byte()
    data = data[1:]
    whole = _read_answers(_loop[0].run_until_complete(_converse([data])))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert whole == _read_answers(_loop[0].run_until_complete(_converse(pieces))), f"in pieces of {size}"
    assert all(status in {200, 400, 431} for status, _ in whole), whole
    ours = [tuple(json.loads(body)) for status, body in whole if status == 200 and body]
    theirs = [one for one in _by_the_book(data) if one[0] != "HEAD"]
    for one, other in zip(ours, theirs, strict=False):
        if one[0] == "CONNECT":  # refused by every path; where to is not looked at
            break
        assert one == other, f"read as {one}, by h11 as {other}"


@target(
    "address",
    seeds=[b"/v2", b"/v2?x", b"http://h/v2", b"*", b"/%2e%2e/x"],
    words=[b"%2f", b"http://", b"#", b"?", b"\x00", b"//"],
    runs=1500,
)
def read_target(data: bytes) -> None:
    """What stands where the path should be is a path and a query, or refused."""
    try:
        path, query = split_target(data)
    except BadTarget:
        return
    assert isinstance(path, str)
    assert isinstance(query, bytes)
