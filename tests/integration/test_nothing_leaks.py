"""The whole operator with the chart's own rights, on an API server that keeps an audit log: one id leads from an event to its writes, and
of what Secrets hold nothing is read, kept, logged or told.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from modelward_operator.cluster.kinds import BY_KIND, SECRET
from tests.integration.apiserver import ApiServer
from tests.integration.leaks import (
    HOME,
    MARKER,
    PLACE,
    ROOT,
    Seen,
    at_work,
    forms,
    memory_of,
    spoken,
)
from tests.integration.rest import Json, apply, request
from tests.integration.running import until
from tests.log_template import misfits

AUDITED: Final = True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(server: ApiServer, gateway_api: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    chart = (ROOT / "helm/manifests/modelward.yaml").read_text()
    async with at_work(server, tmp_path_factory.mktemp("leaks"), chart, clusterwide=True) as working:
        yield working


@pytest.mark.asyncio(loop_scope="module")
async def test_no_secret_is_in_logs_events_status_metrics_or_children(seen: Seen) -> None:
    told = await spoken(seen)
    assert len(seen.models) > 30, "and each made children that were looked at"
    assert {where.split()[0] for where in told} >= {
        "log",
        "metrics",
        "ModelDeployment",
        "Deployment",
        "ConfigMap",
        "Lease",
    }
    await seen.check_words()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_search_finds_what_is_there(seen: Seen) -> None:
    """The control: a marker that somebody writes into an annotation is found, in both forms."""
    for form in forms(MARKER):
        meta = {"name": "talkative", "namespace": PLACE}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"said": f"it is {form}"}}
        apply(seen.server, body, dry_run=False)
        assert [where for where, text in (await spoken(seen)).items() if form in text] == [
            f"ConfigMap {PLACE}/talkative"
        ]
    live = request(seen.server, "GET", f"/api/v1/namespaces/{PLACE}/configmaps/talkative")
    await seen.client.delete(BY_KIND["ConfigMap"], PLACE, "talkative", uid=live["metadata"]["uid"])


@pytest.mark.asyncio(loop_scope="module")
async def test_no_secret_is_in_the_operators_memory(seen: Seen) -> None:
    """What it never reads it cannot keep. The CA's key it needs; that it is found shows that the search works."""
    memory = await asyncio.to_thread(memory_of, seen.operator.process.pid)
    assert MARKER.encode() not in memory
    assert base64.b64encode(MARKER.encode()).rstrip(b"=")[:-2] not in memory
    authority = await seen.client.get(SECRET, HOME, "modelward-ca")
    (key,) = [value for name, value in authority["data"].items() if name.endswith(".key")]
    assert base64.b64decode(key).splitlines()[1] in memory


@pytest.mark.asyncio(loop_scope="module")
async def test_of_secrets_it_makes_those_of_certificates_and_reads_its_own_cas(seen: Seen) -> None:
    seen.check_secrets()


@pytest.mark.asyncio(loop_scope="module")
async def test_its_rights_are_enough(seen: Seen) -> None:
    """The other side of few rights: with all examples at work the API server refused it nothing."""
    assert [] == seen.refused()


@pytest.mark.asyncio(loop_scope="module")
async def test_one_id_leads_from_an_event_to_its_writes_in_the_audit_log(seen: Seen) -> None:
    path = f"/api/v1/namespaces/{PLACE}/services/managed"

    def writes() -> list[Json]:
        return [line for line in seen.operator.lines() if line["message"] == "write" and line["path"] == path]

    async def made_anew() -> bool:
        return len(writes()) > before

    before = len(writes())
    live = request(seen.server, "GET", path)
    await seen.client.delete(BY_KIND["Service"], PLACE, "managed", uid=live["metadata"]["uid"])
    await until(made_anew)
    (rung,) = [
        line
        for line in seen.operator.lines()
        if (line.get("event"), line.get("kind"), line.get("object")) == ("DELETED", "Service", "managed")
    ]
    (write,) = [line for line in writes() if line["pass"] == rung["pass"]]
    assert ("rung", f"{PLACE}/managed") == (rung["message"], rung["key"])
    assert ("apply", 201, f"{PLACE}/managed") == (write["verb"], write["code"], write["key"])
    (audited,) = await seen.audited_writes(write["auditID"])
    assert path == audited["requestURI"].partition("?")[0]
    assert write["auditID"].startswith(f"{rung['pass']}.")


@pytest.mark.asyncio(loop_scope="module")
async def test_no_two_writes_share_an_id(seen: Seen) -> None:
    ids = [line["auditID"] for line in seen.operator.lines() if line["message"] == "write"]
    assert len(ids) > 100
    assert len(ids) == len(set(ids))
    assert len(ids) == len(await seen.audited_writes(*ids))


@pytest.mark.asyncio(loop_scope="module")
async def test_every_line_is_as_the_index_template_says(seen: Seen) -> None:
    lines = seen.operator.lines()
    assert {"DEBUG", "INFO"} <= {line["level"] for line in lines}
    assert [] == [(line, wrong) for line in lines for wrong in misfits(line)]
