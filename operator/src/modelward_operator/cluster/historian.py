"""Notes down what has served, and forgets what is beyond the limit. Called by adapter.py, once a pass, after the children.

    plan.history: an entry is due? ──▶ POST NAME-rev-(number + 1) ── exists ──▶ list: it is that very entry, or the next free number
    more than the limit are kept?  ──▶ the oldest go, one by one, if they are this model's
    a Deployment older than the model, and no history ──▶ list: what an earlier ModelDeployment of this name left behind is its own again

`status.revision` says which there are, so that nothing is watched, and a pass in which nothing new serves asks nothing. An entry is made
once; what it says is never changed (the API server itself refuses to), only whose it is. What fails here fails no pass: it is logged, and
tried again.
"""

import json
import logging
from typing import Any, Final

from modelward_operator.cluster.adoption import adopted, confirm, controller
from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.kinds import DEPLOYMENT, REVISION
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Applied, Given, History, Json
from modelward_operator.plan import names
from modelward_operator.plan.history import NUMBERS, entry, hash_of, is_entry, noted

FORGOTTEN_AT_ONCE: Final = 16
"""Entries that one pass deletes at most: a limit that was lowered needs no hurry."""
LISTED: Final = 400
"""Entries that are looked through at most: four times as many as may be kept."""
LARGEST: Final = 128 * 1024
"""Characters of what an entry says: no spec is as large. Whoever may create ControllerRevisions may make them of a megabyte each."""
REMEMBERED: Final = 10_000

logger = logging.getLogger(__name__)


