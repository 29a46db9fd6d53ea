"""Leadership on a real API server: one at a time, quick to take over, gone when lost."""

import asyncio

import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import LEASE
from modelward_operator.cluster.lease import NAME, Lease, LeaseLost, Terms

TERMS = Terms(duration=2.0, deadline=1.2, period=0.2)


class Clock:
    """A monotonic clock with an offset of the test's."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


@pytest.fixture
def contenders(client: Client, namespace: str) -> tuple[Lease, Lease]:
    """Two that want the same lease."""
    first, second = (Lease(client, namespace, name, terms=TERMS, clock=Clock()) for name in ("first", "second"))
    return first, second


async def test_the_first_leads_and_the_second_waits(contenders: tuple[Lease, Lease]) -> None:
    first, second = contenders
    await first.acquire()
    keeper = asyncio.create_task(first.keep())
    waiter = asyncio.create_task(second.acquire())
    await asyncio.sleep(TERMS.duration * 1.5)
    assert first.held
    assert not waiter.done()
    assert not second.held
    keeper.cancel()
    waiter.cancel()


async def test_a_released_lease_is_taken_within_a_period(contenders: tuple[Lease, Lease]) -> None:
    first, second = contenders
    await first.acquire()
    waiter = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.5)
    await first.release()
    assert not first.held, "who released it writes no more"
    async with asyncio.timeout(TERMS.period * 3):
        await waiter
    assert second.held


async def test_the_lease_of_one_that_died_is_taken_when_it_has_run_out_and_not_before(
    contenders: tuple[Lease, Lease],
) -> None:
    first, second = contenders
    await first.acquire()
    begun = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        await second.acquire()
    took = asyncio.get_running_loop().time() - begun
    assert TERMS.duration <= took <= TERMS.duration + 3 * TERMS.period
    assert not first.held, "it stopped before the other one began"


async def test_one_that_was_deposed_ends(contenders: tuple[Lease, Lease]) -> None:
    first, second = contenders
    await first.acquire()
    await second.acquire()
    first._renewed_at = asyncio.get_running_loop().time()  # as if it had slept and not noticed
    with pytest.raises(LeaseLost):
        async with asyncio.timeout(5):
            await first.keep()


async def test_one_that_cannot_renew_ends_before_another_may_begin(client: Client, namespace: str) -> None:
    lease = Lease(client, namespace, "first", terms=TERMS, clock=Clock())
    await lease.acquire()
    broken = Client(client.configuration)
    broken._base = "https://127.0.0.1:1"
    lease._client = broken
    begun = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost):
        async with asyncio.timeout(5):
            await lease.keep()
    assert asyncio.get_running_loop().time() - begun < TERMS.duration
    with pytest.raises(LeaseLost):
        lease.check()
    await broken.close()


async def test_no_write_passes_the_fence_of_one_that_does_not_lead(client: Client, namespace: str) -> None:
    lease = Lease(client, namespace, "first", terms=TERMS, clock=Clock())
    fenced = Client(client.configuration, fence=lease.check)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}}
    with pytest.raises(LeaseLost):
        await fenced.apply(LEASE, body, manager="test", force=True)
    await fenced.close()


async def test_a_deleted_lease_is_made_anew_by_its_leader(contenders: tuple[Lease, Lease], client: Client) -> None:
    first, _ = contenders
    await first.acquire()
    keeper = asyncio.create_task(first.keep())
    live = await client.get(LEASE, first._namespace, NAME)
    await client.delete(LEASE, first._namespace, NAME, uid=live["metadata"]["uid"])
    await asyncio.sleep(TERMS.period * 3)
    assert not keeper.done()
    assert (await client.get(LEASE, first._namespace, NAME))["spec"]["holderIdentity"] == "first"
    keeper.cancel()


async def test_the_record_reads_as_clientgo_writes_it(contenders: tuple[Lease, Lease], client: Client) -> None:
    first, second = contenders
    await first.acquire()
    await first.release()
    await second.acquire()
    spec = (await client.get(LEASE, first._namespace, NAME))["spec"]
    assert spec["holderIdentity"] == "second"
    assert spec["leaseDurationSeconds"] == 2
    assert spec["leaseTransitions"] == 1
    assert set(spec) == {"holderIdentity", "leaseDurationSeconds", "leaseTransitions", "acquireTime", "renewTime"}
