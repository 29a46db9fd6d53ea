"""The whole operator on a real API server, and a pod's real admin port: replicas follow a burst, and the status says why."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.kinds import DEPLOYMENT, MODEL
from modelward_operator.plan.names import ADMIN_PORT
from modelward_runtime.admin import App
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.listen import HttpListener
from modelward_runtime.meter import Meter
from modelward_runtime.report import Report, State
from tests.integration.apiserver import ApiServer
from tests.integration.running import Json, Running, create, exists, run_pod, running, until

ADDRESSES = ("127.82.0.1", "127.82.0.2", "127.82.0.3")  # of the loopback, and nobody else's
BOOT = Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(name="fraud", version="1", uri="pvc://claim/m"))
SCALED: Json = {"scaling": {"minReplicas": 1, "maxReplicas": 5, "targetConcurrency": "2"}}
CALLERS = 12


@asynccontextmanager
async def load_of(address: str) -> AsyncIterator[Meter]:
    """The load of a pod whose admin port is where the operator looks for it; nothing computes, so that time is the operator's alone."""
    report, meter = Report(BOOT, "0123456789ab"), Meter()
    report.enter(State.READY)
    listener = HttpListener(App(report, bytes, meter), address, ADMIN_PORT)
    await listener.start()
    yield meter
    meter.close()
    await listener.stop(1)


@pytest.fixture
async def operator(server: ApiServer, tmp_path: Path, namespace: str) -> AsyncIterator[Running]:
    async with running(server, tmp_path, namespace) as started:
        yield started


async def test_replicas_follow_a_burst_within_two_seconds_and_the_status_says_why(
    operator: Running, client: Client, namespace: str
) -> None:
    """The fastest of three counts: what keeps one of them up may be the machine, which has other things to do."""
    tries = list[float]()
    for number, address in enumerate(ADDRESSES):
        async with load_of(address) as meter:
            tries.append(await seconds_until_followed(client, namespace, f"fraud-{number}", address, meter))
        if tries[-1] < 2.0:
            break
    assert min(tries) < 2.0, tries
    assert await operator.metric("modelward_scaling_decisions_total") >= 1


async def seconds_until_followed(client: Client, namespace: str, name: str, address: str, meter: Meter) -> float:
    """Seconds from a burst until the Deployment has more replicas; returns when the status says why."""
    await create(client, namespace, name, SCALED)
    await until(exists(client, "Deployment", namespace, name))
    await run_pod(client, namespace, name, address)

    async def status() -> Json:
        found: Json = (await client.get(MODEL, namespace, name)).get("status", {})
        return found

    async def is_followed() -> bool:
        found = [c for c in (await status()).get("conditions", ()) if c["type"] == "Autoscaling"]
        return [(c["status"], c["reason"]) for c in found] == [("True", "ScaledByLoad")]

    await until(is_followed)
    assert (await status())["scaling"]["wanted"] == 1
    await asyncio.sleep(4.0)  # until the pod has been found idle
    began = time.monotonic()
    for _ in range(CALLERS):
        meter.enter()

    async def is_raised() -> bool:
        return bool((await client.get(DEPLOYMENT, namespace, name))["spec"]["replicas"] > 1)

    await until(is_raised)
    took = time.monotonic() - began

    async def is_told() -> bool:
        told = (await status())["scaling"]
        return bool(told["wanted"] > 1 and "requests at a time over" in told["why"])

    await until(is_told)
    return took


async def test_an_autoscaler_owns_the_number_and_scale_is_refused_with_the_reason(
    client: Client, namespace: str, operator: Running
) -> None:
    await create(client, namespace, "fraud", SCALED)
    await until(exists(client, "Deployment", namespace, "fraud"))
    with pytest.raises(Rejected, match="replicas is for autoscaler None and External"):
        await client.patch(MODEL, namespace, "fraud", {"spec": {"replicas": 3}}, manager="user", subresource="scale")


async def test_what_somebody_else_sets_on_the_deployment_is_set_back(
    client: Client, namespace: str, operator: Running
) -> None:
    await create(client, namespace, "fraud", SCALED)
    await until(exists(client, "Deployment", namespace, "fraud"))
    await client.patch(DEPLOYMENT, namespace, "fraud", {"spec": {"replicas": 4}}, manager="somebody")

    async def is_back() -> bool:
        return bool((await client.get(DEPLOYMENT, namespace, "fraud"))["spec"]["replicas"] == 1)

    await until(is_back)
