"""Going to zero and coming back on a real API server: who is behind the Service, and in which order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import (
    POD,
)
from modelward_operator.plan import names
from tests.integration.activation import SLICE, ZERO, Wanting, joined, knowing, routed, serve, start_activator
from tests.integration.rig import Rig, make_rig
from tests.until import PATIENCE


@pytest.fixture
async def rig(client: Client, namespace: str, home: str) -> AsyncIterator[Rig]:
    """One whose operator has an activator."""
    async with make_rig(client, namespace, home=home) as made:
        yield made


async def test_a_model_goes_to_zero_and_comes_back_step_by_step(
    rig: Rig, client: Client, namespace: str, home: str
) -> None:
    cluster = Wanting(rig)
    await rig.create(ZERO)
    await cluster.reconcile()
    assert rig.live("EndpointSlice", SLICE)["metadata"]["annotations"][names.ACTIVATOR_PORTS] == "20000,20001"
    first, second = [await start_activator(client, home, f"a-{n}", f"192.0.2.{n}") for n in (1, 2)]
    await serve(client, namespace, is_ready=True)
    await rig.heard_all()

    cluster.wanted = 0  # nobody may take over yet: the last replica stays
    await cluster.reconcile()
    assert (1, []) == (rig.live("Deployment")["spec"]["replicas"], joined(rig.live("EndpointSlice", SLICE)))

    rig.rung.clear()
    await knowing(rig, home, first, second)
    await rig.until(lambda: rig.key() in rig.rung)
    again = await cluster.reconcile()  # the activator joins
    assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.1", "192.0.2.2"]
    assert rig.live("Deployment")["spec"]["replicas"] == 1
    assert again is not None
    assert 4.0 < again <= 5.0

    cluster.later = 5.1  # every node knows it
    await cluster.reconcile()
    assert rig.live("Deployment")["spec"]["replicas"] == 0
    await serve(client, namespace, is_ready=False)
    await rig.heard_all()
    await cluster.reconcile()
    ready = await rig.condition("Ready")
    assert ("True", "ScaledToZero") == (ready["status"], ready["reason"])
    before = await rig.versions()
    await cluster.reconcile()
    assert before == await rig.versions(), "at rest nothing is written"

    cluster.wanted = 1  # a request is held
    await cluster.reconcile()
    assert rig.live("Deployment")["spec"]["replicas"] == 1
    assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.1", "192.0.2.2"]
    await serve(client, namespace, is_ready=True)
    await rig.heard_all()
    await cluster.reconcile()
    assert joined(rig.live("EndpointSlice", SLICE)) == []


async def test_a_pod_of_the_activator_that_leaves_is_taken_out_of_the_services(
    rig: Rig, client: Client, namespace: str, home: str
) -> None:
    cluster = Wanting(rig)
    await rig.create(ZERO)
    await cluster.reconcile()
    first, second = [await start_activator(client, home, f"a-{n}", f"192.0.2.{n}") for n in (1, 2)]
    await knowing(rig, home, first, second)
    await rig.until(lambda: rig.key() in rig.rung)
    await cluster.reconcile()
    assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.1", "192.0.2.2"]

    rig.rung.clear()
    await client.delete(POD, home, "a-1", uid=first)
    third = await start_activator(client, home, "a-3", "192.0.2.3")
    await rig.until(lambda: rig.key() in rig.rung)
    await cluster.reconcile()
    assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.2"], "the new one has not read the routes"
    await knowing(rig, home, third)
    await cluster.reconcile()
    assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.2", "192.0.2.3"]


async def test_a_denied_model_has_no_pods_and_is_never_woken(rig: Rig, home: str) -> None:
    cluster = Wanting(rig, wanted=2)
    await rig.create({**ZERO, "suspend": True})
    await cluster.reconcile()
    _, (route,) = await routed(rig, home)
    assert (False, "Suspended") == (route["wake"], route["refusal"]["reason"])
    assert rig.live("Deployment")["spec"]["replicas"] == 0
    await rig.change({"suspend": False})
    await cluster.reconcile()
    async with asyncio.timeout(PATIENCE):
        while not (await routed(rig, home))[1][0]["wake"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert rig.live("Deployment")["spec"]["replicas"] == 2


async def test_another_leader_takes_nobody_out_of_a_service_whom_it_has_not_heard_yet(
    client: Client, namespace: str, home: str
) -> None:
    async with make_rig(client, namespace, home=home) as rig:
        cluster = Wanting(rig, wanted=0)
        await rig.create(ZERO)
        await cluster.reconcile()
        pods = [await start_activator(client, home, f"a-{n}", f"192.0.2.{n}") for n in (1, 2)]
        await knowing(rig, home, *pods)
        await rig.until(lambda: rig.key() in rig.rung)
        await cluster.reconcile()
    async with make_rig(client, namespace, home=home) as rig:
        await rig.until(lambda: bool(rig.live("ModelDeployment")))
        await Wanting(rig, wanted=0, later=6).reconcile()
        assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.1", "192.0.2.2"]
        assert rig.live("Deployment")["spec"]["replicas"] == 0
        assert rig.activation
        rig.activation.switchboard.heard(pods[0], {})  # it does not know the route
        await Wanting(rig, wanted=0, later=6).reconcile()
        assert joined(rig.live("EndpointSlice", SLICE)) == ["192.0.2.2"]
