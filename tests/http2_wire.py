"""A connection of `modelward_runtime.http2` without sockets: a client's frames go in, what it would be sent comes out, by a still clock."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from modelward_runtime.http2 import frames
from modelward_runtime.http2.connection import Connection, Settings
from modelward_runtime.http2.frames import END_HEADERS, END_STREAM, HEAD, Type
from modelward_runtime.http2.hpack import Decoder, Encoder, Fields
from modelward_runtime.http2.stream import Stream
from modelward_runtime.unfinished import Unfinished
from tests.http2_echo import WINDOW, Echo

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


def request(path: bytes = b"/", *more: tuple[bytes, bytes]) -> Fields:
    return ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"), *more)


@dataclass
class Transport:
    """What asyncio would give a connection."""

    written: bytearray = field(default_factory=bytearray)
    waiting: int = 0  # bytes that the client has not read
    closed: bool = False
    aborted: bool = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def get_extra_info(self, name: str) -> Any:
        return ("10.0.0.1", 5) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class Wire:
    """Both a client and the server that a connection belongs to."""

    def __init__(self, make: Callable[..., Stream] = Echo, *, greet: bool = True) -> None:
        self.buffer = memoryview(bytearray(1 << 18))
        self.unfinished = Unfinished()
        self.clock = 0.0
        self.steps: list[Callable[[], None]] = []
        self.transport = Transport()
        self.encoder, self.decoder = Encoder(), Decoder(1 << 20)
        double: Any = self
        self.connection = Connection(double, make, Settings(window=WINDOW, largest=1 << 20))
        self.connection.connection_made(self.transport)
        if greet:
            self.say(frames.PREFACE + frames.settings({}))
            self.hear()

    def now(self) -> float:
        return self.clock

    def enter(self, connection: Connection) -> None:
        """As a server does."""

    def leave(self, connection: Connection) -> None:
        """As a server does."""

    def later(self, step: Callable[[], None]) -> None:
        self.steps.append(step)

    def say(self, data: bytes, sizes: Iterable[int] = ()) -> None:
        """Bytes of the client, in reads of these sizes, the last of them as large as may be."""
        sizes, place = iter(sizes), 0
        while place < len(data) and not self.transport.closed:
            room = self.connection.get_buffer(-1)
            taken = min(next(sizes, len(data)), len(room), len(data) - place)
            room[:taken] = data[place : place + taken]
            self.connection.buffer_updated(taken)
            place += taken

    def call(self, number: int, path: bytes = b"/", body: bytes | None = None, *more: tuple[bytes, bytes]) -> None:
        """A request; without a body it has ended."""
        block = self.encoder.encode((), request(path, *more))
        flags = END_HEADERS | (END_STREAM if body is None else 0)
        self.say(frames.frame(Type.HEADERS, flags, number, block))
        if body is not None:
            self.say(frames.frame(Type.DATA, END_STREAM, number, body))

    def hear(self) -> list[Frame]:
        """The frames that were sent since."""
        data, place, found = bytes(self.transport.written), 0, []
        self.transport.written.clear()
        while place < len(data):
            word, flags, number = HEAD.unpack_from(data, place)
            length = word >> 8
            found.append((word & 0xFF, flags, number, data[place + 9 : place + 9 + length]))
            place += 9 + length
        return found

    def answers(self) -> dict[int, bytes]:
        """Bodies by stream of what was sent since, and nothing but complete answers."""
        bodies: dict[int, bytes] = {}
        ended = set()
        for kind, flags, number, payload in self.hear():
            if kind == Type.HEADERS:
                self.decoder.decode(payload)
                if flags & END_STREAM:
                    ended.add(number)
            elif kind == Type.DATA:
                bodies[number] = bodies.get(number, b"") + payload
        assert set(bodies) == ended
        return bodies

    @property
    def goaway(self) -> int | None:
        """The code with which the connection was ended."""
        codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in self.hear() if kind == Type.GOAWAY]
        return codes[-1] if codes else None
