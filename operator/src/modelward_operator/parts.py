"""The parts of a running operator, made and connected: one client and one for the Lease, store, queue, streams, adapter.

Called by main.py, which runs them. Nothing runs here, and nothing is decided.
"""

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from modelward_operator import log
from modelward_operator.autoscaler.autoscaler import Autoscaler
from modelward_operator.autoscaler.sampler import Sampler
from modelward_operator.cluster.activation import Activation, make_activation
from modelward_operator.cluster.adapter import KubernetesCluster
from modelward_operator.cluster.adoption import Adopter
from modelward_operator.cluster.apply import Applier
from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.costing import Costing, make_costing
from modelward_operator.cluster.enforcement import EnforcementProbe
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.founder import Founder
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.historian import Historian
from modelward_operator.cluster.issuer import Issuer
from modelward_operator.cluster.kinds import (
    CHILDREN,
    GATEWAY,
    MODEL,
    NAMED,
    NAMESPACE,
    NODE,
    OBSERVED,
    POD,
    POLICY,
    PRICES,
    Resource,
)
from modelward_operator.cluster.lease import Lease, terms_of
from modelward_operator.cluster.network import NetworkReader
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.cluster.store import Store, key_of
from modelward_operator.cluster.tokenbucket import TokenBucket
from modelward_operator.cluster.upgrades import Upgrades
from modelward_operator.cluster.watch import Stream
from modelward_operator.facts import Installation, Json, Key
from modelward_operator.ledger.book import GAP
from modelward_operator.metrics import Metrics
from modelward_operator.plan.names import MANAGED_BY, MANAGER
from modelward_operator.reconcile import Cluster
from modelward_operator.rings import Rings
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
    rings: Rings
    client: Client
    lease: Lease
    models: tuple[Stream, ...]
    policies: tuple[Stream, ...]
    """Of PrivacyPolicies and CostBudgets; of ModelPolicies and PriceBooks only where the operator serves every namespace: else it may not
    read what is the cluster's."""
    streams: tuple[Stream, ...]
    """All that run from the start, those of the policies among them."""
    cluster: Cluster
    duties: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    """What only the replica that leads does besides passes, for ever, by name."""

    def doorbell(self, event: str | None, obj: Json) -> None:
        """Take an event about a ModelDeployment from kopf."""
        for stream in self.models:
            stream.heard = time.monotonic()
        news = self.store.drop(obj) if event == "DELETED" else self.store.feed(obj)
        if news:
            with log.within(event=event or "LISTED", kind=MODEL.kind):
                self.rings.add(key_of(obj), _priority(event, obj))

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


