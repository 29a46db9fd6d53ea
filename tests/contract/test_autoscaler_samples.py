"""The operator's sampler against the real serving process: what is heard of a burst, of quiet, and of a process that hangs."""

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from modelward_operator.autoscaler.decide import Settings
from modelward_operator.autoscaler.sampler import Sampler
from modelward_operator.autoscaler.track import Track
from modelward_operator.facts import Key
from tests.onnx_models import save, slow
from tests.processes import Process, serve

pytestmark = pytest.mark.process

KEY = Key("risk", "slow")
SLOW = 20.0  # how long it computes, in a unit of the machine
IDLE_AFTER_3 = Settings(0, 8, 2.0, idle=3.0)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with serve(save(slow(), tmp_path / "slow.onnx"), tmp_path / "p") as started:
        started.until_ready()
        yield started


class Listener:
    """One model of one pod, listened to."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.track = Track(IDLE_AFTER_3, 1)
        self.answers = 0

    def listen(self) -> None:
        """From now on, and as if nothing had been heard before."""
        self.sampler.follow(KEY, self.track, {}, self._heard)
        self.track = Track(IDLE_AFTER_3, 1)
        self.track.meet({"pod"}, time.monotonic())
        self.sampler.follow(KEY, self.track, {"pod": "127.0.0.1"}, self._heard)

    def _heard(self, _key: Key) -> None:
        self.answers += 1

    async def until(self, wanted: int, seconds: float) -> float:
        """Decide as the loop does until the number is so; return how long it took."""
        began = time.monotonic()
        while self.track.decide(time.monotonic()).wanted != wanted:
            assert time.monotonic() - began < seconds, self.track.last_reading
            await asyncio.sleep(0.05)
        return time.monotonic() - began


@pytest.fixture
async def listener(process: Process) -> AsyncIterator[Listener]:
    sampler = Sampler(admin_port=process.ports[2])
    yield Listener(sampler)
    await sampler.close()


async def call_often(process: Process, at_once: int, seconds: float) -> None:
    """So many callers, one call after the other each."""
    over = time.monotonic() + seconds

    def caller() -> None:
        while time.monotonic() < over:
            process.infer("slow", [[SLOW, 2.0, 3.0, 4.0]])

    await asyncio.gather(*(asyncio.to_thread(caller) for _ in range(at_once)))


async def test_a_burst_on_an_idle_process_is_decided_within_two_seconds(process: Process, listener: Listener) -> None:
    listener.listen()
    await asyncio.sleep(3)
    began, answers, stalled = time.monotonic(), listener.answers, 0.0
    burst = asyncio.ensure_future(call_often(process, 12, 4))
    while listener.track.decide(time.monotonic()).wanted < 2:
        took = time.monotonic() - began
        assert took < 2 + 5 * stalled, "two seconds, and what a busy machine makes anybody wait"
        await asyncio.sleep(0.05)
        stalled = max(stalled, time.monotonic() - began - took - 0.05)
    await burst
    most = (time.monotonic() - began) / 0.25 + 1
    assert listener.answers - answers < most, "bounded, however many requests there are"


async def test_quiet_takes_the_last_replica_on_the_process_own_word(process: Process, listener: Listener) -> None:
    began = time.monotonic()
    await asyncio.to_thread(process.infer, "slow", [[1.0, 2.0, 3.0, 4.0]])
    listener.listen()
    await listener.until(0, 30)
    took = time.monotonic() - began
    assert took >= 3.0, "idleSeconds after the last call"
    assert listener.answers <= 3 + took, "few words are enough"


async def test_a_process_that_hangs_holds_what_runs(process: Process, listener: Listener) -> None:
    called = -math.inf
    while time.monotonic() - called > listener.track.settings.idle:  # else it may have said that it is idle
        process.signal(signal.SIGCONT)
        called, answers = time.monotonic(), listener.answers
        await asyncio.to_thread(process.infer, "slow", [[1.0, 2.0, 3.0, 4.0]])
        listener.listen()
        async with asyncio.timeout(20):
            while listener.answers == answers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        process.signal(signal.SIGSTOP)
    try:
        over = time.monotonic() + 9
        while time.monotonic() < over:
            assert listener.track.decide(time.monotonic()).wanted == 1
            await asyncio.sleep(0.2)
        assert listener.track.last_reading.silent == 1, "idle for longer than idleSeconds, but it does not say so"
    finally:
        process.signal(signal.SIGCONT)
    await listener.until(0, 30)


async def test_a_pod_that_is_not_there_or_speaks_no_such_thing_is_silent(process: Process, listener: Listener) -> None:
    listener.sampler = Sampler(admin_port=process.ports[0])  # the port of the model has no /load
    listener.listen()
    await asyncio.sleep(5)
    await listener.sampler.close()
    listener.track.decide(time.monotonic())
    assert (1, 1) == (listener.track.last_reading.silent, listener.track.wanted)
