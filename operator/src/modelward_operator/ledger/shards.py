"""The book as CostLedger objects, and back: a UTC day of a namespace in parts (shards) of at most `ROWS` models. Pure.

    day before ─▶ costs-2026-11-24-0   rows                          written whole before the next day's first part
    this day ───▶ costs-2026-11-25-0   rows, open, closed, overrides   ┐ a model's rows and its pods are in one part,
                  costs-2026-11-25-1   rows, open, closed              ┘ so that they are written at once or not at all

A model keeps its part for the day. Around midnight both days list the pods, each charged at most to its own end, until the new day is
written: whatever write is the last one before a crash, each pod's `through` fits the rows beside it. Called by cluster/accountant.py.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelward_operator.api.costledger import (
    COST_KIND,
    MONTH_LABEL,
    CostLedgerSpec,
    CostOverride,
    CostPod,
    CostPodOver,
    CostRow,
    cost_ledger_name,
)
from modelward_operator.api.modeldeployment import GROUP, VERSION
from modelward_operator.facts import Json
from modelward_operator.ledger.book import Book, Charged, Override
from modelward_operator.ledger.cells import DAY, EPOCH, Day, day_name, day_of, quarter_name, quarter_of
from modelward_operator.ledger.sighting import seconds
from modelward_operator.pricing.facts import Rate

ROWS: Final = 250
"""Models of a part. Half of what the schema allows: with a full day of quarters in each it is half a megabyte, and etcd takes 1.5."""
PODS: Final = 1000
"""Pods of a part from which on it takes no further model: a pod is 0.2 kB."""
FULL: Final = 3000
"""Pods that cost money of a part from which on models leave it for a later one: the schema takes 5,000."""
CLOSED: Final = 1500
"""Pods that are over which a part lists. Of more, those that ended last: an unlisted one that ended before all of them was charged."""

Places = dict[str, int]
"""The part of a day that each model is in."""


def place(book: Book, day: Day, places: Places) -> Places:
    """Return where each model of the day is, those without a place in the first part that has room for it and its pods."""
    placed, full = dict(places), list[_Part]()
    for model, shard in places.items():
        _put(full, shard, book, model)
    for model in book.models():
        if model not in placed and _is_of_day(book, model, day):
            placed[model] = next((number for number, part in enumerate(full) if part.has_room), len(full))
            _put(full, placed[model], book, model)
    return placed


def relieve(book: Book, places: Places) -> Places:
    """Return the places without an overfull part: models leave it for parts of their own, behind all others.

    A later part is written before an earlier one and read after it, so that of a model that two parts have the newer word holds.
    """
    placed, after = dict(places), max(places.values(), default=0) + 1
    crowd = Counter[int]()
    for model, shard in places.items():
        pods = len(book.open_pods(model))
        if crowd[shard] and crowd[shard] + pods > FULL:
            after += crowd[after] > 0 and crowd[after] + pods > FULL
            placed[model] = after
        crowd[placed[model]] += pods
    return placed


@dataclass(slots=True)
class _Part:
    models: int = 0
    pods: int = 0

    @property
    def has_room(self) -> bool:
        return self.models < ROWS and self.pods < PODS


def _put(full: list[_Part], shard: int, book: Book, model: str) -> None:
    full += [_Part() for _ in range(shard + 1 - len(full))]
    full[shard].models += 1
    full[shard].pods += len(book.pods_of(model))


def write(book: Book, namespace: str, day: Day, places: Places, *, with_pods: bool) -> Iterator[Json]:
    """Yield the objects of one day, the last part first, each made when it is asked for. `with_pods` while no later day lists the pods."""
    models: dict[int, list[str]] = {0: []}
    for model, shard in sorted(places.items()):
        models.setdefault(shard, []).append(model)
    overrides = [known for known in book.overrides if known.noted // DAY == day]
    for shard in sorted(models, reverse=True):
        if models[shard] or overrides:
            noted = overrides if shard == 0 else []
            yield _object(namespace, _spec(book, day, shard, models[shard], noted, with_pods=with_pods))


def read(specs: Iterable[CostLedgerSpec]) -> tuple[Book, dict[Day, Places], set[Day]]:
    """Return the book that these objects hold, where each model was in each day, and the days that list pods."""
    book, places, listing = Book(), dict[Day, Places](), set[Day]()
    for spec in sorted(specs, key=lambda spec: (spec.day, spec.shard)):
        day = day_of(spec.day)
        for row in spec.rows:
            if row.labels:  # the later day's word holds
                book.note_labels(row.model, row.labels)
            book.row(row.model, row.currency).load(day, _cells(row.quarters), int(row.estimated or 0))
        pods = [*map(_opened, spec.open), *map(_closed, spec.closed)]
        for pod in pods:
            known = book.pods.get(pod.uid)
            if known is None or (pod.through, pod.is_over) >= (
                known.through,
                known.is_over,
            ):  # the later day's word holds
                book.take(pod)
        models = {row.model for row in spec.rows} | {pod.model for pod in pods}
        places.setdefault(day, {}).update(dict.fromkeys(models, spec.shard))
        if len(spec.closed) >= CLOSED:
            first = min(seconds(pod.through) for pod in spec.closed)
            book.settled |= {model: max(first, book.settled.get(model, 0)) for model in models}
        book.overrides += map(_override, spec.overrides)
        listing |= {day} if pods else set()
    return book, places, listing


def _cells(text: str) -> dict[int, int]:
    """Read what `CostRow.quarters` says: amounts by quarter of the day."""
    cells = (cell.split("=") for cell in text.split())
    return {quarter_of(name): int(amount) for name, amount in cells}


def _is_of_day(book: Book, model: str, day: Day) -> bool:
    rows = book.rows.get(model, {}).values()
    return any(row.day(day) for row in rows) or any(_of_day(pod, day) for pod in book.pods_of(model))


def _of_day(pod: Charged, day: Day) -> bool:
    return pod.since < (day + 1) * DAY


def _spec(
    book: Book, day: Day, shard: int, models: list[str], overrides: list[Override], *, with_pods: bool
) -> CostLedgerSpec:
    pods = [pod for model in models for pod in book.pods_of(model) if with_pods and _of_day(pod, day)]
    end = (day + 1) * DAY
    # What was read as over has no node, and is listed by the day of its end already.
    over = [pod for pod in pods if pod.is_over and (pod.through <= end or not pod.node)]
    ended = {pod.uid for pod in over}
    return CostLedgerSpec(
        day=day_name(day),
        shard=shard,
        rows=[row for model in models for row in _rows(book, model, day)],
        # One that ended after this day is open at the day's end: the rest of it belongs to the next.
        open=[_open(pod, min(pod.through, end)) for pod in pods if pod.uid not in ended],
        closed=[
            CostPodOver(uid=pod.uid, model=pod.model, since=_text(pod.since), through=_text(pod.through))
            for pod in _last(over)
        ],
        overrides=[
            CostOverride(
                budget=known.budget,
                extra_limit=known.extra_limit,
                currency=known.currency,
                reason=known.reason,
                expires=known.expires,
                noted=_text(known.noted),
            )
            for known in overrides
        ],
    )


def _last(over: list[Charged]) -> list[Charged]:
    """Return those that ended last, in the order in which they were."""
    if len(over) <= CLOSED:
        return over
    kept = {pod.uid for pod in sorted(over, key=lambda pod: (pod.through, pod.uid))[-CLOSED:]}
    return [pod for pod in over if pod.uid in kept]


def _rows(book: Book, model: str, day: Day) -> Iterable[CostRow]:
    for currency, row in sorted(book.rows.get(model, {}).items()):
        if cells := row.day(day):
            estimated = row.estimated.get(day, 0)
            yield CostRow(
                model=model,
                labels=dict(book.labels.get(model, {})),
                currency=currency,
                quarters=" ".join(f"{quarter_name(quarter)}={amount}" for quarter, amount in cells.items()),
                estimated=str(estimated) if estimated else None,
            )


def _object(namespace: str, spec: CostLedgerSpec) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": COST_KIND,
        "metadata": {
            "name": cost_ledger_name(spec.day, spec.shard),
            "namespace": namespace,
            "labels": {MONTH_LABEL: spec.day[:7]},
        },
        "spec": spec.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True),
    }


def _open(pod: Charged, through: int) -> CostPod:
    rate, currency = (str(pod.rate.nano), pod.rate.currency) if pod.rate else (None, None)
    return CostPod(
        uid=pod.uid,
        model=pod.model,
        node=pod.node,
        rate=rate,
        currency=currency,
        since=_text(pod.since),
        through=_text(through),
    )


def _opened(pod: CostPod) -> Charged:
    rate = Rate(int(pod.rate), pod.currency) if pod.rate is not None and pod.currency else None
    return Charged(pod.uid, pod.model, pod.node, rate, seconds(pod.since), seconds(pod.through))


def _closed(pod: CostPodOver) -> Charged:
    return Charged(pod.uid, pod.model, "", None, seconds(pod.since), seconds(pod.through), is_over=True)


def _override(known: CostOverride) -> Override:
    return Override(known.budget, known.extra_limit, known.currency, known.reason, known.expires, seconds(known.noted))


def _text(second: int) -> str:
    moment: datetime = EPOCH.astimezone(UTC) + timedelta(seconds=second)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
