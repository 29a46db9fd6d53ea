"""Objects that are nested as deeply as the API server takes them: who may write one in his namespace must not end the operator for all."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BUDGET, MODEL, POD, Resource
from modelward_operator.plan.names import selector
from tests.integration.apiserver import ApiServer
from tests.integration.deep import DEEPEST, write_deep
from tests.integration.running import Running, create, exists, running, until

Json = dict[str, Any]
SPECS: dict[Resource, Json] = {
    MODEL: {"model": {"uri": "s3://models/fraud/7/"}},
    POD: {"automountServiceAccountToken": False, "containers": [{"name": "a", "image": "a"}]},
    BUDGET: {"limit": "500", "currency": "USD"},
}


def write(server: ApiServer, namespace: str, depth: int) -> None:
    """Create an object of each kind."""
    for resource, spec in SPECS.items():
        labels = selector("deep") if resource is POD else {}
        meta = {"name": f"deep-{depth}", "namespace": namespace, "labels": labels}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        write_deep(server, resource.path(namespace), body, depth)


@pytest.fixture
async def operator(server: ApiServer, tmp_path: Path, namespace: str) -> AsyncIterator[Running]:
    for depth in (500, 1_500, DEEPEST):
        write(server, namespace, depth)
    async with running(server, tmp_path, namespace) as started:
        yield started


async def test_the_operator_serves_beside_them_when_it_starts_and_when_they_come(
    operator: Running, server: ApiServer, client: Client, namespace: str
) -> None:
    await create(client, namespace, "fraud")
    await until(exists(client, "Deployment", namespace, "fraud"))
    write(server, namespace, DEEPEST - 1)
    await create(client, namespace, "spam")
    for name in ("spam", f"deep-{DEEPEST}", f"deep-{DEEPEST - 1}"):
        await until(exists(client, "Deployment", namespace, name))
    assert operator.process.returncode is None
    assert [] == [line for line in operator.lines() if line["level"] == "ERROR"]
