"""The bytes of an HTTP/2 connection, its compressed header fields, and what they say of a gRPC call."""

from collections.abc import Callable

from e2e.fuzz.draw import Draw
from e2e.fuzz.target import target
from modelward_runtime.grpc_head import read_head
from modelward_runtime.http2 import frames
from modelward_runtime.http2.connection import Connection, Settings
from modelward_runtime.http2.faults import ConnectionFault
from modelward_runtime.http2.fields import BadFields, check
from modelward_runtime.http2.frames import HEAD, Type
from modelward_runtime.http2.hpack import Decoder, Encoder, Fields, FieldsTooLarge
from modelward_runtime.http2.stream import Bytes, Stream
from modelward_runtime.unfinished import Unfinished

_REQUEST: Fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"te", b"trailers"))
_BLOCK = Encoder().encode((), _REQUEST)
_GREETING = frames.PREFACE + frames.settings({})
_CALL = frames.frame(Type.HEADERS, 4, 1, _BLOCK) + frames.frame(Type.DATA, 1, 1, b"body")
_PARTS = frames.frame(Type.HEADERS, 1, 3, _BLOCK[:5]) + frames.frame(Type.CONTINUATION, 4, 3, _BLOCK[5:])
_MOST = 4096


class _Echo(Stream):
    """Answers with what it got."""

    __slots__ = ("body", "gone")

    def opened(self, fields: Fields) -> None:
        check(fields)
        self.body, self.gone = bytearray(), False
        if self.heard:
            self.received(b"")

    def overflowed(self) -> None:
        self.finish(((b":status", b"431"),))

    def received(self, data: Bytes) -> None:
        assert not self.gone
        self.body += data
        if self.heard:
            self.respond(((b":status", b"200"),))
            self.send([bytes(self.body)], len(self.body))
            self.finish(((b"ended", b"well"),))

    def lost(self) -> None:
        assert not getattr(self, "gone", False), "told twice"
        self.gone = True


class _Site:
    """The server and the transport of a connection."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(1 << 16))
        self.unfinished = Unfinished()
        self.written = bytearray()
        self.closed = False
        self.steps: list[Callable[[], None]] = []

    def now(self) -> float:
        return 0.0

    def enter(self, connection: Connection) -> None:
        """As a server does."""

    def leave(self, connection: Connection) -> None:
        """As a server does."""

    def later(self, step: Callable[[], None]) -> None:
        self.steps.append(step)

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after the end"
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_extra_info(self, name: str) -> object:
        return ("10.0.0.1", 5) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0


def _converse(data: bytes, sizes: list[int]) -> bytes:
    """What is sent to whom sends this, in pieces of these sizes."""
    site: object = _Site()
    connection = Connection(site, _Echo, Settings(most_fields=_MOST))  # type: ignore[arg-type]
    assert isinstance(site, _Site)
    connection.connection_made(site)
    place, turn = 0, 0
    while place < len(data) and not site.closed:
        room = connection.get_buffer(-1)
        size = min(sizes[turn % len(sizes)] or 1, len(room), len(data) - place)
        room[:size] = data[place : place + size]
        connection.buffer_updated(size)
        place, turn = place + size, turn + 1
    for step in site.steps:
        step()
    connection.connection_lost(None)
    assert not connection.streams
    assert not site.unfinished.held
    return bytes(site.written)


@target(
    "http2",
    seeds=[
        b"\0\0" + _GREETING + _CALL,
        b"\3\7" + _GREETING + _PARTS + _CALL + frames.reset(1, 8) + frames.frame(Type.PING, 0, 0, b"12345678"),
        b"\1\0" + _GREETING + frames.window_update(0, 9) + frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 3}) + _CALL,
        b"\5\2" + _GREETING + frames.frame(Type.HEADERS, 0x2D, 1, b"\1\0\0\0\0\1" + _BLOCK + b"\0") + frames.goaway(0, 0),
    ],
    words=[
        *[frames.head(kind, flags, number, 0) for kind in Type for flags, number in ((0, 1), (5, 3), (0xFF, 0))],
        _BLOCK, _CALL, b"\0\0\4", b"\xff\xff\xff\xff", b"\x3f\xe1\x1f", b"\x40",
    ],
    runs=800,
)  # fmt: skip
def converse(data: bytes) -> None:
    """Whatever is sent: whole frames come back, the same ones in whatever pieces it was sent, and every stream ends."""
    draw = Draw(data)
    sizes = [draw.byte() % 40 + 1, draw.byte() + 1]
    sent = draw.rest
    once, apart = _converse(sent, [1 << 16]), _converse(sent, sizes)
    assert once == apart
    place = 0
    while place < len(once):
        word, _, _ = HEAD.unpack_from(once, place)
        place += 9 + (word >> 8)
    assert place == len(once)


@target(
    "hpack",
    seeds=[b"\x05" + _BLOCK, b"\x04\x40\x01a\x01b\xbe\xbe", b"\x06\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"],
    words=[b"\xff\xff\xff\xff\x07", b"\x20", b"\x3f\xe1\x1f", b"\xbe", b"\x40\x01a\x01b", b"\x7f\x80", b"\x00\x81\xff"],
    runs=1500,
)  # fmt: skip
def read_fields(data: bytes) -> None:
    """Blocks of header fields: a fault that ends the connection, or fields within the limit, which our own blocks say again."""
    decoder, again, encoder = Decoder(_MOST), Decoder(1 << 20), Encoder()
    draw = Draw(data)
    size, blocks = draw.byte() + 1, draw.rest
    for start in range(0, len(blocks), size):
        try:
            fields = decoder.decode(blocks[start : start + size])
        except FieldsTooLarge:
            continue
        except ConnectionFault:
            return
        assert sum(len(name) + len(value) + 32 for name, value in fields) <= _MOST
        assert again.decode(encoder.encode((), fields)) == fields


@target(
    "metadata",
    seeds=[b"grpc-timeout\0" + b"5S\0authorization\0Bearer a\0content-type\0application/grpc", b"grpc-encoding\0gzip\0x\0y"],
    words=[b"grpc-timeout\0", b"99999999H", b"content-length\0", b"\0", b":path\0", b"traceparent\0"],
    runs=800,
)  # fmt: skip
def read_metadata(data: bytes) -> None:
    """A call's fields are malformed, or say what a call needs; a time that is no time is none."""
    words = data.split(b"\0")
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        *zip(words[::2], words[1::2], strict=False),
    )
    try:
        length = check(fields)
    except BadFields:
        return
    head = read_head(fields)
    assert length >= -1
    assert head.path == "/"
    assert head.timeout is None or 0 <= head.timeout < 4e11
    assert head == read_head(fields)
