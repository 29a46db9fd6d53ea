"""The activator's table of routes, kept in ConfigMaps and NetworkPolicies of the operator's namespace, and who has read it.

    a pass ──post(route)──▶ ┌─────────────┐ ──a moment later, only what differs──▶ NetworkPolicies, then ConfigMaps
    a model is gone ──────▶ │ switchboard │
    live objects drifted ─▶ └─────────────┘ ◀──heard(pod, resourceVersions)── the activator's pods: this far they have read
                                   │
                                   └── able(model): ready pods that know its route ──▶ the next pass puts them behind its Service

A new leader starts from the live table, which a model's first pass replaces, so that no route is lost between two leaders. main.py runs
`run` where the Lease is held. It decides nothing about a model: `plan/route.py` does.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.cluster.apply import up_to_date
from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.kinds import BY_KIND, CONFIG_MAP, DEPLOYMENT, MODEL, NETWORK_POLICY, POD
from modelward_operator.cluster.lease import LeaseLost
from modelward_operator.cluster.shelf import Shelf
from modelward_operator.cluster.store import Store, ref_of
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Json, Key, Route
from modelward_operator.plan import names
from modelward_operator.plan.draw import marked
from modelward_operator.plan.routes import by_shard, callers_name, drawn, read_table, routes_name, shard_of

DEBOUNCE: Final = 0.05
"""Seconds for which posts are gathered into one table."""
PAUSE: Final = 2.0
"""Seconds between tries while the table cannot be written."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActivatorPod:
    """One pod of the activator."""

    uid: str
    address: str
    is_ready: bool


