"""An application for `modelward_runtime.http2` that is none of gRPC's: it answers each request with its body, when all of it is there."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modelward_runtime.http2.connection import Settings
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.server import AGE, Server
from modelward_runtime.http2.stream import Bytes, Stream
from modelward_runtime.listen import bind

WINDOW = 1 << 17
GREETING = b"nothing was sent"
events: list[str] = []


class Echo(Stream):
    """`/wait` is never answered, `/refuse` at once."""

    __slots__ = ("body", "path")

    def opened(self, fields: Fields) -> None:
        self.body = bytearray()
        self.path = dict(fields)[b":path"]
        events.append(f"opened {self.path.decode()}")
        if self.path == b"/refuse":
            self.finish(((b":status", b"403"),))
        elif self.heard:
            self.received(b"")

    def overflowed(self) -> None:
        self.finish(((b":status", b"431"),))

    def received(self, data: Bytes) -> None:
        self.body += data
        if self.heard and self.path != b"/wait":
            self.respond(((b":status", b"200"),))
            self.send([bytes(self.body) or GREETING], len(self.body) or len(GREETING))
            self.finish(((b"ended", b"well"),))
        elif not self.heard and self.allowance < WINDOW // 2:
            self.allow(WINDOW)

    def lost(self) -> None:
        events.append(f"lost {self.path.decode()}")


@asynccontextmanager
async def serving(port: int = 0, age: float = AGE) -> AsyncIterator[tuple[Server, int]]:
    """The server and its port."""
    server = Server(Echo, Settings(window=WINDOW, most_fields=1 << 16), age=age)
    listening = bind("127.0.0.1", port)
    server.add(listening)
    await server.start()
    yield server, listening.getsockname()[1]
    await server.stop(0)


async def main(port: int) -> None:
    async with serving(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
