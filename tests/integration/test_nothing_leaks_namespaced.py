"""The same with `watchNamespaces`: the operator that serves one namespace, with the Roles that the chart gives it there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from helm.render import template
from tests.integration.apiserver import ApiServer
from tests.integration.leaks import HOME, MARKER, PLACE, Seen, at_work, memory_of

AUDITED: Final = True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(server: ApiServer, gateway_api: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    chart = template(f"--set=watchNamespaces={{{PLACE}}}")
    async with at_work(server, tmp_path_factory.mktemp("leaks"), chart, clusterwide=False) as working:
        yield working


@pytest.mark.asyncio(loop_scope="module")
async def test_no_secret_is_in_what_it_says_or_remembers(seen: Seen) -> None:
    assert len(seen.models) > 30
    await seen.check_words()
    assert MARKER.encode() not in await asyncio.to_thread(memory_of, seen.operator.process.pid)


@pytest.mark.asyncio(loop_scope="module")
async def test_of_secrets_it_makes_those_of_certificates_and_reads_its_own_cas(seen: Seen) -> None:
    seen.check_secrets()


@pytest.mark.asyncio(loop_scope="module")
async def test_its_rights_are_enough_and_it_asks_for_nothing_of_other_namespaces(seen: Seen) -> None:
    refused = [path.split("/") for _, path in seen.refused()]
    assert {tuple(path[:4] + path[5:6]) for path in refused} == {("", "api", "v1", "namespaces", "services")}, (
        "what stands behind a name of another namespace, of which a model's egress then knows nothing"
    )
    assert {path[4] for path in refused}.isdisjoint({HOME, PLACE, "default"})
    asked = {line["objectRef"].get("namespace", "") for line in seen.audited() if "objectRef" in line}
    assert asked - {path[4] for path in refused} <= {HOME, PLACE, "default", ""}
    wide = {
        (line["verb"], line["objectRef"]["resource"])
        for line in seen.audited()
        if "objectRef" in line and not line["objectRef"].get("namespace")
    }
    assert not {resource for _, resource in wide} & {"secrets", "configmaps", "pods", "deployments", "roles"}