@dataclass(frozen=True, slots=True)
class _Advisers:
    """Whom a pass asks beside the store: each keeps facts of one sort, and most have work of their own."""

    installation: Installation
    session: aiohttp.ClientSession
    autoscaler: Autoscaler
    costing: Costing
    activation: Activation | None
    authorities: Authorities
    network: NetworkReader
    upgrades: Upgrades

    @property
    def duties(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What they do for ever, by name."""
        of_others = self.activation.duties if self.activation else {}
        own = {"autoscaler": self.autoscaler.run, "network": self.network.following.run}
        return {**own, **self.costing.duties, **of_others}


@contextlib.asynccontextmanager
async def make_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Make the parts, and close what needs closing. The Lease has a client of its own, so that no load delays its renewal."""
    configuration, metrics, store = await load_configuration(), Metrics(), Store()
    queue: WorkQueue[Key] = WorkQueue(waited=metrics.queue_wait.observe)
    rings = Rings(queue, settings.identity)
    bucket = TokenBucket(settings.writes_per_second, 2 * settings.writes_per_second)
    client = Client(configuration, bucket=bucket, count=metrics.count_request)
    lease_client = Client(configuration, count=metrics.count_request)
    lease = Lease(lease_client, settings.namespace, settings.identity, terms=terms_of(settings.lease_seconds))
    if settings.leader_election:
        client.fence = lease.check
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        stack.push_async_callback(lease_client.close)
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        sampler = Sampler(failed=metrics.errors.labels("load").inc)
        stack.push_async_callback(sampler.close)
        streams: tuple[Stream, ...] = ()

        def deaf() -> bool:
            return any(time.monotonic() - stream.heard > GAP for stream in streams if stream.kind == POD.kind)

        advisers = _advisers(settings, client, store, session, sampler, rings, metrics, deaf)
        bells = _bells(store, advisers.costing, functools.partial(_ring, rings))
        follow = functools.partial(_follow, client=client, store=store, bells=bells, metrics=metrics, settings=settings)
        policies = follow([POLICY, PRICES, *NAMED] if settings.clusterwide else NAMED)
        streams = (
            *follow([*CHILDREN, *OBSERVED], labels=OURS),
            *follow([GATEWAY]),
            *(follow([NAMESPACE, NODE]) if settings.clusterwide else ()),
            *policies,
            *(advisers.activation.streams if advisers.activation else ()),
        )
        parts = Parts(
            settings=settings,
            metrics=metrics,
            store=store,
            queue=queue,
            rings=rings,
            client=client,
            lease=lease,
            models=follow([MODEL]),
            policies=policies,
            streams=streams,
            cluster=_cluster(settings, client, store, advisers, rings.add),
            duties=advisers.duties,
        )
        _expose(parts, advisers)
        yield parts


def _priority(event: str | None, obj: Json) -> Priority:
    """Return how urgent an event about a ModelDeployment is: that it was told of by a pass before, and is another one now, goes first."""
    if event is None:
        return Priority.ROUTINE
    told, generation = obj.get("status", {}).get("observedGeneration", 0), obj["metadata"].get("generation", 0)
    return Priority.CHANGE if 0 < told < generation else Priority.LIVE


def _ring(rings: Rings, key: Key, live: bool) -> None:
    rings.add(key, Priority.LIVE if live else Priority.ROUTINE)


def _advisers(
    settings: Settings,
    client: Client,
    store: Store,
    session: aiohttp.ClientSession,
    sampler: Sampler,
    rings: Rings,
    metrics: Metrics,
    deaf: Callable[[], bool],
) -> _Advisers:
    """Make them; `deaf` is asked whether pods have not been heard of for so long that nothing can be charged."""
    ring = functools.partial(_ring, rings)
    autoscaler = Autoscaler(sampler.follow, rings.add, metrics)
    installation = Installation(
        settings.namespace, settings.runtime_image, settings.cluster_domain, has_activator=settings.activator
    )
    costing = make_costing(
        client,
        store,
        identity=settings.identity,
        ring=ring,
        clusterwide=settings.clusterwide,
        deaf=deaf,
        failed=lambda where: metrics.errors.labels(where).inc(),
    )
    activation = (
        make_activation(
            client,
            store,
            session,
            installation,
            ring=rings.add,
            note=autoscaler.note_activator,
            failed=metrics.errors.labels("watch").inc,
        )
        if settings.activator
        else None
    )
    authorities = Authorities(
        client,
        settings.namespace,
        domain=settings.cluster_domain,
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
    )
    later = functools.partial(ring, live=False)
    network = NetworkReader(client, EnforcementProbe(time.monotonic), clock=time.monotonic, ring=later)
    upgrades = Upgrades(store, settings.max_concurrent_upgrades, rings.add)
    return _Advisers(installation, session, autoscaler, costing, activation, authorities, network, upgrades)


def _expose(parts: Parts, advisers: _Advisers) -> None:
    """Let the metrics read what the parts know, when they are scraped.

    A follower's keys wait on purpose: only a leader's queue says something.
    """
    metrics, queue, costing = parts.metrics, parts.queue, advisers.costing
    authorities = [advisers.authorities, *([advisers.activation.authorities] if advisers.activation else ())]
    metrics.watch_queue(lambda: queue.depth if parts.working else 0, lambda: queue.oldest_age if parts.working else 0.0)
    metrics.watch_streams(parts.last_heard)
    metrics.watch_replicas(advisers.autoscaler.wanted)
    metrics.watch_upgrades(advisers.upgrades.counts)
    metrics.watch_costs(costing.accountant.figures)
    metrics.watch_budgets(costing.budgets.figures)
    metrics.watch_authorities(lambda: [(one.name, one.expires) for one in authorities if one.expires is not None])


def _follow(
    resources: Iterable[Resource],
    *,
    client: Client,
    store: Store,
    bells: Bells,
    metrics: Metrics,
    settings: Settings,
    labels: str = "",
) -> tuple[Stream, ...]:
    """Return a stream for each kind and namespace that rings the bells."""

    def failed() -> None:
        metrics.errors.labels("watch").inc()

    return tuple(
        Stream(client, store, resource, bells.ring, namespace=namespace, labels=labels, failed=failed)
        for resource in resources
        for namespace in settings.watch_namespaces or ("",)
    )


def _bells(store: Store, costing: Costing, ring: Callable[[Key, bool], None]) -> Bells:
    return Bells(
        store,
        ring,
        prices=costing.prices,
        pods_changed=costing.accountant.pods_changed,
        prices_changed=costing.accountant.prices_changed,
        wake=costing.evaluator.wake,
    )


def _cluster(
    settings: Settings, client: Client, store: Store, advisers: _Advisers, ring: Callable[[Key], None]
) -> Cluster:
    activation, costing = advisers.activation, advisers.costing
    return KubernetesCluster(
        Gatherer(
            client,
            store,
            advisers.installation,
            advisers.session,
            clusterwide=settings.clusterwide,
            namespaces=settings.watch_namespaces,
            authorities=advisers.authorities,
            network=advisers.network,
            activators=activation.reader if activation else None,
            autoscaler=advisers.autoscaler,
            prices=costing.prices,
            budgets=costing.budgets,
            upgrades=advisers.upgrades,
        ),
        Adopter(client, store, ring=ring),
        Founder(client),
        Issuer(client, store, advisers.authorities),
        Applier(client, store, ring=ring),
        Historian(client, store),
        StatusWriter(client, store),
        Teller(client, settings.identity),
        activation.switchboard if activation else None,
    )
