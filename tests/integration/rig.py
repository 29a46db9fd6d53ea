"""The operator's parts in a test's hand: its streams, store and adapter run, but passes only when the test says so."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from modelward_operator.cluster.adapter import KubernetesCluster
from modelward_operator.cluster.apply import Applier
from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.founder import Founder
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.issuer import Issuer
from modelward_operator.cluster.kinds import BY_KIND, CHILDREN, DEPLOYMENT, MODEL, NAMED, OBSERVED, SURROUNDINGS
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.watch import Stream
from modelward_operator.facts import Installation, Json, Key
from modelward_operator.plan.names import MANAGED_BY, MANAGER
from modelward_operator.reconcile import reconcile

INSTALLATION = Installation("modelward-system", "registry.example/modelward-runtime:1")
URI = "s3://models/fraud/7/"


@dataclass
class Rig:
    """One operator without workers, on one namespace. `admin` acts as everybody else."""

    namespace: str
    admin: Client
    client: Client
    store: Store
    cluster: KubernetesCluster
    writes: Counter[tuple[str, str]]
    rung: list[Key] = field(default_factory=list)

    def key(self, name: str = "fraud") -> Key:
        return Key(self.namespace, name)

    async def create(self, spec: Json | None = None, name: str = "fraud") -> dict[str, Any]:
        """Create a ModelDeployment and wait until the operator knows of it."""
        body = {
            "apiVersion": MODEL.api_version,
            "kind": MODEL.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": {"uri": URI}, **(spec or {})},
        }
        made = await self.admin.create(MODEL, body, manager="user")
        await self.until(lambda: bool(self.store.read(MODEL.kind, self.namespace, name)))
        return made

    async def change(self, spec: Json, name: str = "fraud") -> None:
        """Merge-patch the spec and wait until the operator knows of it."""
        patched = await self.admin.patch(MODEL, self.namespace, name, {"spec": spec}, manager="user")
        await self.heard(MODEL.kind, name, int(patched["metadata"]["resourceVersion"]))

    async def reconcile(self, name: str = "fraud") -> float | None:
        """Run one pass."""
        return await reconcile(self.key(name), self.cluster)

    def live(self, kind: str, name: str = "fraud") -> dict[str, Any]:
        """Return what the operator knows of an object."""
        return self.store.read(kind, self.namespace, name)

    async def get(self, kind: str, name: str = "fraud") -> dict[str, Any]:
        """Return what the API server holds."""
        return await self.admin.get(BY_KIND[kind], self.namespace, name)

    async def children(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return all objects of child kinds in the namespace, by kind and name, from the API server."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for resource in CHILDREN:
            async for page, _ in self.admin.pages(resource, self.namespace):
                found |= {(item["kind"], item["metadata"]["name"]): item for item in page}
        return {key: item for key, item in found.items() if key != ("ConfigMap", "kube-root-ca.crt")}

    async def versions(self) -> dict[tuple[str, str], str]:
        """Return the resourceVersion of every child and of the ModelDeployment."""
        objects = {**await self.children(), ("ModelDeployment", "fraud"): await self.get("ModelDeployment")}
        return {key: item["metadata"]["resourceVersion"] for key, item in objects.items()}

    async def condition(self, type_: str, name: str = "fraud") -> Json:
        """Return a condition from the API server, or an empty object."""
        status = (await self.get("ModelDeployment", name)).get("status", {})
        return next((c for c in status.get("conditions", ()) if c["type"] == type_), {})

    async def is_gone(self, kind: str, name: str = "fraud") -> bool:
        with contextlib.suppress(NotFound):
            await self.get(kind, name)
            return False
        return True

    async def heard_all(self) -> None:
        """Wait until the operator has heard of the present state of every child and of the ModelDeployment."""
        for key, version in (await self.versions()).items():
            await self.heard(*key, int(version))

    async def heard(self, kind: str, name: str, version: int) -> None:
        """Wait until the operator knows an object at `version` or newer."""

        def known() -> bool:
            return int(self.live(kind, name).get("metadata", {}).get("resourceVersion", 0)) >= version

        await self.until(known)

    async def unknown(self, kind: str, name: str = "fraud") -> None:
        """Wait until the operator has heard that an object is gone."""
        await self.until(lambda: not self.live(kind, name))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true`, for at most 10 seconds."""
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110  -- it may be anything
                await asyncio.sleep(0.005)

    async def complete_rollout(self, name: str = "fraud") -> None:
        """Do what the Deployment's controller would: say that all replicas are up."""
        live = await self.get("Deployment", name)
        replicas = live["spec"]["replicas"]
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
        }
        await self.admin.patch(
            DEPLOYMENT, self.namespace, name, {"status": status}, manager="controller", subresource="status"
        )
        await self.heard_all()


class ServiceAccountClient(Client):
    """A client with the rights of the operator's own ServiceAccount: an administrator's that impersonates it."""

    async def _authorization(self) -> dict[str, str]:
        acting = {"Impersonate-User": f"system:serviceaccount:{INSTALLATION.namespace}:modelward-operator"}
        return {**await super()._authorization(), **acting, "Impersonate-Group": "system:serviceaccounts"}


@contextlib.asynccontextmanager
async def make_rig(
    admin: Client,
    namespace: str,
    *,
    clusterwide: bool = False,
    client_type: type[Client] = Client,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Rig]:
    """Run the streams of one namespace until the block ends; `clusterwide` with those of Namespaces and ModelPolicies.

    `clock` is the issuer's.
    """
    writes: Counter[tuple[str, str]] = Counter()

    def count(verb: str, kind: str, code: int) -> None:
        if verb not in {"get", "list", "watch"}:
            writes[verb, kind] += 1

    client = client_type(admin.configuration, count=count)
    store, rung = Store(), []

    bells = Bells(store, lambda key, _live: rung.append(key))

    def follow(resource: Any, labels: str, where: str = namespace) -> Stream:
        return Stream(client, store, resource, bells.ring, namespace=where, labels=labels)

    streams = [follow(MODEL, ""), *(follow(r, f"{MANAGED_BY}={MANAGER}") for r in (*CHILDREN, *OBSERVED))]
    streams += [follow(resource, "") for resource in NAMED]
    streams += [follow(resource, "", "") for resource in SURROUNDINGS if clusterwide]
    async with aiohttp.ClientSession() as session:
        authorities = Authorities(client, INSTALLATION.namespace, now=lambda: datetime.now(UTC), clock=time.monotonic)
        cluster = KubernetesCluster(
            Gatherer(client, store, INSTALLATION, session, clusterwide=clusterwide, authorities=authorities),
            Founder(client),
            Issuer(client, store, authorities, clock),
            Applier(client, store),
            StatusWriter(client, store),
            Teller(client, "test"),
        )
        tasks = [asyncio.create_task(stream.run()) for stream in streams]
        try:
            await asyncio.gather(*(stream.listed.wait() for stream in streams))
            yield Rig(namespace, admin, client, store, cluster, writes, rung)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()
