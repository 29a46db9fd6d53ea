"""The whole operator as a process, and what the controllers and the kubelet would do around it. Used by tests that run it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT, MODEL, POD, REPLICA_SET
from tests.integration.apiserver import ApiServer
from tests.kubelet import pod_status
from tests.ports import free_ports

Json = dict[str, Any]


@dataclass
class Running:
    """One operator process."""

    process: asyncio.subprocess.Process
    health: int
    metrics: int
    log: Path

    async def http(self, port: int, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        _, text = await self.http(self.metrics, "/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self.process.wait()

    def peak_memory(self) -> int:
        """Return the most memory that the process ever held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def lines(self) -> list[Json]:
        """Return what it has logged by now; the last line may still be under way."""
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.endswith("}")]

    def taken(self) -> list[str]:
        """Return the keys that the workers took, in this order."""
        return [line["key"] for line in self.lines() if line["message"] == "taken"]


@asynccontextmanager
async def running(
    server: ApiServer,
    folder: Path,
    namespace: str,
    name: str = "one",
    kubeconfig: Path | None = None,
    *,
    clusterwide: bool = False,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    log = folder / f"{name}.log"
    ports = free_ports(2)
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig or server.kubeconfig),
        "RUNTIME_IMAGE": "registry.example/runtime:1",
        "POD_NAMESPACE": namespace,
        "POD_NAME": name,
        "WATCH_NAMESPACES": "" if clusterwide else namespace,
        "HEALTH_PORT": str(ports[0]),
        "METRICS_PORT": str(ports[1]),
        "LOG_LEVEL": "DEBUG",
        **(settings or {}),
    }
    command = [sys.executable, "-m", "modelward_operator.cli", "run"]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=out, stderr=out)
    operator = Running(process, ports[0], ports[1], log)
    try:
        yield operator
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait until something is true of another process; `seconds` is for what must not take longer, or may."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  -- it is another process
            await asyncio.sleep(0.05)


async def create(client: Client, namespace: str, name: str, spec: Json | None = None) -> Json:
    body = {
        "apiVersion": MODEL.api_version,
        "kind": MODEL.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": "s3://models/fraud/7/"}, **(spec or {})},
    }
    return await client.create(MODEL, body, manager="user")


def exists(client: Client, kind: str, namespace: str, name: str) -> Callable[[], Any]:
    async def look() -> bool:
        try:
            await client.get(BY_KIND[kind], namespace, name)
        except NotFound:
            return False
        return True

    return look


async def run_pod(client: Client, namespace: str, name: str, address: str) -> None:
    """Do what the controllers and the kubelet would: a ReplicaSet and a ready pod of the Deployment's template."""
    live = await client.get(DEPLOYMENT, namespace, name)
    template = live["spec"]["template"]
    labels = {**template["metadata"]["labels"], "pod-template-hash": "1"}
    meta = {"name": f"{name}-1", "namespace": namespace, "labels": labels, "ownerReferences": [_owner(live)]}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {**template["metadata"], "labels": labels}, "spec": template["spec"]},
    }
    made = await client.create(
        REPLICA_SET, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": spec}, manager="test"
    )
    pod = f"{name}-1-x"
    meta = {
        "name": pod,
        "namespace": namespace,
        "ownerReferences": [_owner(made)],
        "labels": labels,
        "annotations": template["metadata"].get("annotations", {}),
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
    created = await client.create(POD, body, manager="test")
    status = pod_status(created, address, is_ready=True)
    await client.patch(POD, namespace, pod, {"status": status}, manager="kubelet", subresource="status")


def _owner(obj: Json) -> Json:
    uid = obj["metadata"]["uid"]
    name = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}
    return {**name, "uid": uid, "controller": True}
