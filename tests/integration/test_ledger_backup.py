"""operator/tasks/ledgers.md as it is written: ledgers are copied, lost, and restored, and the operator goes on from there."""

import asyncio
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from e2e.cluster.binaries import binary
from modelward_operator.api.costledger import MONTH_LABEL
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import COSTS
from tests.integration.apiserver import ApiServer
from tests.integration.guard import guard
from tests.integration.rest import Json, Refused, apply, request
from tests.integration.running import Running, create, exists, running, until
from tests.integration.test_privacy_ledger import folder_of, ledger, status, status_of, write
from tests.ledgers import MIDNIGHT, NOON
from tests.pages import blocks

PAGE: Final = "operator/tasks/ledgers.md"
MANIFESTS: Final = Path(__file__).parents[2] / "helm" / "manifests" / "modelward.yaml"
SPENT: Final = 7 * 10**9
"""In nano units."""
MONTHS_LAST: Final = timedelta(minutes=1)
"""Of a month: who counts in it then is soon asked in the next one."""


def run(server: ApiServer, folder: Path, heading: str) -> None:
    """Do what the page says under a heading."""
    tools = f"{binary('kubectl').parent}:{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": tools,
        "KUBECONFIG": str(server.kubeconfig),
        "KUBECACHEDIR": str(folder / "cache"),
    }
    (block,) = [block for block in blocks(PAGE) if block.heading == heading]
    for command in block.commands:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.fixture
def installed(server: ApiServer) -> ApiServer:
    """The server with the chart's admission policies, and the operator's Deployment to be scaled."""
    apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "modelward-system"}}, dry_run=False)
    for item in yaml.safe_load_all(MANIFESTS.read_text()):
        if item and (item["kind"], item["metadata"]["name"]) == ("Deployment", "modelward-operator"):
            apply(server, item, dry_run=False)
    return guard(server)


def costs(namespace: str, day: str) -> Json:
    rows = [{"model": "fraud", "currency": "USD", "quarters": f"00:00={SPENT}"}]
    meta = {"name": f"costs-{day}-0", "namespace": namespace, "labels": {MONTH_LABEL: day[:7]}}
    spec = {"day": day, "shard": 0, "rows": rows}
    return {"apiVersion": COSTS.api_version, "kind": COSTS.kind, "metadata": meta, "spec": spec}


async def test_what_was_spent_is_what_it_was_before(
    installed: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    day = await today()
    paths = (f"{COSTS.path(namespace)}/costs-{day}-0", f"{folder_of(namespace)}/standard-all")
    request(installed, "POST", COSTS.path(namespace), costs(namespace, day))
    request(installed, "POST", folder_of(namespace), ledger("standard"))
    write(installed, namespace, status(NOON, a=(10, MIDNIGHT)))
    before = [_kept(request(installed, "GET", path)) for path in paths]
    run(installed, tmp_path, "Back up and restore ledgers")
    for path in paths:
        request(installed, "DELETE", path)
    run(installed, tmp_path, "Restore")
    assert before == [_kept(request(installed, "GET", path)) for path in paths]

    async with running(installed, tmp_path, namespace, clusterwide=True) as operator:
        await create(client, namespace, "fraud")
        await until(exists(client, "Deployment", namespace, "fraud"))
        await until(lambda: _says_spent(operator, namespace), 60)


async def today() -> str:
    """The day of a month that does not end before the test does."""
    now = datetime.now(UTC)
    while (now + MONTHS_LAST).month != now.month:
        await asyncio.sleep(1)
        now = datetime.now(UTC)
    return now.strftime("%Y-%m-%d")


def _kept(one: Json) -> Any:
    return one["metadata"]["name"], one["metadata"].get("labels"), one["spec"], one.get("status")


async def _says_spent(operator: Running, namespace: str) -> bool:
    _, text = await operator.http(operator.metrics, "/metrics")
    line = f'modelward_model_spent{{currency="USD",model="fraud",namespace="{namespace}"}} {SPENT / 10**9}'
    return line in text.splitlines()


async def test_an_old_copy_gives_no_budget_back(installed: ApiServer, namespace: str, tmp_path: Path) -> None:
    request(installed, "POST", folder_of(namespace), ledger("standard"))
    write(installed, namespace, status(NOON, a=(10, MIDNIGHT)))
    run(installed, tmp_path, "Back up and restore ledgers")
    write(installed, namespace, status(NOON, a=(11, MIDNIGHT)))
    with pytest.raises(AssertionError, match="what was reserved in a period stays"):
        run(installed, tmp_path, "Restore")
    assert status_of(installed, namespace)["rows"]["a"]["spent"] == 11
    request(installed, "DELETE", f"{folder_of(namespace)}/standard-all")
    with pytest.raises(Refused, match="not found"):
        status_of(installed, namespace)
