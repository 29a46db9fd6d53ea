"""Connections to pods: where an answer ends, what breaks it, and what is kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from modelward_runtime.activator.upstream import Broken, ConnectFailed, Connection, Pool
from tests.ports import free_ports
from tests.until import PATIENCE


class Patient(Pool):
    """It waits for a pod for as long as a busy machine takes."""

    async def take(self, seconds: float = PATIENCE) -> Connection:
        return await super().take(seconds)


@asynccontextmanager
async def pod(*answers: bytes, ends: bool = True) -> AsyncIterator[Pool]:
    """A server that reads a head and says these pieces; `ends`: and hangs up."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                for answer in answers:
                    writer.write(answer)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                if ends:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = Patient("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield pool
    finally:
        pool.close()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)  # transports close in their own time


async def body_of(connection: Connection) -> bytes:
    whole = b""
    while part := await connection.part():
        whole += part
    return whole


@pytest.mark.parametrize(
    ("reason", "pieces", "body"),
    [
        ("a length", [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\nab", b"cd"], b"abcd"),
        ("chunks", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n"], b"abcd"),
        ("the end of the connection", [b"HTTP/1.1 200 OK\r\n\r\nab", b"cd"], b"abcd"),
        ("a hint before", [b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b""),
        ("nothing at all", [b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
    ],
)  # fmt: skip
async def test_an_answer_ends_where_it_says(reason: str, pieces: list[bytes], body: bytes) -> None:
    async with pod(*pieces) as pool:
        connection = await pool.take()
        connection.begin(b"GET / HTTP/1.1\r\n\r\n")
        head = await connection.head()
        assert body == await asyncio.wait_for(body_of(connection), PATIENCE), reason
        assert head.status in {200, 204}
        connection.close()
        assert b"link" not in dict(head.headers)


async def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    async with pod(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", ends=False) as pool:
        connection = await pool.take()
        connection.begin(b"HEAD / HTTP/1.1\r\n\r\n", is_head=True)
        assert [(b"content-length", b"1000")] == (await connection.head()).headers
        assert b"" == await asyncio.wait_for(connection.part(), PATIENCE)
        assert not connection.reusable
        connection.close()


@pytest.mark.parametrize(
    ("reason", "pieces"),
    [
        ("it says nothing", []),
        ("it stops in the head", [b"HTTP/1.1 200 OK\r\ncontent-"]),
        ("it stops in the body", [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab"]),
        ("it stops between chunks", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"]),
        ("it speaks something else", [b"SSH-2.0-OpenSSH_9.2\r\n"]),
        ("it has no end of headers", [b"HTTP/1.1 200 OK\r\nx: ", *[b"a" * 30_000] * 4]),
    ],
)
async def test_an_answer_that_is_not_whole_is_broken(reason: str, pieces: list[bytes]) -> None:
    async with pod(*pieces) as pool:
        connection = await pool.take()
        connection.begin(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(Broken):
            await asyncio.wait_for(body_of_answer(connection), PATIENCE)
        connection.close()


async def body_of_answer(connection: Connection) -> bytes:
    await connection.head()
    return await body_of(connection)


async def test_a_connection_is_kept_and_what_nobody_asked_for_ends_it() -> None:
    async with pod(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ends=False) as pool:
        first = await pool.take()
        for _ in range(3):
            connection = await pool.take() if _ else first
            connection.begin(b"GET / HTTP/1.1\r\n\r\n")
            assert b"ok" == await body_of_answer(connection)
            pool.give_back(connection)
            assert connection is first
        first.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
        assert first.gone
        second = await pool.take()
        assert second is not first
        second.close()


async def test_nobody_there_is_told_from_an_answer_that_breaks() -> None:
    with pytest.raises(ConnectFailed):
        await Pool("127.0.0.1", free_ports(1)[0]).take()
