"""The evaluator: every few seconds, and when something changes, hold each CostBudget against what its models have cost. The leader runs it.

    wake(namespace) ┐                  ┌─ Budgets ──▶ ring the models whose number changes
    every 5 s ──────┴▶ one namespace ──┼─ status, once a minute or when the action changes
                       at a time       └─ Events for steps on the ladder

A look costs time in proportion to the models of its namespace, and is repeated after ten times as long as it took, at the earliest: however
many models there are, no more than a tenth of one core goes into it. What a ModelDeployment says is read anew only when it changed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.api.costbudget import CostBudgetSpec
from modelward_operator.api.parse import Invalid, parse_budget
from modelward_operator.api.timezone import zone
from modelward_operator.cluster.budgets import Budgets, Evaluated
from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.kinds import BUDGET, DEPLOYMENT, MODEL
from modelward_operator.cluster.lease import LeaseLost
from modelward_operator.cluster.outlines import Memory, Outline, outline_of
from modelward_operator.cluster.replicaprice import ReplicaPrices
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Json, Key
from modelward_operator.ledger.book import Book, Override
from modelward_operator.plan.names import FIELD_MANAGER
from modelward_operator.policies.cost.budget import evaluate
from modelward_operator.policies.cost.members import Account, Member, lines_of
from modelward_operator.policies.cost.periods import span_of
from modelward_operator.policies.cost.report import (
    standing_in,
    status_of,
    status_of_invalid,
    status_of_unread,
    step,
    weight,
)
from modelward_operator.policies.cost.standing import Standing
from modelward_operator.status.news import News

INTERVAL: Final = 5.0
"""Seconds between two looks at a namespace where nothing changes."""
DEBOUNCE: Final = 0.1
"""Seconds that a change waits for others."""
REST: Final = 10
"""Times as long as a look took, before the same namespace is looked at again."""
QUIET: Final = 60.0
"""Seconds between two writes of a status whose figures alone have moved."""

logger = logging.getLogger(__name__)


@dataclass
class Evaluator:
    """Evaluates budgets through one store, and tells through one client."""

    store: Store
    budgets: Budgets
    book: Callable[[str], Book]
    """Returns the book of a namespace; raises Unreadable until its ledgers were read and its pods looked at."""
    prices: ReplicaPrices
    client: Client
    teller: Teller
    ring: Callable[[Key], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    failed: Callable[[], None] = lambda: None
    dirty: set[str] = field(default_factory=set)
    """Namespaces that should be looked at soon."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _next: dict[str, float] = field(default_factory=dict)
    """When a namespace may be looked at again at the earliest, on the clock."""
    _written: dict[tuple[str, str], float] = field(default_factory=dict)
    _unread: dict[str, float] = field(default_factory=dict)
    """Since when the books of namespaces cannot be read, on the clock."""
    _memories: dict[str, Memory] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.budgets.wake = self.wake

    def wake(self, namespace: str) -> None:
        """Ask for a look at a namespace, soon."""
        self.dirty.add(namespace)
        self._woken.set()

    async def run(self) -> None:
        """Evaluate for ever."""
        while True:
            for namespace in sorted({*self.store.budgeted(), *self.budgets.namespaces()}):
                await self.look(namespace)
            until = self.clock() + INTERVAL
            while self.clock() < until:
                await self._changes(until)

    async def _changes(self, until: float) -> None:
        """Look at what changed, or wait for it until then."""
        ready = [name for name in sorted(self.dirty) if self._next.get(name, 0.0) <= self.clock()]
        for namespace in ready:
            await self.look(namespace)
        self._woken.clear()
        pause = DEBOUNCE if self.dirty else until - self.clock()
        try:
            async with asyncio.timeout(max(pause, 0.0)):
                await self._woken.wait()
            await asyncio.sleep(DEBOUNCE)
        except TimeoutError:
            return

    async def look(self, namespace: str) -> None:
        """Evaluate the budgets of one namespace, ring for the models whose number changes, and tell."""
        begun = self.clock()
        self.dirty.discard(namespace)
        try:
            await self._look(namespace)
        except LeaseLost:
            raise
        except (Unreadable, Conflict, Rejected) as error:
            self.failed()
            logger.warning("budgets not evaluated, or not told", extra={"namespace": namespace, "error": str(error)})
        except Exception:  # what goes wrong with one namespace is no other one's harm
            self.failed()
            logger.exception("budgets not evaluated", extra={"namespace": namespace})
        self._next[namespace] = self.clock() + max(DEBOUNCE, REST * (self.clock() - begun))

    async def _look(self, namespace: str) -> None:
        if not self.store.complete:
            return
        raws = self.store.budgets_in(namespace)
        book = await self._book(namespace, raws)
        if not raws:
            self._memories.pop(namespace, None)
        members = self._members(namespace, book, _selected_by(raws)) if raws else []
        before = {raw["metadata"]["name"]: self._standing(namespace, raw) for raw in raws}
        evaluated = self._evaluate(namespace, raws, members, book, before)
        for model in sorted(self.budgets.put(namespace, evaluated)):
            self.ring(Key(namespace, model))
        for raw in raws:
            name = raw["metadata"]["name"]
            await self._tell(raw, evaluated[name], before[name], _others(name, evaluated))

    async def _book(self, namespace: str, raws: Sequence[Json]) -> Book:
        """Return the namespace's book. Of an account that nobody can read its models wait, and after a while the budgets say so."""
        try:
            book = self.book(namespace) if raws else Book()
        except Unreadable as error:
            if self.clock() - self._unread.setdefault(namespace, self.clock()) >= QUIET:
                for raw in raws:
                    live, generation = raw.get("status", {}), int(raw["metadata"].get("generation", 0))
                    status = status_of_unread(str(error), live, generation, self.now())
                    if status != live:
                        await self._write(raw, status)
            raise
        self._unread.pop(namespace, None)
        return book

    def _standing(self, namespace: str, raw: Json) -> Standing:
        last = self.budgets.last(namespace, raw["metadata"]["name"])
        return last.standing if last else standing_in(raw.get("status", {}))

    def _evaluate(
        self,
        namespace: str,
        raws: Sequence[Json],
        members: Sequence[Member],
        book: Book,
        before: Mapping[str, Standing],
    ) -> dict[str, Evaluated]:
        now = self.now()
        kept = self._memories.get(namespace, Memory())
        needs = {member.name: kept.outlines[member.name].needs for member in members}
        prices = {name: self.prices.of(Key(namespace, name), what, book) for name, what in needs.items()}
        gone = {name: book.labels.get(name) for name in book.models() if name not in prices}
        evaluated = {}
        for raw in raws:
            meta, spec = raw["metadata"], parse_budget(raw)
            name, generation = meta["name"], int(meta.get("generation", 0))
            if isinstance(spec, Invalid):
                evaluated[name] = Evaluated(meta["uid"], generation, None, str(spec))
                continue
            if noted := _noted(name, spec, now):
                book.note_override(noted)
            span = span_of(spec.period, zone(spec.time_zone), now)
            lines = lines_of(spec, members, gone, prices, Account(book, span, now))
            evaluated[name] = Evaluated(meta["uid"], generation, evaluate(name, spec, lines, now, before[name]))
        return evaluated

    def _members(self, namespace: str, book: Book, first: Set[str]) -> list[Member]:
        """Return the models of the namespace, each read anew only when it changed."""
        keys, kept = self.store.models_in(namespace), self._memories.setdefault(namespace, Memory())
        members = []
        for key in keys:
            outline, in_use = self._outline(key, kept), self._replicas(key, kept)
            asked = self.budgets.asked.get(key, outline.asked)
            asked = in_use if asked is None else asked
            asked = asked if outline.ceiling else 0
            book.note_labels(key.name, outline.labels, first)
            members.append(Member(key.name, outline.labels, in_use, asked, max(outline.ceiling, asked)))
        for name in kept.forget({key.name for key in keys}):
            self.budgets.asked.pop(Key(namespace, name), None)
        return members

    def _replicas(self, key: Key, kept: Memory) -> int:
        version = self.store.version(DEPLOYMENT.kind, key.namespace, key.name)
        known = kept.replicas.get(key.name)
        if known is None or known[0] != version:
            live = self.store.read(DEPLOYMENT.kind, key.namespace, key.name)
            known = kept.replicas[key.name] = (version, int(live.get("spec", {}).get("replicas", 0)))
        return known[1]

    def _outline(self, key: Key, kept: Memory) -> Outline:
        version = self.store.version(MODEL.kind, key.namespace, key.name)
        known = kept.outlines.get(key.name)
        if known is None or known.version != version:
            raw = self.store.read(MODEL.kind, key.namespace, key.name)
            known = kept.outlines[key.name] = outline_of(raw, version)
        return known

    async def _tell(self, raw: Json, known: Evaluated, before: Standing, others: Mapping[str, Sequence[str]]) -> None:
        """Write the status where it is due, and post the Event of a step."""
        live, found = raw.get("status", {}), known.found
        status = status_of(found, live, known.generation, others) if found else self._invalid(raw, known)
        meta = raw["metadata"]
        ref = (meta["namespace"], meta["name"])
        is_due = weight(status) != weight(live) or self.clock() - self._written.get(ref, float("-inf")) >= QUIET
        if status != live and is_due:
            self._written[ref] = self.clock()
            await self._write(raw, status)
        if found and (taken := step(found, before)):
            await self.teller.tell_of(BUDGET, meta, [News(*taken)])

    def _invalid(self, raw: Json, known: Evaluated) -> dict[str, Any]:
        spec = parse_budget(raw)
        if not isinstance(spec, Invalid):  # corrected meanwhile: the next look says so
            return dict(raw.get("status", {}))
        return status_of_invalid(spec, raw.get("status", {}), known.generation, self.now())

    async def _write(self, raw: Json, status: Json) -> None:
        meta = raw["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "status": status}
        try:
            answer = await self.client.patch(
                BUDGET, meta["namespace"], meta["name"], body, manager=FIELD_MANAGER, subresource="status"
            )
        except NotFound:
            return
        self.store.feed_answer(answer, raw)


def _selected_by(raws: Sequence[Json]) -> set[str]:
    """Return the labels that budgets ask for."""
    specs = [spec for raw in raws if not isinstance(spec := parse_budget(raw), Invalid)]
    return {label for spec in specs if spec.selector for label in spec.selector.match_labels}


def _others(name: str, evaluated: Mapping[str, Evaluated]) -> dict[str, list[str]]:
    """Return the further budgets of each model that a budget selects, of the models that have some."""
    here = evaluated[name].found
    others: dict[str, list[str]] = {}
    for other, known in sorted(evaluated.items()):
        if here and known.found and other != name:
            for model in here.allowances.keys() & known.found.allowances.keys():
                others.setdefault(model, []).append(other)
    return others


def _noted(name: str, spec: CostBudgetSpec, now: datetime) -> Override | None:
    """Return the override as the ledger keeps it; None where there is none."""
    if spec.override is None:
        return None
    expires = datetime.fromisoformat(spec.override.expires).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    extra, reason = spec.override.extra_limit, spec.override.reason
    return Override(name, extra, spec.currency, reason, expires, int(now.timestamp()))
