"""The integration ring: one API server a file, so that no file sees what another left behind; one namespace a test."""

import asyncio
import itertools
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.binaries import module_source
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import (
    BUDGET,
    BY_KIND,
    COSTS,
    EXPOSING,
    GATEWAY,
    LEDGER,
    MODEL,
    POLICY,
    PRICES,
    PRIVACY,
    SCALED_OBJECT,
    Resource,
)
from modelward_operator.errors import OperatorError
from tests.integration.activation import make_home
from tests.integration.apiserver import TOKEN, ApiServer, api_server
from tests.integration.rig import Rig, make_rig

ROOT = Path(__file__).parents[2]
CRD = Resource("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
OURS = (MODEL, POLICY, PRIVACY, BUDGET, PRICES, LEDGER, COSTS)
GATEWAY_KINDS = (GATEWAY, *(resource for resource in EXPOSING if resource.is_optional))
NAMESPACE = Resource("Namespace", "", "v1", "namespaces")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What etcd holds of a cluster with the CRDs of crds/ and KEDA's, and nothing else: a server that begins with it is there earlier."""
    folder = tmp_path_factory.mktemp("furnished")
    with api_server(folder) as running:
        asyncio.run(prepare(running))
    return folder / "etcd"


@pytest.fixture(scope="module")
def server(
    furnished: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ApiServer]:
    """A real API server with the CRDs; with an audit log for a file that says AUDITED."""
    audited = getattr(request.module, "AUDITED", False)
    with api_server(tmp_path_factory.mktemp("apiserver"), audited=audited, data=furnished) as running:
        os.environ["KUBECONFIG"] = str(running.kubeconfig)
        asyncio.run(begin(running))
        yield running


async def prepare(server: ApiServer) -> None:
    """Apply the CRDs."""
    async with administrator(server) as client:
        await apply_crds(client)


async def apply_crds(client: Client) -> None:
    """Ours and KEDA's; returns when they are served."""
    for file in [*sorted((ROOT / "crds").glob("*.yaml")), keda_crd()]:
        await client.apply(CRD, yaml.safe_load(file.read_text()), manager="test", force=True)
    await _until_served(client, (*OURS, SCALED_OBJECT))


async def begin(server: ApiServer) -> None:
    """Wait until a server that began with the CRDs serves them."""
    async with administrator(server) as client:
        await _until_served(client, (*OURS, SCALED_OBJECT))


@asynccontextmanager
async def administrator(server: ApiServer) -> AsyncIterator[Client]:
    """An administrator's client, for the block."""
    client = Client(await load_configuration({"KUBECONFIG": str(server.kubeconfig)}))
    try:
        yield client
    finally:
        await client.close()


def keda_crd() -> Path:
    """The CustomResourceDefinition of ScaledObjects, as KEDA ships it."""
    return module_source("keda", "github.com/kedacore/keda/v2") / "config/crd/bases/keda.sh_scaledobjects.yaml"


def gateway_crds() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of the Gateway API's standard channel, as the project ships them."""
    folder = module_source("gateway-api", "sigs.k8s.io/gateway-api") / "config/crd/standard"
    files = [folder / f"gateway.networking.k8s.io_{resource.plural}.yaml" for resource in GATEWAY_KINDS]
    return [yaml.load(file.read_text(), Loader=yaml.CSafeLoader) for file in files]


@pytest.fixture(scope="module")
def gateway_api(server: ApiServer) -> None:
    """The Gateway API, for the files that want it: elsewhere it is absent."""
    asyncio.run(_install_gateway_api(server))


async def _install_gateway_api(server: ApiServer) -> None:
    async with administrator(server) as client:
        await install_gateway_api(client)


async def install_gateway_api(client: Client) -> None:
    """Install the Gateway API and wait until it is served."""
    for crd in gateway_crds():
        await client.apply(CRD, crd, manager="test", force=True)
    await _until_served(client, GATEWAY_KINDS)


async def _until_served(client: Client, resources: Iterable[Resource]) -> None:
    async with asyncio.timeout(60):
        while not await _served(client, resources):  # noqa: ASYNC110  -- the API announces nothing
            await asyncio.sleep(0.05)


async def _served(client: Client, resources: Iterable[Resource]) -> bool:
    try:
        for resource in resources:
            async for _ in client.pages(resource):
                break
    except (NotFound, OperatorError):
        return False
    return True


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


@pytest.fixture(scope="module")
def dry_run(server: ApiServer) -> Callable[[dict[str, Any]], str]:
    """Creates an object of ours with dry-run=server and strict field validation: the refusal, or an empty string."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def attempt(body: dict[str, Any]) -> str:
        namespace = "default" if body["kind"] in {MODEL.kind, PRIVACY.kind, BUDGET.kind} else ""
        path = BY_KIND[body["kind"]].path(body["metadata"].get("namespace", namespace))
        request = urllib.request.Request(
            f"{server.url}{path}?dryRun=All&fieldValidation=Strict",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=30, context=context).close()
        except urllib.error.HTTPError as error:
            with error:
                return str(json.loads(error.read())["message"])
        return ""

    return attempt


@pytest.fixture
async def home(client: Client, namespace: str) -> str:
    """The operator's own namespace, where the activator is installed."""
    return await make_home(client, namespace)


@pytest.fixture
async def rig(client: Client, namespace: str) -> AsyncIterator[Rig]:
    """The operator's parts on the test's namespace."""
    async with make_rig(client, namespace) as made:
        yield made
