"""The parts of a running operator, made and connected: one client and one for the Lease, store, queue, streams, adapter.

Called by main.py, which runs them. Nothing runs here, and nothing is decided.
"""

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp

from modelward_operator.cluster.adapter import KubernetesCluster
from modelward_operator.cluster.apply import Applier
from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.founder import Founder
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.issuer import Issuer
from modelward_operator.cluster.kinds import CHILDREN, MODEL, NAMED, NAMESPACE, OBSERVED, POLICY, Resource
from modelward_operator.cluster.lease import Lease
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.cluster.store import Store, key_of
from modelward_operator.cluster.tokenbucket import TokenBucket
from modelward_operator.cluster.watch import Stream
from modelward_operator.facts import Installation, Json, Key
from modelward_operator.metrics import Metrics
from modelward_operator.plan.names import MANAGED_BY, MANAGER
from modelward_operator.reconcile import Cluster
from modelward_operator.settings import Settings
from modelward_operator.workqueue import Priority, WorkQueue

RELIST: Final = 300.0
"""Seconds between listings of the ModelDeployments, which find what kopf's watch may have missed."""
OURS: Final = f"{MANAGED_BY}={MANAGER}"
"""Selects, on the server, what belongs to models."""
SILENT: Final = 240.0
"""Seconds without a word from a watch, which should speak every 60, after which the process counts as sick."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running operator."""

    settings: Settings
    metrics: Metrics
    store: Store
    queue: WorkQueue[Key]
    client: Client
    lease: Lease
    models: tuple[Stream, ...]
    policies: tuple[Stream, ...]
    """Of PrivacyPolicies; of ModelPolicies only where the operator serves every namespace: else it may not read what is the cluster's."""
    streams: tuple[Stream, ...]
    """All that run from the start, those of the policies among them."""
    cluster: Cluster

    def doorbell(self, event: str | None, obj: Json) -> None:
        """Take an event about a ModelDeployment from kopf."""
        for stream in self.models:
            stream.heard = time.monotonic()
        news = self.store.drop(obj) if event == "DELETED" else self.store.feed(obj)
        if news:
            self.queue.add(key_of(obj), Priority.ROUTINE if event is None else Priority.LIVE)

    @property
    def working(self) -> bool:
        """True while this process leads, or no lease is needed."""
        return self.lease.held or not self.settings.leader_election

    def unready(self) -> str:
        """Say what is still to be listed; an empty string once everything was."""
        return "" if self.store.complete else f"to be listed: {', '.join(self.store.missing)}"

    def sick(self) -> str:
        """Say which watch has been silent for too long, an empty string when all speak."""
        now = time.monotonic()
        silent = {stream.kind for stream in self.streams if now - stream.heard > SILENT}
        silent |= {stream.kind for stream in self.models if now - stream.heard > SILENT + RELIST}
        return f"not heard of for long: {', '.join(sorted(silent))}" if silent else ""

    def last_heard(self) -> dict[str, float]:
        """Return per kind when its most silent stream was heard, on the monotonic clock."""
        heard: dict[str, float] = {}
        for stream in (*self.streams, *self.models):
            heard[stream.kind] = min(stream.heard, heard.get(stream.kind, stream.heard))
        return heard


@contextlib.asynccontextmanager
async def make_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Make the parts, and close what needs closing. The Lease has a client of its own, so that no load delays its renewal."""
    configuration, metrics, store = await load_configuration(), Metrics(), Store()
    queue: WorkQueue[Key] = WorkQueue(waited=metrics.queue_wait.observe)
    bucket = TokenBucket(settings.writes_per_second, 2 * settings.writes_per_second)
    client = Client(configuration, bucket=bucket, count=metrics.count_request)
    lease_client = Client(configuration, count=metrics.count_request)
    lease = Lease(lease_client, settings.namespace, settings.identity)
    if settings.leader_election:
        client.fence = lease.check
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        stack.push_async_callback(lease_client.close)
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        follow = functools.partial(_follow, client=client, store=store, queue=queue, metrics=metrics, settings=settings)
        around = follow([NAMESPACE]) if settings.clusterwide else ()
        policies = follow([POLICY, *NAMED] if settings.clusterwide else NAMED)
        parts = Parts(
            settings=settings,
            metrics=metrics,
            store=store,
            queue=queue,
            client=client,
            lease=lease,
            models=follow([MODEL]),
            policies=policies,
            streams=(*follow([*CHILDREN, *OBSERVED], labels=OURS), *around, *policies),
            cluster=_cluster(client, store, settings, session),
        )
        # A follower's keys wait on purpose: only a leader's queue says something.
        metrics.watch_queue(
            lambda: queue.depth if parts.working else 0, lambda: queue.oldest_age if parts.working else 0.0
        )
        metrics.watch_streams(parts.last_heard)
        yield parts


def _follow(
    resources: Iterable[Resource],
    *,
    client: Client,
    store: Store,
    queue: WorkQueue[Key],
    metrics: Metrics,
    settings: Settings,
    labels: str = "",
) -> tuple[Stream, ...]:
    """Return a stream for each kind and namespace that rings the queue."""

    def add(key: Key, live: bool) -> None:
        queue.add(key, Priority.LIVE if live else Priority.ROUTINE)

    bells = Bells(store, add)

    def failed() -> None:
        metrics.errors.labels("watch").inc()

    return tuple(
        Stream(client, store, resource, bells.ring, namespace=namespace, labels=labels, failed=failed)
        for resource in resources
        for namespace in settings.watch_namespaces or ("",)
    )


def _cluster(client: Client, store: Store, settings: Settings, session: aiohttp.ClientSession) -> Cluster:
    installation = Installation(settings.namespace, settings.runtime_image, settings.cluster_domain)
    authorities = Authorities(
        client,
        settings.namespace,
        domain=settings.cluster_domain,
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
    )
    return KubernetesCluster(
        Gatherer(client, store, installation, session, clusterwide=settings.clusterwide, authorities=authorities),
        Founder(client),
        Issuer(client, store, authorities),
        Applier(client, store),
        StatusWriter(client, store),
        Teller(client, settings.identity),
    )
