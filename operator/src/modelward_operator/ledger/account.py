"""The account of one namespace as it is kept: its book, and which of its objects have yet to be written, in which order. Pure.

    due ─▶ 1. each day that was charged, oldest first, with the pods that were charged by its end
           2. the days before today once more, without pods: today lists them now

Each object is written only after the one before it; who stops anywhere in between loses nothing and charges nothing twice, because
every object says of each of its pods how far its own rows go. Called by cluster/accountant.py, which does the writing, and by the
properties, which stop it after every single write.
"""

import hashlib
from collections.abc import Iterable, Iterator

from modelward_operator.api.costledger import CostLedgerSpec
from modelward_operator.api.parse import Invalid, parse_costs
from modelward_operator.facts import Json
from modelward_operator.ledger.book import REMEMBERED
from modelward_operator.ledger.cells import DAY, Day, day_of, month_floor
from modelward_operator.ledger.shards import place, read, relieve, write
from modelward_operator.plan.names import canonical_json


class UnreadableLedger(ValueError):
    """A stored CostLedger cannot be understood: nothing may be concluded of its namespace."""


class Account:
    """One namespace's account. Raises UnreadableLedger for objects that cannot be parsed."""

    def __init__(self, namespace: str, objects: Iterable[Json], now: int) -> None:
        self.namespace = namespace
        self._stored: dict[str, tuple[str, str]] = {}
        """resourceVersion and content by name, of the objects as they were last read or written."""
        specs = [self._understood(obj) for obj in objects]
        try:
            recent = [spec for spec in specs if day_of(spec.day) >= month_floor(now)]
            self.book, self._places, self._listing = read(recent)
        except ValueError as error:  # a day or a time that no calendar has
            raise UnreadableLedger(f"CostLedgers of {namespace}: {error}") from error
        self._changed: set[Day] = set()
        self._coarse: set[Day] = set()

    def due(self, now: int) -> Iterator[Json]:
        """Yield what has to be written, in order, as the book is at this moment. `settle` when all of it was.

        Each object is made when it is asked for: of ten thousand models all at once would take a second. So nothing may be charged between.
        """
        today = now // DAY
        self._changed |= {*self.book.touched, *self._listing, today}
        self.book.touched.clear()
        self._listing |= self._changed
        for day in sorted(self._changed):
            yield from self._of_day(day, with_pods=True)
        for day in sorted((self._changed | self._coarse) - {today}):
            yield from self._of_day(day, with_pods=False)

    def settle(self, now: int) -> None:
        """Take note that all that was due at `now` is written."""
        self._listing, self._changed, self._coarse = {now // DAY}, set(), set()

    def versioned(self, obj: Json) -> Json:
        """Return the object with the resourceVersion that it replaces, none for one that is new; an empty one when it is stored so."""
        version, digest = self._stored.get(obj["metadata"]["name"], ("", ""))
        if digest == _digest(obj):
            return {}
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}} if version else obj

    def stored(self, obj: Json) -> None:
        """Take the API's answer to a write."""
        meta = obj["metadata"]
        self._stored[meta["name"]] = (meta["resourceVersion"], _digest(obj))

    def lost(self, name: str) -> None:
        """Take note that an object is not there any more: it is made again from the book."""
        self._stored.pop(name, None)

    def again(self, objects: Iterable[Json], now: int) -> "Account":
        """Return the account as another writer left it, with what this one knows of pods that ended, and of overrides."""
        fresh = Account(self.namespace, objects, now)
        for pod in self.book.pods.values():
            if pod.is_over and (pod.uid in fresh.book.pods or pod.through > now - REMEMBERED):
                fresh.book.adopt(pod)  # one of long ago was written down, charged, and forgotten since
        for override in self.book.overrides:
            fresh.book.note_override(override)
        return fresh

    def tidy(self, now: int, visible: Iterable[str]) -> None:
        """Forget what nobody asks for any more. Called about once an hour."""
        if self._listing <= {now // DAY}:  # while an older day lists pods, what is over must be known to be
            self.book.forget(now, visible)
        self._coarse |= self.book.coarsen(now)
        floor = month_floor(now)
        self._places = {day: places for day, places in self._places.items() if day >= floor}

    def _of_day(self, day: Day, *, with_pods: bool) -> Iterator[Json]:
        placed = place(self.book, day, self._places.get(day, {}))
        self._places[day] = relieve(self.book, placed) if with_pods else placed
        return write(self.book, self.namespace, day, self._places[day], with_pods=with_pods)

    def _understood(self, obj: Json) -> CostLedgerSpec:
        spec = parse_costs(obj)
        if isinstance(spec, Invalid):
            raise UnreadableLedger(f"CostLedger {self.namespace}/{obj['metadata']['name']}: {spec}")
        self.stored(obj)
        return spec


def _digest(obj: Json) -> str:
    return hashlib.sha256(canonical_json(obj["spec"]).encode()).hexdigest()