class Historian:
    """Writes ControllerRevisions through one client."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client, self._store = client, store
        self._heirless: set[str] = set()
        """UIDs of models with an older Deployment for which nothing was left behind: they are not asked about again."""

    async def record(self, history: History | None, given: Given) -> Applied:
        """Bring the history to what it shall be; `revision` and `unrecorded` of the answer say how it stands."""
        standing: dict[str, Any] = dict(given.raw.get("status", {}).get("revision", {}))
        if history is None:
            return Applied(revision=standing)
        writes, unrecorded = 0, False
        try:
            if not standing and self._may_inherit(given):
                standing, writes = await self._inherit(given)
            if history.data and history.hash != standing.get("hash"):
                standing, writes = await self._add(history, standing, given), writes + 1
            writes += await self._forget(history.limit, standing, given)
        except (Conflict, NotFound, Rejected, Unreadable) as error:
            unrecorded = True
            logger.warning("history not written", extra={"model": str(given.key), "error": str(error)})
        return Applied(writes, revision=standing, unrecorded=unrecorded)

    def _may_inherit(self, given: Given) -> bool:
        """True for a model that took over a Deployment: who was there before it may have left a history as well."""
        workload, meta = given.child(DEPLOYMENT.kind, given.key.name).get("metadata", {}), given.raw["metadata"]
        is_older = str(workload.get("creationTimestamp", "~")) < str(meta.get("creationTimestamp", ""))
        return is_older and given.uid not in self._heirless

    async def _inherit(self, given: Given) -> tuple[dict[str, Any], int]:
        """Take back the entries that were left behind; return `status.revision` as they say it, and how many they are."""
        ours, _, taken = await self._own(given)
        if ours:
            return noted(_number(ours[-1]), _number(ours[0]), ours[-1]["data"]), taken
        if len(self._heirless) >= REMEMBERED:
            self._heirless.clear()
        self._heirless.add(given.uid)
        return {}, taken

    async def _add(self, history: History, standing: Json, given: Given) -> dict[str, Any]:
        """Note the entry down; `status.revision` with it."""
        number, oldest = standing.get("number", 0) + 1, standing.get("oldest", 0)
        try:
            await self._create(entry(given, history, number))
        except Conflict:  # the status was lost after an entry was made, or before it
            return await self._add_after(history, given)
        return noted(number, oldest or number, history.data)

    async def _add_after(self, history: History, given: Given) -> dict[str, Any]:
        ours, last, _ = await self._own(given)
        if ours and hash_of(ours[-1]["data"]["spec"], ours[-1]["data"]["served"]["digest"]) == history.hash:
            return noted(_number(ours[-1]), _number(ours[0]), ours[-1]["data"])
        await self._create(entry(given, history, last + 1))
        return noted(last + 1, _number(ours[0]) if ours else last + 1, history.data)

    async def _create(self, made: Json) -> None:
        """Not as JSON of ours: the garbage collector could not take an owner from it, and deletion with --cascade=orphan would hang."""
        await self._client.create_canonical(REVISION, made, manager=names.FIELD_MANAGER)

    async def _own(self, given: Given) -> tuple[list[Json], int, int]:
        """Return the model's entries in their order, with those that nobody controls any more, which it takes back; the last number that
        is taken; and how many were taken back."""
        found = await self._list(given)
        orphans = [one for one in found if _is_orphan(one, given)]
        if orphans:
            await confirm(self._client, self._store, given)
        taken = [back for one in orphans if (back := await self._take_back(one, given))]
        ours = sorted([*(one for one in found if _is_of(one, given) and one not in orphans), *taken], key=_number)
        return ours, max((number for number in map(_number, found) if number < NUMBERS - 1), default=0), len(taken)

    async def _take_back(self, orphan: Json, given: Given) -> Json:
        """Make an entry the model's; nothing where that is refused, which keeps no other from being taken back."""
        try:
            return await adopted(self._client, REVISION, orphan, given)
        except (NotFound, Rejected) as error:
            logger.warning("entry not taken back", extra={"child": orphan["metadata"]["name"], "error": str(error)})
            return {}

    async def _list(self, given: Given) -> list[Json]:
        """Return what has the labels of an entry; without what it says where that is too large. Raises Unreadable for too many."""
        labels, found = ",".join(f"{k}={v}" for k, v in names.selector(given.key.name).items()), list[Json]()
        async for page, _ in self._client.pages(REVISION, given.key.namespace, labels=labels):
            found += ({**one, "data": None} if len(json.dumps(one.get("data"))) > LARGEST else one for one in page)
            if len(found) > LISTED:
                raise Unreadable(
                    f"more than {LISTED} ControllerRevisions have the labels {labels}: delete those that are no history of "
                    f"{given.key} (`kubectl modelward history` lists what is)"
                )
        return found

    async def _forget(self, limit: int, standing: dict[str, Any], given: Given) -> int:
        """Delete what is beyond the limit and move `oldest` up; the number of writes it took."""
        if not standing:
            return 0
        writes = 0
        surplus = range(standing["oldest"], standing["number"] - limit)
        for number in surplus[:FORGOTTEN_AT_ONCE]:
            writes += await self._delete(names.revision_name(given.key.name, number), given)
            standing["oldest"] = number + 1
        return writes

    async def _delete(self, name: str, given: Given) -> int:
        try:
            live = await self._client.get(REVISION, given.key.namespace, name)
            if not _is_of(live, given):
                return 0
            await self._client.delete(REVISION, given.key.namespace, name, uid=live["metadata"]["uid"])
        except NotFound:
            return 0
        return 1


def _is_orphan(live: Json, given: Given) -> bool:
    meta = live["metadata"]
    return not controller(live) and "deletionTimestamp" not in meta and _has_the_name(live, given) and is_entry(live)


def _is_of(live: Json, given: Given) -> bool:
    owners = live["metadata"].get("ownerReferences", ())
    return _has_the_name(live, given) and is_entry(live) and any(owner["uid"] == given.uid for owner in owners)


def _has_the_name(live: Json, given: Given) -> bool:
    return bool(live["metadata"]["name"] == names.revision_name(given.key.name, _number(live)))


def _number(live: Json) -> int:
    return int(live["revision"])
