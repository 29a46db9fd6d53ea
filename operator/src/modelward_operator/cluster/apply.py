"""Make the children what the plan says: write what differs, prune what is ours and not planned, touch nothing of others.

    for each planned object, what pods need first, the Deployment last:
      live as the store has it, or, if it is not there, as the API has it (a foreign object carries no label and is not watched)
        absent ───────────────────────────▶ apply
        somebody else's ──────────────────▶ refused: NotOwned
        ours, same hash and a superset ───▶ nothing
        ours, or an orphan of ours ───────▶ apply with force, bound to the UID that was seen
                                          (rejected, as an edited immutable ConfigMap: delete and make anew,
                                           if a new one would be admitted)
    then delete what carries our owner UID and is not planned

Server-side apply throughout, so that fields of others stay. A 4xx or a lost connection becomes a `Refusal` and the other children
go on, but a Deployment that is to have pods does not change before what they need is in place.
Called by adapter.py, once a pass. It decides nothing about the content of objects.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.compact import is_outline
from modelward_operator.cluster.compare import is_superset
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT, MODEL
from modelward_operator.cluster.store import Store, ref_of
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Applied, Given, Json, Plan, Refusal
from modelward_operator.plan import names

NEEDED_BY_PODS: Final = frozenset({"ServiceAccount", "ConfigMap", "Secret", "NetworkPolicy"})
"""Without these pods would not start, or would start with a stranger's identity or certificate, or an open door."""
REPLACEABLE: Final = frozenset({"Service", "ConfigMap", "PodDisruptionBudget"})
"""What may be deleted and made anew when an apply is rejected: no pod dies of it, and no door opens meanwhile."""
TRUSTED: Final = 30.0
"""Seconds for which a ModelDeployment that was heard of counts as alive without asking."""

_NOTHING: Final = Applied()

logger = logging.getLogger(__name__)


