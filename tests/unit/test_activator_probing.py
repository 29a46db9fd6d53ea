"""Asking a new pod whether it is ready, on a network that has not heard of it yet."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from modelward_runtime.activator.endpoints import Listed
from modelward_runtime.activator.pods import Pod
from modelward_runtime.activator.probing import is_ready

TRIES = 5


def pod_at(port: int) -> Pod:
    return Pod(Listed("uid", "127.0.0.1", 1, 2, ready=False, terminating=False), None, port)


def answering(status: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)
        writer.close()

    return answer


async def test_a_pod_is_found_although_the_first_packets_to_it_are_lost() -> None:
    """A full queue of connections drops packets as a policy does; TCP by itself tries again a second later, twice a probe's patience.

    A busy machine may take all of that half second itself, but not every time.
    """
    for _ in range(TRIES):
        if await is_found():
            return
    raise AssertionError("never found in time")


async def is_found() -> bool:
    """Whether a pod answers in time that begins to listen a tenth of a second after it was asked."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        pod = pod_at(server.getsockname()[1])
        with socket.create_connection(server.getsockname()) as first:
            asked = asyncio.ensure_future(is_ready(pod))
            await asyncio.sleep(0.1)
            early = asked.done() and asked.result()
            assert not early, "nobody has answered"
            async with await asyncio.start_server(answering(b"200 OK"), sock=server):
                found = await asked
                first.close()  # from Python 3.12.1 on a server ends when its connections have
        pod.close()
        await asyncio.sleep(0.05)  # transports close in their own time
    return found


async def test_a_pod_that_refuses_or_says_no_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not await is_ready(pod_at(port)), "nobody listens"

    async with await asyncio.start_server(answering(b"503 Service Unavailable"), "127.0.0.1", 0) as serving:
        pod = pod_at(serving.sockets[0].getsockname()[1])
        assert not await is_ready(pod)
        pod.close()
        await asyncio.sleep(0.05)
