"""The operator's side of scale to zero, made and connected: the table of routes, what pods of the activator say, ports, the CA.

    passes ──post──▶ switchboard ──ConfigMaps, NetworkPolicies──▶ activator ──/demand──▶ hearing ──▶ autoscaler, queue
       ▲                  │ able                                                            │ read so far
       └── reader ◀───────┴─────────────────────────────────────────────────────────────────┘

Called by parts.py where the chart installed the activator. Nothing is decided here.
"""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from modelward_operator.cluster.activators import ActivatorReader
from modelward_operator.cluster.authority import ACTIVATOR, Authorities
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.hearing import Hearing, Note
from modelward_operator.cluster.ports import Ports
from modelward_operator.cluster.shelf import FOLLOWED, Shelf
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.switchboard import Switchboard
from modelward_operator.cluster.watch import Stream
from modelward_operator.facts import Installation, Key


@dataclass(frozen=True, slots=True)
class Activation:
    """The parts, connected."""

    streams: tuple[Stream, ...]
    """Of the operator's own namespace."""
    switchboard: Switchboard
    reader: ActivatorReader
    authorities: Authorities
    duties: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    """What the leader does for ever, by name."""


def make_activation(
    client: Client,
    store: Store,
    session: aiohttp.ClientSession,
    installation: Installation,
    *,
    ring: Callable[[Key], None],
    note: Note,
    failed: Callable[[], None] = lambda: None,
) -> Activation:
    """Make the parts. `ring` puts a model on the queue; `note` tells the autoscaler what the activator holds."""
    namespace = installation.namespace
    shelf = Shelf(namespace)
    switchboard = Switchboard(client, shelf, store, namespace, ring)
    authorities = Authorities(
        client,
        namespace,
        name=ACTIVATOR,
        is_mounted=True,
        domain=installation.cluster_domain,
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
    )
    reader = ActivatorReader(Ports(store, switchboard.written_ports), switchboard, authorities)
    hearing = Hearing(session, switchboard, note, ring)

    def look(_key: Key, _live: bool) -> None:
        switchboard.look()

    streams = (
        Stream(client, shelf, resource, look, namespace=namespace, labels=labels, failed=failed)
        for resource, labels in FOLLOWED
    )
    duties = {"routes": switchboard.run, "demand": hearing.run, "activator's CA": reader.found_authority}
    return Activation(tuple(streams), switchboard, reader, authorities, duties)
