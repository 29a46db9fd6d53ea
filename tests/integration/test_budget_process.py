"""A budget held by the whole operator as a process, with the chart's rights, in real seconds: a replica costs a dollar each."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BUDGET, DEPLOYMENT, MODEL, NODE, PRICES
from modelward_operator.cluster.lease import Terms
from modelward_operator.facts import Json
from tests.integration.apiserver import ApiServer
from tests.integration.running import create, exists, running, until
from tests.integration.test_accountant import NODE_NAME, end, start
from tests.integration.test_operate import _with_the_charts_rights

SPEC = {"scaling": {"replicas": 3}, "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}

LADDER = {"floor": 0, "burnWindowSeconds": 60, "onExceeded": "ScaleToZero"}


@pytest.fixture
async def dear(client: Client) -> AsyncIterator[None]:
    """A node of two cores for 7200 USD an hour."""
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": {"kind": "gpu"}}}
    await client.apply(NODE, body, manager="test", force=True)
    status = {"allocatable": {"cpu": "2", "memory": "8Gi"}, "capacity": {"cpu": "2", "memory": "8Gi"}}
    await client.patch(NODE, "", NODE_NAME, {"status": status}, manager="test", subresource="status")
    spec = {"currency": "USD", "nodes": [{"name": "gpu", "matchLabels": {"kind": "gpu"}, "price": {"node": "7200"}}]}
    book = {"apiVersion": PRICES.api_version, "kind": PRICES.kind, "metadata": {"name": "dear"}, "spec": spec}
    made = await client.apply(PRICES, book, manager="test", force=True)
    yield
    await client.delete(PRICES, "", "dear", uid=made["metadata"]["uid"])


def zone_whose_hour_is_young() -> str:
    """Return a zone in which no hour ends within the next quarter: the test wants one period."""
    return "Asia/Kolkata" if (datetime.now(UTC) + timedelta(minutes=15)).minute < 15 else "UTC"


@pytest.mark.usefixtures("dear")
async def test_the_money_runs_and_the_replicas_follow(
    client: Client, namespace: str, server: ApiServer, tmp_path: Path
) -> None:
    kubeconfig = await _with_the_charts_rights(server, tmp_path, client, namespace, clusterwide=True)
    spec: Json = {"limit": "70", "currency": "USD", "period": "Hour", "timeZone": zone_whose_hour_is_young(), **LADDER}
    meta = {"name": "seconds", "namespace": namespace}
    body = {"apiVersion": BUDGET.api_version, "kind": BUDGET.kind, "metadata": meta, "spec": spec}
    await client.create(BUDGET, body, manager="user")
    await create(client, namespace, "fraud", SPEC)

    async def replicas() -> int:
        found = await client.get(DEPLOYMENT, namespace, "fraud")
        return int(found["spec"]["replicas"])

    async def is_clamped() -> bool:
        return await replicas() == 1

    async def is_at_zero() -> bool:
        return await replicas() == 0

    async def is_back() -> bool:
        return await replicas() == 3

    async def says() -> bool:
        status = (await client.get(MODEL, namespace, "fraud")).get("status", {})
        said = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}
        return said.get("Ready") == said.get("WithinBudget") == ("False", "BudgetExceeded")

    async def has_acted() -> bool:
        status = (await client.get(BUDGET, namespace, "seconds"))["status"]
        return bool(status.get("lastAction", {}).get("action") == "ScaleToZero")

    async with running(server, tmp_path, namespace, "one", kubeconfig, clusterwide=True) as one:
        await until(exists(client, "Deployment", namespace, "fraud"))
        await until(is_clamped)
        pod = await start(client, namespace)
        await until(is_at_zero)
        await until(says)
        await end(client, pod)
        labels = f'{{budget="seconds",currency="USD",namespace="{namespace}"}}'
        assert 70 == await one.metric(f"modelward_budget_limit{labels}")
        assert 5 < await one.metric(f"modelward_budget_spent{labels}") < 40
        await until(has_acted)
    async with running(server, tmp_path, namespace, "two", kubeconfig, clusterwide=True) as two:

        async def has_evaluated() -> bool:
            with contextlib.suppress(aiohttp.ClientError):  # it has only just begun
                return f"modelward_budget_spent{labels}" in (await two.http(two.metrics, "/metrics"))[1]
            return False

        await until(has_evaluated, Terms().duration + 60)
        assert await is_at_zero(), "another operator forgets nothing"
        await client.patch(BUDGET, namespace, "seconds", {"spec": {"limit": "9000"}}, manager="user")
        await until(is_back)
        _, text = await two.http(two.metrics, "/metrics")
        assert [line for line in text.splitlines() if 'code="403"' in line] == []
