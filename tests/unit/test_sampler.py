"""What the operator hears at /load over real HTTP from a pod that may be anything."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from modelward_operator.autoscaler.decide import Settings
from modelward_operator.autoscaler.sampler import Sampler
from modelward_operator.autoscaler.track import Track
from modelward_operator.facts import Key
from tests.ports import free_ports
from tests.until import PATIENCE

KEY = Key("risk", "fraud")
LOAD = b'{"now": 5.0, "concurrency": 3, "busySeconds": 9.0, "requests": 4, "idleSeconds": 0}'


class Pod:
    """It answers at once, with what it is told to say."""

    def __init__(self) -> None:
        self.body, self.headers = LOAD, dict[str, str]()
        self.track = Track(Settings(0, 8, 8.0), 1)
        self.heard = asyncio.Event()

    async def answer(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.body, headers=self.headers)

    async def silent(self) -> int:
        """Pods that are silent once this one was asked."""
        self.heard.clear()
        async with asyncio.timeout(PATIENCE):
            await self.heard.wait()
        return self.track.reading(time.monotonic()).silent


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    made, (port,) = Pod(), free_ports(1)
    app = web.Application()
    app.router.add_get("/load", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.79.0.1", port).start()
    sampler = Sampler(admin_port=port, uniform=lambda: 0.0)
    made.track.meet({"pod"}, time.monotonic())
    sampler.follow(KEY, made.track, {"pod": "127.79.0.1"}, lambda _: made.heard.set())
    yield made
    await sampler.close()
    await runner.cleanup()


async def test_a_pod_that_says_its_load_is_heard(pod: Pod) -> None:
    assert 0 == await pod.silent()


@pytest.mark.parametrize("body", [gzip.compress(LOAD), gzip.compress(b" " * (64 << 20))], ids=["small", "a bomb"])
async def test_a_compressed_answer_is_none(pod: Pod, body: bytes) -> None:
    """Nothing of it is unpacked: 64 KiB of the network would be as many MiB of the operator's memory, for each pod."""
    pod.body, pod.headers = body, {"Content-Encoding": "gzip"}
    assert 1 == await pod.silent()
