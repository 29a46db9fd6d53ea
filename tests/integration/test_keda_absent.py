"""KEDA's kind comes and goes while the operator runs: nothing else waits for it, and the number of replicas stands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import yaml

from modelward_operator.cluster import watch
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import SCALED_OBJECT
from tests.integration.conftest import CRD, keda_crd
from tests.integration.others import Others
from tests.integration.rig import Rig, make_rig
from tests.integration.test_handovers import SCALINGS, settle
from tests.until import PATIENCE

NAME = "scaledobjects.keda.sh"


async def install(client: Client) -> None:
    await client.apply(CRD, yaml.safe_load(keda_crd().read_text()), manager="test", force=True)
    async with asyncio.timeout(PATIENCE):
        while not await is_served(client):  # noqa: ASYNC110  -- the API announces nothing
            await asyncio.sleep(0.1)


async def uninstall(client: Client) -> None:
    async for page, _ in client.pages(SCALED_OBJECT):  # other tests' too: a finalizer would hold the kind
        for scaled in page:
            meta, bare = scaled["metadata"], {"metadata": {"finalizers": None}}
            await client.patch(SCALED_OBJECT, meta["namespace"], meta["name"], bare, manager="test")
    live = await client.get(CRD, "", NAME)
    await client.delete(CRD, "", NAME, uid=live["metadata"]["uid"])
    async with asyncio.timeout(PATIENCE):
        while await is_served(client):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def is_served(client: Client) -> bool:
    with contextlib.suppress(NotFound):
        async for _ in client.pages(SCALED_OBJECT):
            return True
    return False


@pytest.fixture
async def bare(client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """The operator's parts on a cluster without KEDA, which is back for the tests after."""
    monkeypatch.setattr(watch, "ABSENCE", 0.2)
    await uninstall(client)
    try:
        async with make_rig(client, namespace) as rig:
            yield rig
    finally:
        await install(client)


async def test_keda_is_waited_for_taken_up_when_it_comes_and_survived_when_it_goes(bare: Rig) -> None:
    await bare.create({"scaling": SCALINGS["None"]}, name="other")
    await bare.create({"scaling": {**SCALINGS["KEDA"], "minReplicas": 2}})
    await bare.reconcile()
    await bare.reconcile("other")
    assert (await bare.get("Deployment"))["spec"]["replicas"] == 2
    absent = await bare.condition("Autoscaling")
    assert (absent["status"], absent["reason"]) == ("False", "KedaNotInstalled")

    bare.rung.clear()
    await install(bare.admin)
    await bare.until(lambda: bare.key() in bare.rung)
    assert bare.key("other") not in bare.rung, "whom it does not concern is left alone"
    others = Others(bare.admin, bare.namespace)
    await settle(bare, others)
    assert (await bare.get("ScaledObject"))["spec"]["minReplicaCount"] == 2
    assert (await bare.condition("Autoscaling"))["reason"] == "Starting"

    await others.scale(4)
    bare.rung.clear()
    await uninstall(bare.admin)
    await bare.until(lambda: "ScaledObject" in bare.store.unserved and bare.key() in bare.rung)
    await bare.heard_all()
    await bare.reconcile()
    assert (await bare.get("Deployment"))["spec"]["replicas"] == 4
    assert (await bare.condition("Autoscaling"))["reason"] == "KedaNotInstalled"
