"""Make the children what the plan says: write what differs, prune what is ours and not planned, touch nothing of others.

    for each planned object, what pods need first, then the Deployment and, beside it, the Service:
      live as the store has it
        absent ───────────────────────────▶ apply that may only create; if something is there after all (a foreign object carries
                                          no label and is not watched), as the API has it:
        somebody else's ──────────────────▶ refused: NotOwned
        ours, same hash and a superset ───▶ nothing
        ours, overruled as last time ─────▶ nothing, for OVERRULED_AGAIN seconds
        ours, or an orphan of ours ───────▶ apply with force, bound to the UID that was seen
                                          (rejected: take away what clashes with ours, and apply again;
                                           rejected, as an edited immutable ConfigMap: delete and make anew,
                                           if a new one would be admitted)
    then delete what carries our owner UID and is not planned

Server-side apply throughout, so that fields of others stay. A 4xx or a lost connection becomes a `Refusal` and the other children
go on, but a Deployment that is to have pods does not change before what they need is in place.

An admission webhook has the last word on what is written. Where the answer to an apply is not what was applied, the same apply would get
the same answer for ever; so what the webhook made of it stands, and is told: as an `Adjustment`, or as a `Refusal` where the child says who
may do what.
Called by adapter.py, once a pass. It decides nothing about the content of objects.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from modelward_operator.cluster.adoption import Turns, confirm, controller
from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.compact import is_outline
from modelward_operator.cluster.compare import Path, differences, is_superset, unclashed
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT, HPA, MODEL, SCALED_OBJECT
from modelward_operator.cluster.store import Ref, Store, key_of, ref_of
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Adjustment, Applied, Given, Json, Key, Plan, Refusal
from modelward_operator.plan import names

NEEDED_BY_PODS: Final = frozenset({"ServiceAccount", "ConfigMap", "Secret", "NetworkPolicy"})
"""Without these pods would not start, or would start with a stranger's identity or certificate, or an open door."""
REPLACEABLE: Final = frozenset({"Service", "ConfigMap", "PodDisruptionBudget"})
"""What may be deleted and made anew when an apply is rejected: no pod dies of it, and no door opens meanwhile."""
BESIDE: Final = frozenset({"Service", "PodDisruptionBudget"})
PRUNED_AT_ONCE: Final = 32
"""Children that one pass deletes at most, more than a model has: whoever may make objects may make thousands that claim to be a model's,
and no other model shall wait for their end."""
AUTOSCALERS: Final = frozenset({HPA.kind, SCALED_OBJECT.kind})
NEVER: Final = "1"
"""A resourceVersion that no object has: the versions of etcd begin there, before anything was written."""
PROTECTIVE: Final = frozenset({"Role", "RoleBinding", *NEEDED_BY_PODS})
"""What says who may do what: changed by somebody else's webhook, it is refused as if it had not been written."""
TRUSTED: Final = 30.0
"""Seconds for which a ModelDeployment that was heard of counts as alive without asking."""
OVERRULED_AGAIN: Final = 600.0
"""Seconds after which an apply that was overruled is tried again: no event tells that a webhook is gone."""
REMEMBERED: Final = 10_000
"""Overruled children, and others' objects, that are remembered at most; beyond, all are forgotten, which costs one apply each."""
WORDS: Final = 200
"""Characters of a value of others in a message."""

_NOTHING: Final = Applied()

logger = logging.getLogger(__name__)


