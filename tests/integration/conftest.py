"""The integration ring: one API server a session, one namespace a test."""

import asyncio
import itertools
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import BY_KIND, MODEL, PRIVACY, Resource
from modelward_operator.errors import OperatorError
from tests.integration.apiserver import TOKEN, ApiServer, api_server
from tests.integration.rig import Rig, make_rig

ROOT = Path(__file__).parents[2]
CRD = Resource("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
NAMESPACE = Resource("Namespace", "", "v1", "namespaces")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server with the CRDs of crds/."""
    with api_server(tmp_path_factory.mktemp("apiserver")) as running:
        os.environ["KUBECONFIG"] = str(running.kubeconfig)
        asyncio.run(_apply_crds())
        yield running


async def _apply_crds() -> None:
    client = Client(await load_configuration())
    try:
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            await client.apply(CRD, yaml.safe_load(file.read_text()), manager="test", force=True)
        async with asyncio.timeout(30):
            while not await _served(client):  # noqa: ASYNC110  -- the API announces nothing
                await asyncio.sleep(0.1)
    finally:
        await client.close()


async def _served(client: Client) -> bool:
    try:
        async for _ in client.pages(MODEL):
            return True
    except (NotFound, OperatorError):
        return False
    return False


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    """An administrator's client."""
    made = Client(await load_configuration({"KUBECONFIG": str(server.kubeconfig)}))
    yield made
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await made.close()
    await asyncio.sleep(0.1)  # connections that were cut off in the middle of a request say goodbye in TLS


@pytest.fixture
async def namespace(client: Client) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await client.create(NAMESPACE, body, manager="test")
    return name


@pytest.fixture(scope="session")
def dry_run(server: ApiServer) -> Callable[[dict[str, Any]], str]:
    """Creates an object of ours with dry-run=server and strict field validation: the refusal, or an empty string."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def attempt(body: dict[str, Any]) -> str:
        namespace = "default" if body["kind"] in {MODEL.kind, PRIVACY.kind} else ""
        path = BY_KIND[body["kind"]].path(body["metadata"].get("namespace", namespace))
        request = urllib.request.Request(
            f"{server.url}{path}?dryRun=All&fieldValidation=Strict",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=10, context=context).close()
        except urllib.error.HTTPError as error:
            with error:
                return str(json.loads(error.read())["message"])
        return ""

    return attempt


@pytest.fixture
async def rig(client: Client, namespace: str) -> AsyncIterator[Rig]:
    """The operator's parts on the test's namespace."""
    async with make_rig(client, namespace) as made:
        yield made
