"""Take back what an earlier ModelDeployment of the same name left behind (`kubectl delete mdep NAME --cascade=orphan`), as Kubernetes' own
controllers adopt orphans: labels of ours, a name that a child of this model may have, no controller.

    a child without a controller ──▶ GET the ModelDeployment ──gone, or going──▶ Conflict, nothing is written
                                                │ there
                                                └──▶ PATCH the child's owner references, bound to its UID and version ──▶ the pass begins

Asking the API is what makes it safe: when an owner goes and leaves its children behind, the garbage collector frees them one by one, and
a watch may tell of that before it tells of the deletion. Who gave the children back to an owner that is about to vanish would have them
deleted with it.

Called by adapter.py before anything is concluded, so that all others know only children that are the model's and children that are not. A
certificate's record is taken back with its Secret, and what the new spec does not want (another autoscaler, a route, a right to call) is
pruned. ControllerRevisions are not watched: historian.py takes them back, by `confirm` and `adopted` too.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, Final

from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.kinds import BY_KIND, CONFIG_MAP, MODEL, Resource
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Conflict
from modelward_operator.facts import Given, Json, Key
from modelward_operator.plan import names

AT_ONCE: Final = 32
"""Orphans that one pass takes back at most: more than a model leaves behind. Whoever may make ConfigMaps may make them look like ours, and
each costs three requests: it is asked for, taken back, and pruned."""

REMEMBERED: Final = 10_000
"""Refused objects that are remembered at most; beyond, all are forgotten, and it is as if none had been refused."""

logger: Final = logging.getLogger(__name__)


class Turns:
    """Whose turn it is where one pass does not get to all: what was refused comes last, the longest ago before the others."""

    def __init__(self) -> None:
        self._refused: dict[str, int] = {}
        self._numbers = itertools.count(1)

    def of(self, live: Json) -> int:
        """Return what sorts first of all, 0, but for what was refused."""
        return self._refused.get(live["metadata"]["uid"], 0)

    def refused(self, live: Json) -> None:
        """The API server does not do it."""
        if len(self._refused) >= REMEMBERED:
            self._refused.clear()
        self._refused[live["metadata"]["uid"]] = next(self._numbers)

    def done(self, live: Json) -> None:
        """It did."""
        self._refused.pop(live["metadata"]["uid"], None)


class Adopter:
    """Takes back through one client, and keeps the store abreast of the answers. `ring` is told of a model that has more of them."""

    def __init__(self, client: Client, store: Store, *, ring: Callable[[Key], None] = lambda _key: None) -> None:
        self._client, self._store, self._ring = client, store, ring
        self._turns = Turns()

    async def take_back(self, given: Given) -> int:
        """Make the model's orphans its own; how many. Raises Conflict when the ModelDeployment is gone or going, or an orphan changed."""
        orphans = [child for child in given.children if is_orphan(child, given)]
        orphans.sort(key=lambda orphan: (self._turns.of(orphan), _urgency(orphan)))
        if not orphans:
            return 0
        await confirm(self._client, self._store, given)
        taken = await asyncio.gather(*(self._take(orphan, given) for orphan in orphans[:AT_ONCE]))
        if len(orphans) > AT_ONCE and any(taken):
            self._ring(given.key)
        return sum(taken)

    async def _take(self, orphan: Json, given: Given) -> int:
        kind, name = orphan["kind"], orphan["metadata"]["name"]
        resource = BY_KIND[kind]
        try:
            live = await self._client.get(resource, given.key.namespace, name)  # the store may have kept an outline
            if not is_orphan(live, given):
                return 0
            self._store.feed(await adopted(self._client, resource, live, given))
        except (NotFound, Rejected) as error:  # apply.py comes upon it again, and tells
            logger.warning("orphan not taken back", extra={"kind": kind, "child": name, "error": str(error)})
            self._turns.refused(orphan)
            return 0
        self._turns.done(orphan)
        logger.info("orphan taken back", extra={"kind": kind, "child": name})
        return 1


def _urgency(orphan: Json) -> tuple[bool, bool, str]:
    """First what there can be only one of, then what a certificate stands and falls with, then the oldest."""
    meta, is_many = orphan["metadata"], orphan["kind"] == CONFIG_MAP.kind
    return is_many, names.ISSUED not in meta.get("annotations", {}), meta.get("creationTimestamp", "")


def is_orphan(live: Json, given: Given) -> bool:
    """True for a child of an earlier ModelDeployment of this name that nobody controls now."""
    kind, meta = live["kind"], live["metadata"]
    labels, ours = meta.get("labels", {}), names.selector(given.key.name)
    return (
        not controller(live)
        and "deletionTimestamp" not in meta
        and names.APPLIED in meta.get("annotations", {})
        and ours.items() <= labels.items()
        and names.may_be_child(kind, meta["name"], given.key.name)
    )


def controller(live: Json) -> Json:
    """Return the owner reference of who controls the object; an empty one where nobody does."""
    return next((owner for owner in live["metadata"].get("ownerReferences", ()) if owner.get("controller")), {})


async def confirm(client: Client, store: Store, given: Given) -> None:
    """Ask the API whether the ModelDeployment is there, and tell the store. Raises Conflict where it is gone, going or another one."""
    try:
        owner = await client.get(MODEL, given.key.namespace, given.key.name)
    except NotFound as error:
        store.forget((MODEL.kind, given.key.namespace, given.key.name), given.uid)
        raise Conflict(f"{given.key} was deleted") from error
    store.feed_answer(owner, given.raw)
    if owner["metadata"]["uid"] != given.uid or "deletionTimestamp" in owner["metadata"]:
        raise Conflict(f"{given.key} is being deleted, or was replaced")


async def adopted(client: Client, resource: Resource, live: Json, given: Given) -> dict[str, Any]:
    """Make the ModelDeployment the controller of an object that has none; return the object. Raises Conflict when it changed meanwhile."""
    meta = live["metadata"]
    others = [owner for owner in meta.get("ownerReferences", ()) if owner["uid"] != given.uid]
    owners = [*others, names.owner_reference(given)]
    bound = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "ownerReferences": owners}
    return await client.patch(
        resource, meta["namespace"], meta["name"], {"metadata": bound}, manager=names.FIELD_MANAGER
    )
