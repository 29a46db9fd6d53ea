"""The operator's parts in a test's hand: its streams, store and adapter run, but passes only when the test says so."""

import asyncio
import contextlib
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.cluster.activation import Activation, make_activation
from modelward_operator.cluster.adapter import KubernetesCluster
from modelward_operator.cluster.adoption import Adopter
from modelward_operator.cluster.apply import Applier
from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.budgets import Budgets
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.evaluator import Evaluator
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.founder import Founder
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.historian import Historian
from modelward_operator.cluster.issuer import Issuer
from modelward_operator.cluster.kinds import (
    BY_KIND,
    CHILDREN,
    DEPLOYMENT,
    GATEWAY,
    MODEL,
    NAMED,
    OBSERVED,
    SURROUNDINGS,
    Resource,
)
from modelward_operator.cluster.replicaprice import ReplicaPrices
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.upgrades import Upgrades
from modelward_operator.cluster.watch import Stream
from modelward_operator.facts import Installation, Json, Key
from modelward_operator.ledger.book import Book
from modelward_operator.plan.names import MANAGED_BY, MANAGER
from modelward_operator.pricing.facts import Rate, Unpriced
from modelward_operator.pricing.money import NANO
from modelward_operator.reconcile import reconcile
from tests.until import until

INSTALLATION = Installation("modelward-system", "registry.example/modelward-runtime:1")
URI = "s3://models/fraud/7/"


@dataclass
class Costs:
    """What things cost, in a test's hand: the account, the price of a replica, and what time it is for budgets."""

    book: Book = field(default_factory=Book)
    price: Rate | Unpriced = field(default_factory=lambda: Rate(NANO, "USD"))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    budgets: Budgets | None = None
    evaluator: Evaluator | None = None

    def replica(self, _key: Key, _spec: ModelDeploymentSpec, _pods: Iterable[Json]) -> Rate | Unpriced:
        """Stand in for the nodes and the PriceBooks, which this API server has none of."""
        return self.price

    def shown(self, _key: Key) -> str:
        """Say that pods take what their specs say."""
        return ""

    async def look(self, namespace: str) -> None:
        """Evaluate the budgets."""
        assert self.evaluator is not None
        await self.evaluator.look(namespace)


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
    activation: Activation | None = None
    noted: dict[Key, tuple[int, int]] = field(default_factory=dict)
    """What the autoscaler was told of the activator."""
    costs: Costs = field(default_factory=Costs)

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
            if resource.kind in self.store.unserved:
                continue
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
        """Wait until `true`."""
        await until(true)

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
    home: str = "",
    applier_clock: Callable[[], float] = time.monotonic,
    runtime_image: str = INSTALLATION.runtime_image,
) -> AsyncIterator[Rig]:
    """Run the streams of one namespace until the block ends; `clusterwide` with those of Namespaces and ModelPolicies.

    `clock` is the issuer's, `applier_clock` that of who writes the children. `home` is the operator's own namespace, where it keeps the
    activator's table; without it there is no activator. `runtime_image` is the serving image that the operator was installed with; one
    model at a time is rolled to it.
    """
    writes: Counter[tuple[str, str]] = Counter()
    client = client_type(admin.configuration, count=functools.partial(_count, writes))
    store, rung, noted, costs = Store(), list[Key](), dict[Key, tuple[int, int]](), Costs()
    installation = replace(INSTALLATION, namespace=home or INSTALLATION.namespace, runtime_image=runtime_image)
    teller = Teller(client, "test")
    evaluator = costs.evaluator = _evaluator(costs, store, client, teller, rung.append)
    bells = Bells(store, lambda key, _live: rung.append(key), wake=evaluator.wake)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        authorities = Authorities(client, installation.namespace, now=lambda: datetime.now(UTC), clock=time.monotonic)
        activation = None
        if home:

            def note(key: Key, held: int, forwarding: int) -> None:
                noted[key] = (held, forwarding)

            activation = make_activation(client, store, session, installation, ring=rung.append, note=note)
        cluster = KubernetesCluster(
            Gatherer(
                client,
                store,
                installation,
                session,
                clusterwide=clusterwide,
                namespaces=() if clusterwide else (namespace,),
                authorities=authorities,
                activators=activation.reader if activation else None,
                budgets=evaluator.budgets,
                upgrades=Upgrades(store, 1, rung.append),
            ),
            Adopter(client, store, ring=rung.append),
            Founder(client),
            Issuer(client, store, authorities, clock),
            Applier(client, store, applier_clock, ring=rung.append),
            Historian(client, store),
            StatusWriter(client, store),
            teller,
            activation.switchboard if activation else None,
        )
        streams = _streams(functools.partial(Stream, client, store), bells, namespace, clusterwide=clusterwide)
        await stack.enter_async_context(_running(streams, activation))
        yield Rig(namespace, admin, client, store, cluster, writes, rung, activation, noted, costs)


def _count(writes: Counter[tuple[str, str]], verb: str, kind: str, code: int) -> None:
    refused = code >= 400  # an apply that may only create also looks, see apply.py
    if verb not in {"get", "list", "watch"} and not refused:
        writes[verb, kind] += 1


def _evaluator(costs: Costs, store: Store, client: Client, teller: Teller, ring: Callable[[Key], None]) -> Evaluator:
    """Return who holds budgets against the account and the prices in the test's hand."""

    def moment() -> float:
        return costs.now.timestamp()

    costs.budgets = budgets = Budgets(store)
    prices = ReplicaPrices(store, costs, moment)
    return Evaluator(
        store, budgets, lambda _: costs.book, prices, client, teller, ring, now=lambda: costs.now, clock=moment
    )


def _streams(make: Callable[..., Stream], bells: Bells, namespace: str, *, clusterwide: bool) -> list[Stream]:
    """Return the streams of the namespace, and what is watched in the whole cluster."""

    def follow(resource: Resource, labels: str = "", where: str = namespace) -> Stream:
        return make(resource, bells.ring, namespace=where, labels=labels)

    ours = f"{MANAGED_BY}={MANAGER}"
    return [
        follow(MODEL),
        *(follow(resource, ours) for resource in (*CHILDREN, *OBSERVED)),
        *(follow(resource) for resource in NAMED),
        follow(GATEWAY, "", "" if clusterwide else namespace),
        *(follow(resource, "", "") for resource in SURROUNDINGS if clusterwide),
    ]


@contextlib.asynccontextmanager
async def _running(streams: list[Stream], activation: Activation | None) -> AsyncIterator[None]:
    """Run the streams, and what the activator needs, until the block ends; it begins when all is listed."""
    streams = [*streams, *(activation.streams if activation else ())]
    tasks = [asyncio.create_task(stream.run()) for stream in streams]
    try:
        await asyncio.gather(*(stream.listed.wait() for stream in streams))
        tasks += [asyncio.create_task(duty()) for duty in (activation.duties.values() if activation else ())]
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
