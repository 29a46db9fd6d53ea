"""A deposed leader writes nothing: one that was stopped for longer than its lease, and one whose API server answers late.

Whole operators on a real API server, whose audit log says who wrote what when. All the while somebody deletes what they made, so that
whoever leads is always about to write. A lease lasts five seconds here.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import LEASE, SERVICE
from modelward_operator.cluster.lease import NAME
from modelward_operator.errors import OperatorError
from tests.integration.apiserver import ApiServer, api_server
from tests.integration.conftest import begin
from tests.integration.running import Running, create, running, until
from tests.integration.test_fairness import lead
from tests.ports import free_ports

SECONDS = 5
LATE = SECONDS + 1.0
SETTINGS = {"LEASE_SECONDS": str(SECONDS)}
MODELS = [f"m{number}" for number in range(6)]
WRITES = {"create", "update", "patch", "delete"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with an audit log, and a token for each replica."""
    folder = tmp_path_factory.mktemp("audited")
    with api_server(folder, audited=True, users=["first", "second"], data=furnished) as made:
        os.environ["KUBECONFIG"] = str(made.kubeconfig)
        asyncio.run(begin(made))
        yield made


@dataclass(frozen=True)
class Write:
    """Something that a replica wrote."""

    at: float
    what: str
    is_lease: bool


def writes(server: ApiServer, user: str, namespace: str) -> list[Write]:
    """Return what a user wrote there and the API server carried out, by when it was answered."""
    lines = server.audit_log.read_text().split("\n")[:-1]
    entries = [entry for entry in map(json.loads, lines) if entry["verb"] in WRITES]
    return [
        Write(
            datetime.fromisoformat(entry["stageTimestamp"]).timestamp(),
            f"{entry['verb']} {entry['requestURI']}",
            entry["objectRef"]["resource"] == "leases",
        )
        for entry in entries
        if entry["user"]["username"] == user and entry["responseStatus"]["code"] < 300
        if entry["objectRef"].get("namespace") == namespace
    ]


async def holder(client: Client, namespace: str) -> str:
    try:
        return str((await client.get(LEASE, namespace, NAME))["spec"]["holderIdentity"])
    except NotFound:
        return ""


@asynccontextmanager
async def vandal(client: Client, namespace: str) -> AsyncIterator[None]:
    """Delete what the leader makes, again and again."""

    async def destroy() -> None:
        while True:
            for name in MODELS:
                with contextlib.suppress(OperatorError):
                    live = await client.get(SERVICE, namespace, name)
                    await client.delete(SERVICE, namespace, name, uid=live["metadata"]["uid"])
            await asyncio.sleep(0.02)

    task = asyncio.create_task(destroy())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def replica(
    server: ApiServer, folder: Path, namespace: str, name: str, kubeconfig: Path | None = None
) -> AsyncIterator[Running]:
    """One replica, once it has listed everything."""
    kubeconfig = kubeconfig or server.kubeconfig_of(name)
    async with running(server, folder, namespace, name, kubeconfig, settings=SETTINGS) as made:

        async def is_ready() -> bool:
            with contextlib.suppress(OSError, aiohttp.ClientError):
                return (await made.http(made.health, "/readyz"))[0] == 200
            return False

        await until(is_ready, 60)
        yield made


async def leads(client: Client, namespace: str, server: ApiServer, name: str) -> None:
    """Wait until a replica leads and has written something since it does."""

    async def has_written() -> bool:
        if await holder(client, namespace) != name:
            return False
        done = writes(server, name, namespace)
        claimed = next((w.at for w in done if w.is_lease), float("inf"))
        return any(w.at > claimed and not w.is_lease for w in done)

    await until(has_written)


async def let_first_lead(client: Client, namespace: str, server: ApiServer, second: Running) -> None:
    """Free the lease, which is somebody's until both are there: a lease of seconds would not outlast the start of another process.

    The second is stopped until the first leads.
    """
    second.process.send_signal(signal.SIGSTOP)
    await lead(client, namespace, "")
    await leads(client, namespace, server, "first")
    second.process.send_signal(signal.SIGCONT)


async def test_one_that_was_stopped_for_longer_than_its_lease_writes_nothing_and_ends(
    server: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    for name in MODELS:
        await create(client, namespace, name)
    await lead(client, namespace, "somebody")
    async with (
        vandal(client, namespace),
        replica(server, tmp_path, namespace, "first") as first,
        replica(server, tmp_path, namespace, "second") as second,
    ):
        await let_first_lead(client, namespace, server, second)
        first.process.send_signal(signal.SIGSTOP)
        await leads(client, namespace, server, "second")
        before = writes(server, "first", namespace)
        first.process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(60):
            assert await first.process.wait() == 1, "it ends, and begins anew as a follower"
        assert writes(server, "first", namespace) == before
        assert await holder(client, namespace) == "second"


@dataclass
class Way:
    """The way to an API server that is late: what is sent then arrives LATE seconds later, unless the sender has hung up."""

    upstream: tuple[str, int]
    is_late: bool = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self.upstream)
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        both = {asyncio.create_task(_copy(there, writer)), asyncio.create_task(self._deliver(waiting, back))}
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                while piece := await reader.read(65536):
                    waiting.put_nowait((loop.time() + (LATE if self.is_late else 0.0), piece))
        finally:  # who hangs up takes back what has not arrived
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            back.transport.abort()
            writer.transport.abort()

    async def _deliver(self, waiting: "asyncio.Queue[tuple[float, bytes]]", back: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await waiting.get()
            await asyncio.sleep(max(due - loop.time(), 0.0))
            back.write(piece)
            await back.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def test_one_whose_api_server_answers_late_has_written_before_another_leads_and_ends(
    server: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    for name in MODELS:
        await create(client, namespace, name)
    at = urlsplit(server.url)
    way, (port,) = Way((str(at.hostname), int(at.port or 0))), free_ports(1)
    await lead(client, namespace, "somebody")
    config = yaml.safe_load(server.kubeconfig_of("first").read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    slow = tmp_path / "slow"
    slow.write_text(yaml.safe_dump(config))
    async with (
        await asyncio.start_server(way, "127.0.0.1", port),
        vandal(client, namespace),
        replica(server, tmp_path, namespace, "first", slow) as first,
        replica(server, tmp_path, namespace, "second") as second,
    ):
        await let_first_lead(client, namespace, server, second)
        way.is_late = True
        async with asyncio.timeout(60):
            assert await first.process.wait() == 1, "it ends, and begins anew as a follower"

        async def another_leads() -> bool:
            return await holder(client, namespace) == "second"

        await until(another_leads)
        await asyncio.sleep(LATE)  # for what is still on its way
    claimed = min(w.at for w in writes(server, "second", namespace) if w.is_lease)
    assert [w.what for w in writes(server, "first", namespace) if w.at >= claimed] == []
