"""One stream of one kind into the store: list, then watch, for ever.

Why not kopf for the children too: its `on.event` does not say when the first listing is complete, swallows bookmarks (so the age of
a silent watch cannot be told), gives no event for what was deleted between a broken watch and the next listing, and costs about
1 ms of CPU per listed object. See operator/decisions/0002-children-are-watched-outside-kopf.md.

            ┌───────────── 410: too old ─────────────┐
            ▼                                        │
    list in pages ──▶ store.replace ──▶ watch from its version ──▶ event ──▶ store ──▶ ring the model's key
            ▲                                ▲       │
            └── nothing known yet            └───────┘ ended, broken or silent for 70 s: from the last version seen

A kind of others whose CustomResourceDefinition is absent counts as listed, with nothing in it; it is asked for again every 10 s, and rung
for when it comes or goes.

main.py runs one `Stream` per kind and namespace. It never gives up, and never acts on what it sees.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from modelward_operator import log
from modelward_operator.cluster.client import Client, Expired, NotFound
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.store import Ref, Store, ref_of
from modelward_operator.errors import OperatorError
from modelward_operator.facts import Json, Key

Ring = Callable[[Key, bool], None]
"""Takes the key of a model, or of what is no model's, and whether it is news from a watch (True) or part of a listing (False)."""

PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries while the API server does not answer, with jitter."""

ABSENCE: Final = 10.0
"""Seconds between tries for an optional kind that the API server does not serve."""

TAKES: Final = {"ADDED": Store.feed, "MODIFIED": Store.feed, "DELETED": Store.drop}
"""What an event does to the store; a bookmark does nothing."""

logger = logging.getLogger(__name__)


class Stream:
    """Follows one kind in one namespace (empty: all) and rings for the models whose objects change."""

    def __init__(
        self,
        client: Client,
        store: Store,
        resource: Resource,
        ring: Ring,
        *,
        namespace: str = "",
        labels: str = "",
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._store, self._resource, self._ring = client, store, resource, ring
        self._namespace, self._labels, self._failed = namespace, labels, failed
        self.heard = time.monotonic()
        """When an event, a bookmark or a listing came last."""
        self.listed = asyncio.Event()
        """Set once the first listing is in the store."""
        store.expect(resource.kind, namespace)

    @property
    def kind(self) -> str:
        """The kind that this stream follows."""
        return self._resource.kind

    @property
    def crd(self) -> str:
        """The name of the kind's CustomResourceDefinition, for a kind that has one."""
        return f"{self._resource.plural}.{self._resource.group}"

    async def run(self) -> None:
        """Follow for ever."""
        since, tries = "", 0
        while True:
            try:
                since = since or await self.list()
                async for event in self._client.watch(
                    self._resource, self._namespace, labels=self._labels, since=since, known=self._known
                ):
                    since, tries = event["object"]["metadata"]["resourceVersion"], 0
                    self._take(event["type"], event["object"])
                await asyncio.sleep(0.05)  # ended by the server's own time limit
            except Expired:
                since = ""
            except OperatorError as error:
                since = "" if isinstance(error, NotFound) else since
                if self._resource.is_optional and isinstance(error, NotFound):
                    self._note_absence()
                    await asyncio.sleep(ABSENCE)
                else:
                    await asyncio.sleep(self._pause(error, tries))
                    tries += 1

    def _known(self, namespace: str, name: str) -> int:
        return self._store.version(self.kind, namespace, name)

    def _pause(self, error: OperatorError, tries: int) -> float:
        """Count and log a broken watch; the seconds until the next try."""
        self._failed()
        pause = PAUSES[min(tries, len(PAUSES) - 1)] * (0.5 + random.random())  # noqa: S311  -- jitter
        level = logging.WARNING if tries else logging.DEBUG
        logger.log(level, "watch broken", extra={"kind": self.kind, "error": str(error), "pause": pause})
        return pause

    def _note_absence(self) -> None:
        """The kind is not served: nothing of it exists, and what the store still holds is gone."""
        self.heard = time.monotonic()
        if self._store.mark_served(self.kind, self._namespace, is_served=False):
            for _, key in self._store.replace(self.kind, self._namespace, (), None):
                self._ring(key, True)
            self._ring(Key(self._namespace, "", self.kind), True)
        self.listed.set()

    async def list(self) -> str:
        """List once into the store; returns the resourceVersion to watch from."""
        seen: list[Ref] = []
        since = ""
        async for items, version in self._client.pages(self._resource, self._namespace, labels=self._labels):
            for item in items:
                seen.append(ref_of(item))
                keys = self._store.keys_of(item)
                if self._store.feed(item):
                    self._ring_all(keys, live=False)
            since = version
            await asyncio.sleep(0)  # a long listing leaves the loop to others between pages
        for _, key in self._store.replace(self.kind, self._namespace, seen, int(since)):
            self._ring(key, True)
        if self._store.mark_served(self.kind, self._namespace, is_served=True):
            self._ring(Key(self._namespace, "", self.kind), True)
        self.heard = time.monotonic()
        self.listed.set()
        return since

    def _take(self, event: str, obj: Json) -> None:
        self.heard = time.monotonic()
        if event not in TAKES:
            return
        keys = self._store.keys_of(obj)  # before the store forgets whose it was
        if TAKES[event](self._store, obj):
            with log.within(event=event, kind=self.kind, object=obj["metadata"]["name"]):
                self._ring_all(keys, live=True)

    def _ring_all(self, keys: set[Key], *, live: bool) -> None:
        for key in keys:
            self._ring(key, live)
