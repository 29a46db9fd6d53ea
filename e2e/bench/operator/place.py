"""Where all are measured: one API server and etcd on a core of their own, with an audit log and a token for each contestant."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from e2e.bench.operator import audit
from e2e.bench.operator.load import USER, connected
from e2e.bench.operator.meter import cores
from tests.integration.apiserver import ApiServer, api_server

ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True)
class Place:
    """A running API server and etcd."""

    server: ApiServer
    log: audit.Log
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url


@contextmanager
def place(folder: Path, users: Iterable[str]) -> Iterator[Place]:
    """Run both until the block ends, with our CRDs served."""
    policy, log = folder / "audit-policy.yaml", folder / "audit.log"
    policy.write_text(audit.POLICY)
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-maxsize=100000"]
    pinned = ["taskset", "-c", str(cores()[0])]
    with api_server(folder, users=[USER, *users], flags=flags, before=pinned) as server:
        asyncio.run(_prepare(server.url))
        yield Place(server, audit.Log(log), folder)


async def _prepare(url: str) -> None:
    async with connected(url) as load:
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            body = yaml.safe_load(file.read_text())
            await load.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        async with asyncio.timeout(60):
            while not await _served(load):  # noqa: ASYNC110  -- the API server announces nothing
                await asyncio.sleep(0.2)


async def _served(load: object) -> bool:
    answer = await load.request("GET", "/apis/modelward.dev/v1alpha1/modeldeployments?limit=1")  # type: ignore[attr-defined]
    return bool(answer.get("kind", "").endswith("List"))


@contextmanager
def program(
    place: Place, user: str, command: Sequence[str], environment: Mapping[str, str], log: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a contestant on its core until the block ends; what it says goes to a file of its name."""
    process = start(place, user, command, environment, log)
    try:
        yield process
    finally:
        end(process)


def start(
    place: Place, user: str, command: Sequence[str], environment: Mapping[str, str], log: str = ""
) -> subprocess.Popen[bytes]:
    """Start a contestant on its core."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    said = {**kept, "PYTHONPATH": str(ROOT), "KUBECONFIG": str(place.server.kubeconfig_of(user)), **environment}
    with (place.folder / f"{log or user}.log").open("ab") as out:
        whole = ["taskset", "-c", str(cores()[1]), *command]
        return subprocess.Popen(whole, env=said, cwd=ROOT, stdout=out, stderr=out)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and wait."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
