"""A model that may be at zero on a real API server: what the load asks for, the pods of the activator, and what is behind the Service."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    POD,
    Resource,
)
from modelward_operator.facts import Demand, Given, Json, Key
from modelward_operator.plan import names
from modelward_operator.reconcile import reconcile
from tests.integration.rig import Rig
from tests.until import PATIENCE

ZERO: dict[str, Any] = {
    "scaling": {"minReplicas": 0, "maxReplicas": 3},
    "security": {"authentication": {"mode": "None"}},
}
SLICE = "fraud-activator"
NAMESPACE = Resource("Namespace", "", "v1", "namespaces")
DECIDED = datetime(2026, 11, 25, tzinfo=UTC)


@dataclass
class Wanting:
    """The cluster of a rig, where the load asks for so many replicas, and time is what the test says."""

    rig: Rig
    wanted: int = 1
    later: float = 0.0

    async def gather(self, key: Key) -> Given | None:
        given = await self.rig.cluster.gather(key)
        if given is None:
            return None
        now = datetime.fromtimestamp(given.now.timestamp() + self.later, UTC)
        return replace(given, demand=Demand(self.wanted, "the test", DECIDED), now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rig.cluster, name)

    async def reconcile(self, name: str = "fraud") -> float | None:
        again = await reconcile(self.rig.key(name), self)
        await self.rig.heard_all()
        return again


async def start_activator(client: Client, home: str, name: str, address: str) -> str:
    """Make a pod of the activator that is ready; returns its UID."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": home, "labels": dict(names.ACTIVATOR_PODS)},
        "spec": {"containers": [{"name": "activator", "image": "i"}]},
    }
    made = await client.create(POD, body, manager="test")
    status = {"podIP": address, "podIPs": [{"ip": address}], "conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch(POD, home, name, {"status": status}, manager="kubelet", subresource="status")
    return str(made["metadata"]["uid"])


async def serve(client: Client, namespace: str, *, is_ready: bool) -> None:
    """Do what the endpoints controller would: say whether a pod of the model is ready."""
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "fraud-abcde",
            "namespace": namespace,
            "labels": {
                **names.selector("fraud"),
                names.SERVICE_NAME: "fraud",
                names.SLICE_MANAGED_BY: "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["192.0.2.100"], "conditions": {"ready": is_ready}}],
    }
    await client.apply(ENDPOINT_SLICE, body, manager="controller", force=True)


async def routed(rig: Rig, home: str, count: int = 1) -> tuple[str, list[Json]]:
    """Wait until the table holds so many routes; returns the ConfigMap's version and the routes."""

    async with asyncio.timeout(PATIENCE):
        while True:
            found: list[Json] = []
            async for page, _ in rig.admin.pages(CONFIG_MAP, home, labels=f"{names.ACTIVATOR_PART}=routes"):
                found += page
            routes = [route for one in found for route in json.loads(one["data"]["routes.json"])["routes"]]
            if len(routes) == count:
                return (found[0]["metadata"]["resourceVersion"] if found else ""), routes
            await asyncio.sleep(0.02)


async def knowing(rig: Rig, home: str, *pods: str) -> None:
    """Let the pods say that they have read the table as it is, once the operator has seen that they are ready.

    When it returns, the operator counts on them: of what it has written itself it may know a moment later than others.
    """
    assert rig.activation
    board = rig.activation.switchboard
    await rig.until(lambda: set(pods) <= {pod.uid for pod in board.pods() if pod.is_ready})
    version, _ = await routed(rig, home)
    for pod in pods:
        board.heard(pod, {f"{names.ACTIVATOR}-routes-0": int(version)})
    addresses = {pod.address for pod in board.pods() if pod.uid in pods}
    await rig.until(lambda: addresses <= set(board.able(rig.key())))


def joined(live: Json) -> list[str]:
    return [address for endpoint in live.get("endpoints") or () for address in endpoint["addresses"]]


async def make_home(client: Client, namespace: str) -> str:
    """Make the operator's own namespace, with the activator's Deployment in it; returns its name."""
    home = f"{namespace}-home"
    await client.create(
        NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}}, manager="test"
    )
    labels = dict(names.ACTIVATOR_PODS)
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "activator", "image": "i"}]}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.ACTIVATOR, "namespace": home},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    await client.create(DEPLOYMENT, body, manager="test")
    return home
