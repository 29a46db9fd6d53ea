"""Two replicas: one dies, one is asked to end. How long nobody answers to a change, and what the other writes besides."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from e2e.bench.operator import meter
from e2e.bench.operator.audit import Call, of
from e2e.bench.operator.load import Load, Name
from e2e.bench.operator.measure import Watched, tally
from e2e.bench.operator.place import Place, start
from tests.ports import free_ports

PATIENCE: Final = 120.0
SETTLED: Final = 10.0
"""Seconds after the answer in which whatever else the new leader writes is counted."""


async def failover(where: Place, load: Load, it: Watched, models: Sequence[Name], *, urgent: bool) -> dict[str, Any]:
    """The leader `it` is killed, then its successor is asked to end; the third, which leads then, is left running in `it`."""
    second, first = "second", it.who.key
    other = await _follower(where, it, second, "bench-2")
    with meter.urgent([*where.server.pids, it.pid, other.pid], wanted=urgent):
        it.process.send_signal(signal.SIGKILL)
        it.process.wait()
        crash = await _takeover(where, load, it, models[0], second, 901)
    it.process = await _follower(where, it, first, "bench-3")
    with meter.urgent([*where.server.pids, it.pid, other.pid], wanted=urgent):
        other.send_signal(signal.SIGTERM)
        graceful = await _takeover(where, load, it, models[-1], first, 902)
    ended = other.wait(timeout=30)
    return {"crash": crash, "graceful": {**graceful, "exitStatus": ended}}


async def _follower(where: Place, it: Watched, user: str, identity: str) -> subprocess.Popen[bytes]:
    """Start a replica that waits for the Lease, and wait until it has listed everything."""
    health, metrics = free_ports(2)
    ports = {"HEALTH_PORT": str(health), "METRICS_PORT": str(metrics)}
    process = start(where, user, it.who.command, {**it.who.environment, "POD_NAME": identity, **ports})
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(trust_env=False) as session:
        while not await _ready(session, health):  # noqa: ASYNC110  -- it is another process
            await asyncio.sleep(0.2)
    return process


async def _ready(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _takeover(where: Place, load: Load, it: Watched, model: Name, user: str, number: int) -> dict[str, Any]:
    """From now until a change that is made now has reached its Deployment by another's hand, and what else that one writes."""
    where.log.skip()
    begun, wall = time.monotonic(), time.time()
    namespace, name = model
    at = f"{it.who.models.format(namespace)}/{name}"
    await load.request("PATCH", at, it.who.change(number), "application/merge-patch+json")
    calls: list[Call] = []
    reached = 0.0
    while not reached:
        if time.monotonic() - begun > PATIENCE:
            raise TimeoutError(f"nobody took over within {PATIENCE:.0f} s")
        await asyncio.sleep(0.2)
        calls += where.log.read()
        reached = next(
            (c.at for c in of(calls, user) if c.is_write and (c.resource, c.model) == ("deployments", model)), 0.0
        )
    await asyncio.sleep(SETTLED)
    calls += where.log.read()
    others = [call for call in of(calls, user) if call.is_write and call.model != model]
    return {"seconds": reached - wall, "writesToOthers": len(others), "calls": tally(others)}