class Switchboard:
    """Keeps the table through one client. `ring` is told of models whose pods of the activator changed."""

    def __init__(self, client: Client, shelf: Shelf, store: Store, namespace: str, ring: Callable[[Key], None]) -> None:
        self._client, self._shelf, self._store, self._namespace, self._ring = client, shelf, store, namespace, ring
        self._posted: dict[Key, Route] = {}
        self._found: dict[Key, Route] = {}  # from the live table, until the model's own pass
        self._written: dict[
            Key, tuple[int, int]
        ] = {}  # by model: its port, and the ConfigMap's version since when it is in
        self._read: dict[str, Mapping[str, int]] = {}  # by pod: the version of each ConfigMap that it has read
        self._able: dict[Key, tuple[str, ...]] = {}
        self._changed = asyncio.Event()

    def post(self, key: Key, route: Route | None) -> None:
        """Take the model's route from its pass; None takes it out of the table."""
        before = self._posted.get(key, self._found.pop(key, None))
        if route is not None:
            self._posted[key] = route
        else:
            self._posted.pop(key, None)
        if before != route:
            self._changed.set()

    def look(self) -> None:
        """Live objects changed: pods came or went, or somebody edited the table."""
        self._tell()
        self._changed.set()

    def heard(self, pod: str, read: Mapping[str, int]) -> None:
        """A pod, by UID, says which version of each ConfigMap it has read."""
        if self._read.get(pod) != read:
            self._read[pod] = read
            self._tell()

    def able(self, key: Key) -> tuple[str, ...]:
        """Return the addresses of the ready pods that know the model's route, sorted."""
        return self._able.get(key, ())

    def unheard(self) -> frozenset[str]:
        """Return the addresses of ready pods that have not said yet how far they have read: nothing is known against them."""
        return frozenset(pod.address for pod in self.pods() if pod.is_ready and pod.uid not in self._read)

    def pods(self) -> list[ActivatorPod]:
        """Return the activator's pods that have an address."""
        return [
            ActivatorPod(str(pod["metadata"]["uid"]), str(pod["status"]["podIP"]), _is_ready(pod))
            for pod in self._shelf.all(POD)
            if pod.get("status", {}).get("podIP")
        ]

    async def run(self) -> None:
        """Keep the live table what it should be, for ever."""
        self._adopt()
        while True:
            await self._changed.wait()
            await asyncio.sleep(DEBOUNCE)
            self._changed.clear()
            try:
                await self._write_table()
            except LeaseLost:
                raise
            except OperatorError as error:
                logger.warning("routes not written", extra={"error": str(error), "retry": PAUSE})
                await asyncio.sleep(PAUSE)
                self._changed.set()
            self._tell()

    # ---- the table

    def written_ports(self) -> dict[Key, int]:
        """Return the HTTP port of each model in the live table."""
        return {key: route.http_port for key, route in self._live_table().items()}

    def _live_table(self) -> dict[Key, Route]:
        return read_table(self._shelf.all(CONFIG_MAP), self._shelf.all(NETWORK_POLICY))

    def _adopt(self) -> None:
        live = self._live_table()
        self._found = {key: route for key, route in live.items() if key not in self._posted}
        versions = {c["metadata"]["name"]: int(c["metadata"]["resourceVersion"]) for c in self._shelf.all(CONFIG_MAP)}
        for key, route in live.items():
            version = versions.get(routes_name(shard_of(route.http_port)))
            if version is not None:
                self._written[key] = (route.http_port, version)
        self._changed.set()

    def _routes(self) -> dict[Key, Route]:
        both = self._found | self._posted
        return {k: route for k, route in both.items() if self._store.read(MODEL.kind, k.namespace, k.name)}

    async def _write_table(self) -> None:
        """Write the shards whose routes changed, or whose live objects are not what was written."""
        routes = self._routes()
        members = by_shard(routes)
        if not members and not self._shelf.all(CONFIG_MAP) and not self._shelf.all(NETWORK_POLICY):
            return
        owner = await self._owner()
        failed: list[OperatorError] = []
        for number, shard in members.items():
            try:
                await self._write_shard(number, shard, owner)
            except (Conflict, Rejected) as error:  # one that is refused keeps no other from being written
                failed.append(error)
            await asyncio.sleep(0)  # a large table leaves the loop to others
        self._written = {key: known for key, known in self._written.items() if key in routes}
        await self._prune(CONFIG_MAP.kind, {routes_name(number) for number in members})
        await self._prune(NETWORK_POLICY.kind, {callers_name(number) for number in members})
        if failed:
            raise failed[0]

    async def _write_shard(self, number: int, shard: Mapping[Key, Route], owner: Json) -> None:
        policy, config_map = map(marked, drawn(self._namespace, number, shard.values(), owner))
        await self._bring(policy)  # a door is guarded before it opens
        self._note(int((await self._bring(config_map))["metadata"]["resourceVersion"]), shard)

    async def _owner(self) -> Json:
        """The activator's Deployment owns the table: with it, the table goes."""
        try:
            live = await self._client.get(DEPLOYMENT, self._namespace, names.ACTIVATOR)
        except NotFound as error:
            raise Unreadable(f"Deployment {names.ACTIVATOR} does not exist in {self._namespace}") from error
        return {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.kind,
            "name": names.ACTIVATOR,
            "uid": live["metadata"]["uid"],
        }

    async def _bring(self, planned: Json) -> Json:
        """Bring one object to its plan; the live object after that."""
        live = self._shelf.read(*ref_of(planned))
        if live and up_to_date(live, planned):
            return live
        written = await self._client.apply(BY_KIND[planned["kind"]], planned, manager=names.FIELD_MANAGER, force=True)
        self._shelf.feed(written)
        return written

    def _note(self, version: int, shard: Mapping[Key, Route]) -> None:
        """Note since which version of this ConfigMap each of its models is in it."""
        for key, route in shard.items():
            if self._written.get(key, (0, 0))[0] != route.http_port:
                self._written[key] = (route.http_port, version)

    async def _prune(self, kind: str, kept: Collection[str]) -> None:
        for live in self._shelf.all(BY_KIND[kind]):
            meta = live["metadata"]
            if meta["name"] in kept or names.APPLIED not in meta.get("annotations", {}):
                continue
            try:
                await self._client.delete(BY_KIND[kind], meta["namespace"], meta["name"], uid=meta["uid"])
            except NotFound:
                logger.debug("gone already", extra={"child": meta["name"]})
            self._shelf.forget(ref_of(live), meta["uid"])

    # ---- who has read it

    def _tell(self) -> None:
        """Find out anew which pods are able to take over which model, and ring for the models for which that changed."""
        pods = self.pods()
        self._read = {pod.uid: self._read[pod.uid] for pod in pods if pod.uid in self._read}
        able = {key: self._knowing(pods, *known) for key, known in self._written.items()}
        before, self._able = self._able, able
        for key in before.keys() | able.keys():
            if before.get(key, ()) != able.get(key, ()):
                self._ring(key)

    def _knowing(self, pods: Iterable[ActivatorPod], port: int, version: int) -> tuple[str, ...]:
        name = routes_name(shard_of(port))
        return tuple(
            sorted(p.address for p in pods if p.is_ready and self._read.get(p.uid, {}).get(name, 0) >= version)
        )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    is_told = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return is_told and "deletionTimestamp" not in pod["metadata"]
