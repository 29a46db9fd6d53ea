"""What the operator serves about itself: /healthz and /readyz on one port, /metrics on another.

`/healthz` answers while the event loop does and no watch has been silent for long; `/readyz` once everything was listed, on leader
and follower alike, so that a rolling update of the operator waits for a follower that could take over. main.py starts it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Check = Callable[[], str]
"""Says what is wrong, in a sentence; an empty string when nothing is."""


@asynccontextmanager
async def serve(
    health_port: int, metrics_port: int, *, healthy: Check, ready: Check, metrics: Callable[[], bytes]
) -> AsyncIterator[tuple[int, int]]:
    """Serve until the block ends; yields the two ports, which matters where 0 was asked for."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(healthy())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(ready())

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    runners = [
        await _start([web.get("/healthz", healthz), web.get("/readyz", readyz)], health_port),
        await _start([web.get("/metrics", scrape)], metrics_port),
    ]
    try:
        yield _port(runners[0]), _port(runners[1])
    finally:
        for runner in runners:
            await runner.cleanup()


def _answer(wrong: str) -> web.Response:
    return web.Response(text=wrong or "ok", status=503 if wrong else 200)


async def _start(routes: list[web.RouteDef], port: int) -> web.AppRunner:
    app = web.Application(client_max_size=1024)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner


def _port(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])