class Applier:
    """Writes children through one client, and keeps the store abreast of the answers."""

    def __init__(self, client: Client, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._store, self._clock = client, store, clock

    async def apply(self, plan: Plan, given: Given, before: Applied = _NOTHING) -> Applied:
        """Apply the plan; `before` is what was done for it already. Raises Conflict when the ModelDeployment is gone or another one."""
        confirmed = _Once(self._confirm_owner, given)
        done: list[int | Refusal] = [before.writes, *before.refusals]
        for wave in _waves(plan):
            done += await _all(self._settle(planned, given, confirmed) for planned in wave)
        blocked = [one for one in done if isinstance(one, Refusal) and one.kind in NEEDED_BY_PODS]
        workload = plan.find("Deployment")
        if workload and (
            not blocked or workload["spec"].get("replicas") == 0
        ):  # to take pods away nothing must be in place
            done += [await self._settle(workload, given, confirmed, plan.handover_replicas)]
        done += await _all(self._prune(child) for child in superfluous(plan, given))
        return Applied(
            writes=sum(one for one in done if isinstance(one, int)),
            refusals=tuple(one for one in done if isinstance(one, Refusal)),
        )

    async def _settle(
        self, planned: Json, given: Given, confirmed: "_Once", handover: int | None = None
    ) -> int | Refusal:
        """Bring one child to its plan; the number of writes it took, or why it was refused."""
        try:
            return await self._bring(planned, given, confirmed, handover)
        except Rejected as error:
            return _refusal(planned, "Rejected", error)
        except Unreadable as error:
            return _refusal(planned, "Unwritten", error)

    async def _bring(self, planned: Json, given: Given, confirmed: "_Once", handover: int | None) -> int:
        kind, name = planned["kind"], planned["metadata"]["name"]
        live = given.child(kind, name)
        if not live or is_outline(live):
            live = await self._look(planned)
        if not live:
            await confirmed()
            await self._write(planned, force=False)
            return 1 if handover in {None, 1} else 1 + await self._hand_over(planned, handover)
        if not belongs(live, given):
            raise _NotOwned(live)
        if "deletionTimestamp" in live["metadata"] or up_to_date(live, planned):
            return 0  # what ends is made anew once the watch tells that it is gone
        writes = await self._hand_over(planned, handover) if handover is not None and _is_ours_to_give(live) else 0
        try:
            await self._write(_bound(planned, live), force=True)
        except Rejected:
            if kind not in REPLACEABLE or not await self._would_be_admitted(planned):
                raise
            return writes + await self._make_anew(planned, live)
        return writes + 1

    async def _make_anew(self, planned: Json, live: Json) -> int:
        """Replace what cannot be repaired in place: an apply leaves list items of others, with which ours may not be valid."""
        logger.warning("made anew", extra={"kind": planned["kind"], "child": planned["metadata"]["name"]})
        await self._delete_live(live)
        await self._write(planned, force=False)
        return 2

    async def _would_be_admitted(self, planned: Json) -> bool:
        """True when only the live object stands in the way: the API server asks its policies before it sees that the name is taken."""
        try:
            await self._client.create(BY_KIND[planned["kind"]], planned, manager=names.FIELD_MANAGER, dry_run=True)
        except Conflict:
            return True
        except Rejected:
            return False
        return True

    async def _look(self, planned: Json) -> Json:
        """Ask the API for an object that the store does not have, or not in full: it may be somebody else's, without our label."""
        try:
            return await self._client.get(
                BY_KIND[planned["kind"]], planned["metadata"]["namespace"], planned["metadata"]["name"]
            )
        except NotFound:
            return {}

    async def _write(self, body: Json, *, force: bool) -> None:
        resource = BY_KIND[body["kind"]]
        try:
            self._store.feed(await self._client.apply(resource, body, manager=names.FIELD_MANAGER, force=force))
        except NotFound as error:  # the namespace is gone
            raise Rejected(str(error)) from error

    async def _hand_over(self, planned: Json, replicas: int | None) -> int:
        """Hold `spec.replicas` under a manager of its own, so that leaving it out of our apply does not reset it."""
        holding = {
            "apiVersion": planned["apiVersion"],
            "kind": planned["kind"],
            "metadata": {"name": planned["metadata"]["name"], "namespace": planned["metadata"]["namespace"]},
            "spec": {"replicas": replicas},
        }
        self._store.feed(await self._client.apply(DEPLOYMENT, holding, manager=names.HANDOVER_MANAGER, force=True))
        return 1

    async def _prune(self, child: Json) -> int | Refusal:
        try:
            return await self._delete_live(child)
        except Conflict:
            return 0  # another object by now: the watch will tell
        except Rejected as error:
            return _refusal(child, "Rejected", error)
        except Unreadable as error:
            return _refusal(child, "Unwritten", error)

    async def _delete_live(self, live: Json) -> int:
        """Delete exactly the object that was seen; the number of writes it took."""
        meta, resource = live["metadata"], BY_KIND[live["kind"]]
        try:
            answer = await self._client.delete(resource, meta["namespace"], meta["name"], uid=meta["uid"])
        except NotFound:
            self._store.forget(ref_of(live), meta["uid"])
            return 0
        if answer.get("kind") == live["kind"]:
            self._store.feed(answer)  # it ends gracefully
        else:
            self._store.forget(ref_of(live), meta["uid"])
        return 1

    async def _confirm_owner(self, given: Given) -> None:
        """Before something is made, make sure for whom: a deletion may not have been heard of yet."""
        ref = (MODEL.kind, given.key.namespace, given.key.name)
        if self._clock() - self._store.heard(ref) < TRUSTED:
            return
        try:
            owner = await self._client.get(MODEL, given.key.namespace, given.key.name)
        except NotFound as error:
            self._store.forget(ref, given.uid)
            raise Conflict(f"{given.key} was deleted") from error
        self._store.feed(owner)
        if owner["metadata"]["uid"] != given.uid or "deletionTimestamp" in owner["metadata"]:
            raise Conflict(f"{given.key} was replaced")


def _waves(plan: Plan) -> tuple[list[Json], list[Json]]:
    """Return what is written before the Deployment, side by side in each wave: who may bind a Role, the API server asks the Role."""
    first = [planned for planned in plan.objects if planned["kind"] == "Role"]
    return first, [planned for planned in plan.objects if planned["kind"] not in {"Role", "Deployment"}]


async def _all(writes: Iterable[Coroutine[Any, Any, int | Refusal]]) -> list[int | Refusal]:
    """Run writes side by side and wait for every one, also when one fails: none may go on after the pass has ended."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


class _Once:
    """Awaits a check at most once a pass, however many children ask for it."""

    def __init__(self, check: Callable[[Given], Any], given: Given) -> None:
        self._check, self._given = check, given
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._check(self._given))
        await self._task


class _NotOwned(Rejected):
    """A child of that name exists and is somebody else's."""

    def __init__(self, live: Json) -> None:
        owner = _controller(live)
        whose = f"{owner['kind']} {owner['name']}" if owner else "nobody that ModelWard knows"
        if owner.get("kind") == MODEL.kind:
            whose = f"another or an earlier {whose} (then garbage collection will remove it)"
        super().__init__(f"exists and belongs to {whose}; delete or rename it, or choose another name")


def _refusal(child: Json, reason: str, error: Exception) -> Refusal:
    reason = "NotOwned" if isinstance(error, _NotOwned) else reason
    return Refusal(child["kind"], child["metadata"]["name"], reason, str(error))


def _controller(live: Json) -> Json:
    return next((o for o in live["metadata"].get("ownerReferences", ()) if o.get("controller")), {})


def belongs(live: Json, given: Given) -> bool:
    """True when the object is this ModelDeployment's, or an orphan that an earlier one of the same name left behind."""
    owner = _controller(live)
    if owner:
        return bool(owner["uid"] == given.uid)
    meta = live["metadata"]
    ours: Iterable[tuple[str, str]] = names.selector(given.key.name).items()
    labels: Mapping[str, str] = meta.get("labels", {})
    return names.APPLIED in meta.get("annotations", {}) and all(labels.get(k) == v for k, v in ours)


def up_to_date(live: Json, planned: Json) -> bool:
    """True when applying would change nothing: no field left the plan since, and nothing has drifted from it."""
    was = live["metadata"].get("annotations", {}).get(names.APPLIED)
    return was == planned["metadata"]["annotations"][names.APPLIED] and is_superset(live, planned)


def superfluous(plan: Plan, given: Given) -> list[Json]:
    """Return the live children of our owner UID that are not planned; a boot file in use stays, and under a partial plan everything."""
    if plan.partial:
        return []
    planned = {(o["kind"], o["metadata"]["name"]) for o in plan.objects}
    used = set(_mounted_config_maps(given))
    return [
        child
        for child in given.children
        if (child["kind"], child["metadata"]["name"]) not in planned
        and _controller(child).get("uid") == given.uid
        and "deletionTimestamp" not in child["metadata"]
        and not (child["kind"] == "ConfigMap" and child["metadata"]["name"] in used)
    ]


def _mounted_config_maps(given: Given) -> Iterable[str]:
    templated = (given.child("Deployment", given.key.name), *given.replica_sets)
    specs = [owner.get("spec", {}).get("template", {}).get("spec", {}) for owner in templated]
    for spec in (*specs, *(pod.raw.get("spec", {}) for pod in given.pods)):
        for volume in spec.get("volumes", ()):
            if name := volume.get("configMap", {}).get("name"):
                yield name


def _is_ours_to_give(live: Json) -> bool:
    """True while the operator owns the number of replicas of the live Deployment."""
    return bool(live["metadata"].get("annotations", {}).get(names.REPLICAS_OWNER) != "external")


def _bound(planned: Json, live: Json) -> Json:
    """Return the object bound to the live one's UID: were it deleted and made anew by another, the apply would be a conflict."""
    return {**planned, "metadata": {**planned["metadata"], "uid": live["metadata"]["uid"]}}
