"""Leadership on a real API server: one at a time, quick to take over, gone when lost."""

import asyncio

import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import LEASE
from modelward_operator.cluster.lease import NAME, Lease, LeaseLost, Terms
from tests.until import until

TERMS = Terms(duration=60.0, deadline=40.0, period=0.1)
PATIENCE = 60.0
"""Seconds that a busy machine may take; what the terms promise is measured on the test's own clocks."""


class Clock:
    """A monotonic clock that goes when the test says so. No two contenders' clocks agree."""

    def __init__(self, begin: float) -> None:
        self.now = begin

    def __call__(self) -> float:
        return self.now


class Contender(Lease):
    """Somebody who wants the lease, with a clock of its own."""

    def __init__(self, client: Client, namespace: str, name: str, begin: float) -> None:
        self.clock = Clock(begin)
        super().__init__(client, namespace, name, terms=TERMS, clock=self.clock)


@pytest.fixture
def contenders(client: Client, namespace: str) -> tuple[Contender, Contender]:
    """Two that want the same lease."""
    return Contender(client, namespace, "first", 1000.0), Contender(client, namespace, "second", 7.0)


async def test_the_first_leads_and_the_second_waits_for_as_long_as_it_renews(
    contenders: tuple[Contender, Contender],
) -> None:
    first, second = contenders
    await first.acquire()
    keeper = asyncio.create_task(first.keep())
    waiter = asyncio.create_task(second.acquire())
    await until(lambda: bool(second._record))
    for _ in range(5):
        for one in contenders:
            one.clock.now += TERMS.deadline * 0.75
        await until(lambda: first._renewed_at == first.clock.now and second._changed_at == second.clock.now)
    assert first.held
    assert not waiter.done()
    assert not second.held
    keeper.cancel()
    waiter.cancel()


async def test_a_released_lease_is_taken_before_it_runs_out(contenders: tuple[Contender, Contender]) -> None:
    first, second = contenders
    await first.acquire()
    waiter = asyncio.create_task(second.acquire())
    await until(lambda: bool(second._record))
    await first.release()
    assert not first.held, "who released it writes no more"
    async with asyncio.timeout(PATIENCE):
        await waiter
    assert second.held


async def test_the_lease_of_one_that_died_is_taken_when_it_has_run_out_and_not_before(
    contenders: tuple[Contender, Contender],
) -> None:
    first, second = contenders
    await first.acquire()
    assert not await second._try()
    for one in contenders:
        one.clock.now += TERMS.duration
    assert not await second._try()
    assert not first.held, "it stopped before the other one began"
    second.clock.now += 0.1
    async with asyncio.timeout(PATIENCE):
        await second.acquire()
    assert second.held


async def test_one_that_was_deposed_ends(contenders: tuple[Contender, Contender]) -> None:
    first, second = contenders
    await first.acquire()
    assert not await second._try()
    second.clock.now += TERMS.duration + 1
    async with asyncio.timeout(PATIENCE):
        await second.acquire()
    assert first.held, "it slept, and has not noticed"
    with pytest.raises(LeaseLost):
        async with asyncio.timeout(PATIENCE):
            await first.keep()


async def test_one_that_cannot_renew_ends_before_another_may_begin(client: Client, namespace: str) -> None:
    lease = Contender(client, namespace, "first", 1000.0)
    await lease.acquire()
    broken = Client(client.configuration)
    broken._base = "https://127.0.0.1:1"
    lease._client = broken
    lease.clock.now += TERMS.deadline - 1
    lease.check()
    keeper = asyncio.create_task(lease.keep())
    lease.clock.now += 1
    assert TERMS.deadline < TERMS.duration
    with pytest.raises(LeaseLost):
        async with asyncio.timeout(PATIENCE):
            await keeper
    with pytest.raises(LeaseLost):
        lease.check()
    await broken.close()


async def test_no_write_passes_the_fence_of_one_that_does_not_lead(client: Client, namespace: str) -> None:
    lease = Contender(client, namespace, "first", 1000.0)
    fenced = Client(client.configuration, fence=lease.check)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}}
    with pytest.raises(LeaseLost):
        await fenced.apply(LEASE, body, manager="test", force=True)
    await fenced.close()


async def test_a_deleted_lease_is_made_anew_by_its_leader(
    contenders: tuple[Contender, Contender], client: Client
) -> None:
    first, _ = contenders
    await first.acquire()
    live = await client.get(LEASE, first._namespace, NAME)
    await client.delete(LEASE, first._namespace, NAME, uid=live["metadata"]["uid"])
    keeper = asyncio.create_task(first.keep())
    await until(lambda: first._record.get("metadata", {}).get("uid", "") not in ("", live["metadata"]["uid"]))
    assert not keeper.done()
    assert (await client.get(LEASE, first._namespace, NAME))["spec"]["holderIdentity"] == "first"
    keeper.cancel()


async def test_the_record_reads_as_clientgo_writes_it(contenders: tuple[Contender, Contender], client: Client) -> None:
    first, second = contenders
    await first.acquire()
    await first.release()
    await second.acquire()
    spec = (await client.get(LEASE, first._namespace, NAME))["spec"]
    assert spec["holderIdentity"] == "second"
    assert spec["leaseDurationSeconds"] == TERMS.duration
    assert spec["leaseTransitions"] == 1
    assert set(spec) == {"holderIdentity", "leaseDurationSeconds", "leaseTransitions", "acquireTime", "renewTime"}