class Applier:
    """Writes children through one client, and keeps the store abreast of the answers.

    The watch says nothing new of what the store has from an answer already, so `ring` is called here for the models whose routes contend
    with one that was written or deleted; and for a model of which one pass does not prune everything.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        *,
        ring: Callable[[Key], None] = lambda _rival: None,
    ) -> None:
        self._client, self._store, self._clock, self._ring = client, store, clock, ring
        self._overruled: dict[Ref, _Answer] = {}
        self._strangers: set[Ref] = set()
        """Children whose names were somebody else's: they are looked at before anything is tried again."""
        self._turns = Turns()

    async def apply(self, plan: Plan, given: Given, before: Applied = _NOTHING) -> Applied:
        """Apply the plan; `before` is what was done for it already. Raises Conflict when the ModelDeployment is gone or another one."""
        confirmed = _Once(self._confirm_owner, given)
        done, waves = before, _waves(plan, given)
        for wave in waves.before:
            done += await _all(self._settle(planned, given, confirmed) for planned in wave)
        is_blocked = any(refusal.kind in NEEDED_BY_PODS for refusal in done.refusals)
        beside = _all(self._settle(planned, given, confirmed) for planned in waves.beside)
        workload = self._settle_workload(plan, given, confirmed, waves.after, is_blocked=is_blocked)
        done += await _all([beside, workload])
        left = superfluous(plan, given)
        left.sort(key=lambda child: (self._turns.of(child), not _is_only_one(child, given)))
        pruned = await _all(self._prune(child) for child in left[:PRUNED_AT_ONCE])
        if len(left) > PRUNED_AT_ONCE and pruned.writes:  # of refusals alone the status says when to look again
            self._ring(given.key)
        return done + pruned

    async def _settle_workload(
        self, plan: Plan, given: Given, confirmed: "_Once", after: list[Json], *, is_blocked: bool
    ) -> Applied:
        """Bring the Deployment to its plan, and what comes after it."""
        workload = plan.find("Deployment")
        if not workload or (is_blocked and workload["spec"].get("replicas") != 0):  # to take pods away needs nothing
            return _NOTHING
        done = await self._settle(workload, given, confirmed, plan.handover_replicas)
        return done + await _all(self._settle(p, given, confirmed) for p in after if not done.refusals)

    async def _settle(self, planned: Json, given: Given, confirmed: "_Once", handover: int | None = None) -> Applied:
        """Bring one child to its plan; say what it took, or why it was refused."""
        try:
            return await self._bring(planned, given, confirmed, handover)
        except Rejected as error:
            return _refused(planned, "Rejected", error)
        except Unreadable as error:
            return _refused(planned, "Unwritten", error)

    async def _bring(self, planned: Json, given: Given, confirmed: "_Once", handover: int | None) -> Applied:
        kind, name = planned["kind"], planned["metadata"]["name"]
        live = given.child(kind, name)
        if is_outline(live) or (not live and ref_of(planned) in self._strangers):
            live = await self._look(planned)
        if not live:
            await confirmed()
            live, answer = await self._make(planned)
            if answer:
                self._strangers.discard(ref_of(planned))
                writes = 1 if handover in {None, 1} else 1 + await self._hand_over(planned, handover)
                return self._judge(planned, answer, writes)
        self._note_stranger(live, given)
        if "deletionTimestamp" in live["metadata"]:
            return _NOTHING  # what ends is made anew once the watch tells that it is gone
        if up_to_date(live, planned):
            self._overruled.pop(ref_of(planned), None)
            return Applied(await self._hand_over(planned, handover) if _is_woken(live, handover) else 0)
        if self._is_overruled(planned, live):
            return self._told(planned)
        writes = await self._hand_over(planned, handover) if handover is not None and _is_ours_to_give(live) else 0
        try:
            answer = await self._write(_bound(planned, live), force=True)
        except Rejected as error:
            return await self._bring_anyway(planned, live, writes, error)
        return self._judge(planned, answer, writes + 1)

    def _note_stranger(self, live: Json, given: Given) -> None:
        """Remember whose the object is; raises _NotOwned for one that is somebody else's."""
        ref = ref_of(live)
        if belongs(live, given):
            self._strangers.discard(ref)
            return
        if len(self._strangers) >= REMEMBERED:
            self._strangers.clear()
        self._strangers.add(ref)
        raise _NotOwned(live)

    async def _bring_anyway(self, planned: Json, live: Json, writes: int, refusal: Rejected) -> Applied:
        """Repair what an apply cannot: it leaves list items of others, with which ours may not be valid."""
        body = {
            **unclashed(live, planned),
            "metadata": {name: live["metadata"][name] for name in ("uid", "resourceVersion")},
        }
        where = planned["metadata"]["namespace"], planned["metadata"]["name"]
        try:
            await self._client.patch(BY_KIND[planned["kind"]], *where, body, manager=names.FIELD_MANAGER)
            answer = await self._write(_bound(planned, live), force=True)
        except Rejected:
            if planned["kind"] not in REPLACEABLE or not await self._would_be_admitted(planned):
                raise refusal from None
            return await self._make_anew(planned, live, writes)
        logger.warning("taken apart", extra={"kind": planned["kind"], "child": planned["metadata"]["name"]})
        return self._judge(planned, answer, writes + 2)

    async def _make(self, planned: Json) -> tuple[Json, Json]:
        """Write an object that is not there. Return the one that was there after all, untouched, or nothing; and what was made, or nothing.

        Where it may be somebody else's without our label, nobody watches. An apply that names a version is refused where the object has
        another one, and makes what does not exist whatever it names: so one request both looks and writes.
        """
        try:
            return {}, await self._write(_only_new(planned), force=False)
        except (Conflict, Rejected):
            if live := await self._look(planned):
                return live, {}
            raise  # gone meanwhile; or refused for its own sake

    async def _make_anew(self, planned: Json, live: Json, writes: int) -> Applied:
        """Replace what cannot be repaired in place."""
        logger.warning("made anew", extra={"kind": planned["kind"], "child": planned["metadata"]["name"]})
        await self._delete_live(live)
        return self._judge(planned, await self._write(planned, force=False), writes + 2)

    def _judge(self, planned: Json, answer: Json, writes: int) -> Applied:
        """Hold the API server's answer against what it was sent."""
        ref = ref_of(planned)
        if is_superset(answer, planned):
            self._overruled.pop(ref, None)
            return Applied(writes)
        found = tuple(differences(answer, planned))
        if ref not in self._overruled:
            logger.warning("overruled", extra={"kind": ref[0], "child": ref[2], "fields": _fields(found)})
        if len(self._overruled) >= REMEMBERED:
            self._overruled.clear()
        self._overruled[ref] = _Answer(_mark(planned), found, self._clock())
        return Applied(writes) + self._told(planned)

    def _is_overruled(self, planned: Json, live: Json) -> bool:
        """True while the live object is what the API server made of this very plan a short while ago."""
        known = self._overruled.get(ref_of(planned))
        return (
            known is not None
            and self._clock() - known.since < OVERRULED_AGAIN
            and (_mark(planned), tuple(differences(live, planned))) == (known.mark, known.found)
        )

    def _told(self, planned: Json) -> Applied:
        """Say what is not as planned, and whether the model may serve like that."""
        kind, _, name = ref = ref_of(planned)
        found = self._overruled[ref].found
        message = f"an admission webhook or another rule of the cluster has the last word on {_fields(found)}"
        if kind in PROTECTIVE and any(path[:1] != ("metadata",) for path, _ in found):
            return Applied(refusals=(Refusal(kind, name, "Overruled", message),))
        return Applied(adjustments=(Adjustment(kind, name, message),))

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

    async def _write(self, body: Json, *, force: bool) -> Json:
        try:
            answer = await self._client.apply(BY_KIND[body["kind"]], body, manager=names.FIELD_MANAGER, force=force)
        except NotFound as error:  # the namespace is gone
            raise Rejected(str(error)) from error
        self._take(answer)
        return answer

    def _take(self, answer: Json) -> None:
        rivals = self._store.rivals_of(answer)
        self._store.feed(answer)
        self._ring_others(rivals, answer)

    def _lose(self, live: Json) -> None:
        rivals = self._store.rivals_of(live)
        self._store.forget(ref_of(live), live["metadata"]["uid"])
        self._ring_others(rivals, live)

    def _ring_others(self, rivals: Iterable[Key], route: Json) -> None:
        for rival in rivals:
            if rival != key_of(route):
                self._ring(rival)

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

    async def _prune(self, child: Json) -> Applied:
        self._overruled.pop(ref_of(child), None)
        try:
            writes = await self._delete_live(child)
        except Conflict:
            return _NOTHING  # another object by now: the watch will tell
        except (Rejected, Unreadable) as error:
            self._turns.refused(child)
            return _refused(child, "Rejected" if isinstance(error, Rejected) else "Unwritten", error)
        self._turns.done(child)
        return Applied(writes)

    async def _delete_live(self, live: Json) -> int:
        """Delete exactly the object that was seen; the number of writes it took."""
        meta, resource = live["metadata"], BY_KIND[live["kind"]]
        try:
            answer = await self._client.delete(resource, meta["namespace"], meta["name"], uid=meta["uid"])
        except NotFound:
            self._lose(live)
            return 0
        if answer.get("kind") == live["kind"]:
            self._take(answer)  # it ends gracefully
        else:
            self._lose(live)
        return 1

    async def _confirm_owner(self, given: Given) -> None:
        """Before something is made, make sure for whom: a deletion may not have been heard of yet."""
        ref = (MODEL.kind, given.key.namespace, given.key.name)
        if self._clock() - self._store.heard(ref) < TRUSTED:
            return
        await confirm(self._client, self._store, given)


