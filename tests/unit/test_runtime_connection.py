"""Connections that never become a request are closed, and those that do are left alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelward_runtime import site
from modelward_runtime.exchange import Exchange
from modelward_runtime.listen import HttpListener
from modelward_runtime.metrics import Metrics
from modelward_runtime.web import App
from tests.doors import door
from tests.until import PATIENCE

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(site, "PATROL_SECONDS", 0.1)
    listener = HttpListener(App(Exchange("tiny", "1", Metrics()), door(), max_body_bytes=1000), "127.0.0.1", 0)
    await listener.start()
    yield listener.port
    await listener.stop(1)


@pytest.mark.parametrize("sent", [b"", b"GET /v2", b"GET /v2 HTTP/1.1\r\nHost: h\r\n"])
async def test_a_head_that_never_ends_is_not_waited_for(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(PATIENCE):
        assert b"" == await reader.read()
    writer.close()


async def test_a_slow_drip_of_headers_is_cut_off_too(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v2 HTTP/1.1\r\n")
    async with asyncio.timeout(PATIENCE):
        while not reader.at_eof():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)
            if reader.at_eof() or writer.transport.is_closing():
                break
    writer.close()


async def test_an_idle_connection_between_requests_stays_open(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(LIVE)
        assert b"HTTP/1.1 200 OK" in await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.25)
    writer.close()
