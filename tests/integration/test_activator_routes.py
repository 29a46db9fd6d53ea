"""The activator's table of routes on a real API server: who may connect, which ports, and what another leader makes of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import (
    BY_KIND,
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    NETWORK_POLICY,
    SECRET,
)
from modelward_operator.cluster.x509 import fingerprint
from modelward_operator.facts import Json, Route
from modelward_operator.plan import names
from modelward_operator.plan.routes import SHARD
from modelward_operator.reconcile import reconcile
from tests.integration.activation import SLICE, ZERO, Wanting, routed
from tests.integration.rig import Rig, make_rig


@pytest.fixture
async def rig(client: Client, namespace: str, home: str) -> AsyncIterator[Rig]:
    """One whose operator has an activator."""
    async with make_rig(client, namespace, home=home) as made:
        yield made


async def test_who_may_connect_to_a_models_ports_is_who_may_connect_to_the_model(
    rig: Rig, client: Client, namespace: str, home: str
) -> None:
    cluster = Wanting(rig)
    await rig.create(
        {**ZERO, "security": {**ZERO["security"], "networkPolicy": {"allowFrom": [{"namespace": "shop"}]}}}
    )
    await cluster.reconcile()
    await routed(rig, home)
    policy = await client.get(NETWORK_POLICY, home, f"{names.ACTIVATOR}-0")
    (rule,) = policy["spec"]["ingress"]
    allowed = [peer["namespaceSelector"]["matchLabels"][names.NAMESPACE_NAME] for peer in rule["from"]]
    assert sorted([namespace, "shop"]) == sorted(allowed)
    assert [20000, 20001] == [port["port"] for port in rule["ports"]]
    (opened,) = (r for r in rig.live("NetworkPolicy")["spec"]["ingress"] if "podSelector" in r["from"][0])
    assert names.ACTIVATOR_PODS == opened["from"][0]["podSelector"]["matchLabels"]

    await rig.change({"security": {"networkPolicy": None}})
    await cluster.reconcile()
    async with asyncio.timeout(60):
        while "shop" in json.dumps(await client.get(NETWORK_POLICY, home, f"{names.ACTIVATOR}-0")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_table_is_the_deployments_and_models_that_are_gone_leave_it(
    rig: Rig, client: Client, home: str
) -> None:
    cluster = Wanting(rig)
    for name in ("fraud", "churn"):
        await rig.create(ZERO, name)
        await reconcile(rig.key(name), cluster)
    _, routes = await routed(rig, home, 2)
    assert [20000, 20002] == [route["ports"]["http"] for route in routes]
    owner = await client.get(DEPLOYMENT, home, names.ACTIVATOR)
    live = await client.get(CONFIG_MAP, home, f"{names.ACTIVATOR}-routes-0")
    assert [owner["metadata"]["uid"]] == [o["uid"] for o in live["metadata"]["ownerReferences"]]

    await client.patch(
        CONFIG_MAP, home, live["metadata"]["name"], {"data": {"routes.json": '{"routes": []}'}}, manager="stranger"
    )
    await routed(rig, home, 2)  # drift is repaired

    churn = await rig.get("ModelDeployment", "churn")
    await client.delete(BY_KIND["ModelDeployment"], rig.namespace, "churn", uid=churn["metadata"]["uid"])
    await rig.unknown("ModelDeployment", "churn")
    await reconcile(rig.key("churn"), cluster)
    _, routes = await routed(rig, home)
    assert ["fraud"] == [route["name"] for route in routes]


async def test_another_leader_keeps_the_ports_and_the_routes(client: Client, namespace: str, home: str) -> None:
    async with make_rig(client, namespace, home=home) as rig:
        cluster = Wanting(rig)
        for name in ("fraud", "churn"):
            await rig.create(ZERO, name)
            await reconcile(rig.key(name), cluster)
        await routed(rig, home, 2)
        await rig.heard_all()
    async with make_rig(client, namespace, home=home) as rig:
        await rig.until(lambda: bool(rig.live("EndpointSlice", "churn-activator")))
        await rig.create(ZERO, "spam")
        for name in ("spam", "churn"):
            await reconcile(rig.key(name), Wanting(rig))
        _, routes = await routed(rig, home, 3)
        assert {"fraud": 20000, "churn": 20002, "spam": 20004} == {r["name"]: r["ports"]["http"] for r in routes}


async def test_who_edits_his_slice_while_nobody_leads_gets_no_others_port(
    client: Client, namespace: str, home: str
) -> None:
    async with make_rig(client, namespace, home=home) as rig:
        cluster = Wanting(rig)
        for name in ("fraud", "churn"):  # fraud's slice is the older
            await rig.create(ZERO, name)
            await reconcile(rig.key(name), cluster)
        await routed(rig, home, 2)
    forged = {"metadata": {"annotations": {names.ACTIVATOR_PORTS: "20002,20003"}}}
    await client.patch(ENDPOINT_SLICE, namespace, SLICE, forged, manager="stranger")
    async with make_rig(client, namespace, home=home) as rig:
        await rig.until(lambda: bool(rig.live("EndpointSlice", "churn-activator")))
        for name in ("fraud", "churn"):
            await reconcile(rig.key(name), Wanting(rig))
        await rig.heard_all()
        assert "20000,20001" == rig.live("EndpointSlice", SLICE)["metadata"]["annotations"][names.ACTIVATOR_PORTS]
        _, routes = await routed(rig, home, 2)
        assert {"fraud": 20000, "churn": 20002} == {r["name"]: r["ports"]["http"] for r in routes}


async def test_a_shard_that_is_refused_keeps_no_other_from_being_written(rig: Rig, home: str) -> None:
    cluster = Wanting(rig)
    for name in ("fraud", "churn"):
        await rig.create(ZERO, name)
        await reconcile(rig.key(name), cluster)
    await routed(rig, home, 2)
    assert rig.activation
    board = rig.activation.switchboard
    body = {"namespace": rig.namespace, "name": "fraud", "ports": {"http": 20000, "grpc": 20001}}
    board.post(rig.key("fraud"), Route(body, ("no label's value!",)))
    far = 20000 + 2 * SHARD
    ports = {"http": far, "grpc": far + 1}
    board.post(rig.key("churn"), Route({**body, "name": "churn", "ports": ports}, (rig.namespace,)))
    async with asyncio.timeout(60):
        while "churn" not in json.dumps(await _read_routes(rig, home, 1)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert "fraud" in json.dumps(await _read_routes(rig, home, 0)), "the last that was written holds"


async def _read_routes(rig: Rig, home: str, shard: int) -> Json:
    try:
        return await rig.admin.get(CONFIG_MAP, home, f"{names.ACTIVATOR}-routes-{shard}")
    except NotFound:
        return {}


async def test_clients_of_models_that_may_be_at_zero_alone_trust_the_activators_ca(
    rig: Rig, client: Client, home: str
) -> None:
    cluster = Wanting(rig)
    secured: dict[str, Any] = {**ZERO, "security": {**ZERO["security"], "tls": {"mode": "Managed"}}}
    await rig.create(secured)
    await rig.create({"security": secured["security"]}, "plain")
    for name in ("fraud", "plain"):
        await reconcile(rig.key(name), cluster)
    await rig.until(lambda: bool(rig.live("ConfigMap", "plain-tls")))
    bundle, plain = [rig.live("ConfigMap", f"{name}-tls")["data"]["ca.crt"] for name in ("fraud", "plain")]
    assert bundle.startswith(plain)
    secret = await client.get(SECRET, home, "modelward-activator-ca")
    assert {"tls.crt", "tls.key"} <= secret["data"].keys()
    assert f"{fingerprint(bundle.removeprefix(plain))[:16]}.crt" in secret["data"]