class _Waves(NamedTuple):
    """What is written when; in each list side by side."""

    before: tuple[list[Json], list[Json]]
    """Before the Deployment. Who may bind a Role, the API server asks the Role."""
    beside: list[Json]
    """While the Deployment is: the API server takes its time to find an address for a Service, and no pod waits for one."""
    after: list[Json]
    """An autoscaler of others, which would complain of a Deployment that does not exist. Of one that does, it is told before, so that it
    pauses before the number is taken from it."""


def _waves(plan: Plan, given: Given) -> _Waves:
    late = frozenset() if given.child("Deployment", given.key.name) else AUTOSCALERS

    def of(kinds: Collection[str]) -> list[Json]:
        return [planned for planned in plan.objects if planned["kind"] in kinds]

    others = {planned["kind"] for planned in plan.objects} - {"Role", "Deployment", *BESIDE, *late}
    return _Waves((of({"Role"}), of(others)), of(BESIDE), of(late))


async def _all(writes: Iterable[Coroutine[Any, Any, Applied]]) -> Applied:
    """Run writes side by side and wait for every one, also when one fails: none may go on after the pass has ended."""
    done, found = _NOTHING, list(writes)
    if len(found) < 2:
        return await found[0] if found else done
    for result in await asyncio.gather(*found, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        done += result
    return done


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the API server made of an apply that it did not take as it was."""

    mark: str
    """Of the plan that was applied."""
    found: tuple[tuple[Path, object], ...]
    """Where the answer differed from it, and what stood there."""
    since: float


def _mark(planned: Json) -> str:
    return str(planned["metadata"]["annotations"][names.APPLIED])


def _fields(found: Iterable[tuple[Path, object]]) -> str:
    """Return in words where an object is not as planned, the first few of them."""
    told = [f"{'.'.join(path).replace('.[', '[')} ({_said(value)})" for path, value in found]
    return ", ".join(told[:4]) + (f" and {len(told) - 4} more" if len(told) > 4 else "")


def _said(value: object) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WORDS else f"{text[:WORDS]}…"


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
        owner = controller(live)
        whose = f"{owner['kind']} {owner['name']}" if owner else "nobody that ModelWard knows"
        if owner.get("kind") == MODEL.kind:
            whose = f"another or an earlier {whose} (then garbage collection will remove it)"
        super().__init__(f"exists and belongs to {whose}; delete or rename it, or choose another name")


def _refused(child: Json, reason: str, error: Exception) -> Applied:
    reason = "NotOwned" if isinstance(error, _NotOwned) else reason
    return Applied(refusals=(Refusal(child["kind"], child["metadata"]["name"], reason, str(error)),))


def belongs(live: Json, given: Given) -> bool:
    """True when the object is this ModelDeployment's, or an orphan that an earlier one of the same name left behind."""
    owner = controller(live)
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
        and controller(child).get("uid") == given.uid
        and "deletionTimestamp" not in child["metadata"]
        and not (child["kind"] == "ConfigMap" and child["metadata"]["name"] in used)
    ]


def _is_only_one(child: Json, given: Given) -> bool:
    """True for what a model has one of: a Role that grants too much does not wait for what somebody made a thousand of."""
    is_many = child["kind"] == "ConfigMap"
    return not is_many and names.may_be_child(child["kind"], child["metadata"]["name"], given.key.name)


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


def _is_woken(live: Json, handover: int | None) -> bool:
    """True when somebody else took the live Deployment to zero and the plan has it come back: that is written once, and theirs again."""
    return bool(handover) and live["spec"].get("replicas") == 0


def _only_new(planned: Json) -> Json:
    """Return the object as one that may be made and not changed."""
    return {**planned, "metadata": {**planned["metadata"], "resourceVersion": NEVER}}


def _bound(planned: Json, live: Json) -> Json:
    """Return the object bound to the live one's UID: were it deleted and made anew by another, the apply would be a conflict."""
    return {**planned, "metadata": {**planned["metadata"], "uid": live["metadata"]["uid"]}}
