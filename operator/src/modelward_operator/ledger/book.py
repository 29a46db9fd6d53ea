"""The book of one namespace: what its models' pods have cost, by model, currency and quarter hour. Pure: no clock, no I/O.

    looks at pods ──observe──▶ Book ──shards.write──▶ CostLedger objects ──shards.read──▶ Book ──▶ …

A pod is charged once, from when it was bound to a node until it is over: the book remembers for each UID how far it was charged
(`through`), and only ever charges from there. So looks may be repeated, late, or made by a leader that restarted or took over from another:
what is written down with `through` in the same object cannot be charged again.

    bound                through               now
      ├──── charged ────────┤──── this look ────┤        at the rate that was known before this look
      └── seen the first time: through = bound ─┘

A pod that is missing is over. Who saw it shortly before knows when; after a gap (the operator was down, the watch broken) nobody does:
it is charged until it was missed, or until the start of the pod that took its place, and that part is marked estimated.

Called by cluster/accountant.py, which feeds it; read by the budgets' evaluator, the metrics and `kubectl modelward cost`.
Amounts are nano units (10⁻⁹ of the currency's unit), times are whole seconds since the epoch.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from modelward_operator.ledger.cells import DAY, Day, Row, is_within_months, month_floor, split
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.pricing.facts import Rate
from modelward_operator.pricing.money import charge

GAP: Final = 150
"""Seconds without a look after which the end of a missing pod is an estimate; the accountant looks every minute."""
FINE: Final = 8
"""Days that keep their quarter hours: a week may begin seven days and 14 hours ago."""
LABELS: Final = 32
"""Labels of a model that are kept."""
LABEL_CHARACTERS: Final = 1000
"""How long they may be together, so that those of a whole part fit into its object."""
OVERRIDES: Final = 100
"""Overrides of a day that are kept; beyond, the last of them is the newest."""
REMEMBERED: Final = 3600
"""Seconds for which a pod that is over is remembered at least, so that a leader whose watch lags behind does not charge it anew."""


@dataclass(frozen=True, slots=True)
class Charged:
    """A pod, and how far it was charged."""

    uid: str
    model: str
    node: str
    rate: Rate | None
    """None: not known; its time passes without a charge."""
    since: int
    through: int
    is_over: bool = False
    """True for good, but for one that was missed and is there all the same: `_is_back`."""
    is_confirmed: bool = False
    """True when this very process has seen it."""


@dataclass(frozen=True, slots=True)
class Override:
    """An emergency override of a CostBudget, kept for whoever asks later."""

    budget: str
    extra_limit: str
    currency: str
    reason: str
    expires: str
    noted: int
    """When it was first seen."""


class Book:
    """The account of one namespace."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, dict[str, Row]] = defaultdict(dict)
        """By model, then by currency."""
        self.pods: dict[str, Charged] = {}
        """By UID: those that cost money, and those that are over and might yet be seen by somebody."""
        self.overrides: list[Override] = []
        self.labels: dict[str, Mapping[str, str]] = {}
        """By model: those that budgets saw last, so that a deleted model's spending stays where it was spent."""
        self.settled: dict[str, int] = {}
        """By model: until when pods that ended were charged, although not each of them is listed any more."""
        self.touched: set[Day] = set()
        """Days that were charged since whoever writes them down took note."""
        self._of_model: defaultdict[str, set[str]] = defaultdict(set)

    # ---- writing

    def observe(self, model: str, pods: Iterable[Sighting], now: int) -> None:
        """Take a look at all pods of one model as of `now`: charge them up to it, and close what is over or missing."""
        seen = {pod.uid: pod for pod in pods}
        fresh = sorted(pod.start for uid, pod in seen.items() if uid not in self.pods)
        missing = [pod for pod in self.open_pods(model) if pod.uid not in seen]
        for gone in sorted(missing, key=lambda pod: (pod.through, pod.uid)):
            self._close_missing(gone, now, fresh)
        for pod in sorted(seen.values(), key=lambda pod: (pod.start, pod.uid)):
            self._charge_seen(pod, now)

    def adopt(self, seen: Charged) -> None:
        """Take the word of another book that saw the pod's end, and perhaps all of its life."""
        if seen.uid not in self.pods and seen.through <= self.settled.get(seen.model, 0):
            return
        pod = self.pods.get(seen.uid) or replace(seen, through=seen.since, is_over=False)
        if not pod.is_over:
            self._charge(pod, seen.through)
            self.take(replace(pod, through=max(pod.through, seen.through), is_over=True))

    def note_override(self, override: Override) -> None:
        """Keep an override, once. To change the words of one takes no right, so that there may be any number of them in a day."""
        same = replace(override, noted=0)
        if any(replace(known, noted=0) == same for known in self.overrides):
            return
        of_day = [known for known in self.overrides if known.noted // DAY == override.noted // DAY]
        if len(of_day) >= OVERRIDES:
            self.overrides.remove(of_day[-1])
        self.overrides.append(override)
        self.touched.add(override.noted // DAY)

    def note_labels(self, model: str, labels: Mapping[str, str], first: Collection[str] = ()) -> None:
        """Keep a model's labels as they are now, those that budgets ask for `first`; they are written with the next row."""
        kept, room = dict[str, str](), LABEL_CHARACTERS
        for key, value in sorted(labels.items(), key=lambda label: (label[0] not in first, label[0])):
            if len(kept) < LABELS and len(key) + len(value) <= room:
                kept[key] = value
                room -= len(key) + len(value)
        self.labels[model] = dict(sorted(kept.items()))

    def take(self, pod: Charged) -> None:
        """Put a pod's account where it belongs."""
        self.pods[pod.uid] = pod
        self._of_model[pod.model].add(pod.uid)

    def forget(self, now: int, visible: Iterable[str]) -> None:
        """Drop pods that are over and that nobody can see any more, and days that no budget period reaches back to."""
        kept = set(visible)
        for uid, pod in list(self.pods.items()):
            if pod.is_over and uid not in kept and pod.through <= now - REMEMBERED:
                del self.pods[uid]
                self._of_model[pod.model].discard(uid)
        floor = month_floor(now)
        for model, rows in list(self.rows.items()):
            for row in rows.values():
                row.forget_before(floor)
            if not any(row.days() for row in rows.values()):
                del self.rows[model]
                self.labels.pop(model, None)
        self.overrides = [known for known in self.overrides if known.noted // DAY >= floor]

    def coarsen(self, now: int) -> set[Day]:
        """Put the days into one cell each that are only ever summed as a whole; returns those that changed."""
        old = filter(is_within_months, range(month_floor(now), now // DAY - FINE))
        return {day for day in old if sum(row.coarsen(day) for row in self._all_rows())}

    def row(self, model: str, currency: str) -> Row:
        """Return the row of a model in a currency, made where it is missing."""
        return self.rows[model].setdefault(currency, Row())

    # ---- reading

    def spent(self, model: str, begin: int, end: int) -> Mapping[str, int]:
        """Return what a model cost from `begin` to `end`, by currency. Both lie on borders of quarter hours, in the month that runs."""
        sums = {currency: row.spent(begin, end) for currency, row in self.rows.get(model, {}).items()}
        return {currency: amount for currency, amount in sums.items() if amount}

    def models(self) -> list[str]:
        """Return the models that have cost something or have pods, those that were deleted among them."""
        return sorted(self.rows.keys() | {model for model, uids in self._of_model.items() if uids})

    def costing(self) -> set[str]:
        """Return the models that have pods which cost money now."""
        return {pod.model for pod in self.pods.values() if not pod.is_over}

    def pods_of(self, model: str) -> Sequence[Charged]:
        """Return the pods of a model that are remembered, by UID."""
        return [self.pods[uid] for uid in sorted(self._of_model.get(model, ()))]

    def open_pods(self, model: str) -> Sequence[Charged]:
        """Return the pods of a model that cost money now, by UID."""
        return [pod for pod in self.pods_of(model) if not pod.is_over]

    def hourly(self, model: str) -> Mapping[str, int]:
        """Return what a model's pods cost per hour, by currency; pods whose price is not known are left out."""
        rates: defaultdict[str, int] = defaultdict(int)
        for pod in self.open_pods(model):
            if pod.rate:
                rates[pod.rate.currency] += pod.rate.nano
        return dict(rates)

    def has_unpriced(self, model: str) -> bool:
        """True when the price of some pod of the model is not known."""
        return any(pod.rate is None for pod in self.open_pods(model))

    def days(self) -> list[Day]:
        """Return the days that something was charged to, in order."""
        return sorted({day for row in self._all_rows() for day in row.days()})

    # ---- inside

    def _all_rows(self) -> list[Row]:
        return [row for rows in self.rows.values() for row in rows.values()]

    def _charge_seen(self, seen: Sighting, now: int) -> None:
        pod = self.pods.get(seen.uid)
        if pod is None:
            if seen.is_over and seen.end is not None and seen.end <= self.settled.get(seen.model, 0):
                return
            since = max(seen.start, month_floor(now) * DAY)
            pod = Charged(seen.uid, seen.model, seen.node, seen.rate, since, since)
        if pod.is_over:
            if not _is_back(pod, seen, now):
                return
            self._of_model[pod.model].discard(pod.uid)
            pod = replace(pod, model=seen.model, node=seen.node, rate=seen.rate, is_over=False)
        end = now if seen.end is None else min(seen.end, now)
        self._charge(pod, end)
        through = max(pod.through, end)
        self.take(replace(pod, rate=seen.rate, through=through, is_over=seen.is_over, is_confirmed=True))

    def _close_missing(self, pod: Charged, now: int, fresh: list[int]) -> None:
        """Charge a pod that is gone until it was missed, or until the first pod that has started since and replaces no other."""
        is_estimated = not pod.is_confirmed or now - pod.through > GAP
        end = now
        if is_estimated and (successor := next((start for start in fresh if start >= pod.through), None)) is not None:
            fresh.remove(successor)
            end = min(now, successor)
        self._charge(pod, end, is_estimated=is_estimated)
        self.take(replace(pod, through=max(pod.through, end), is_over=True))

    def _charge(self, pod: Charged, end: int, *, is_estimated: bool = False) -> None:
        if pod.rate is None or pod.rate.nano == 0:
            return
        row = self.row(pod.model, pod.rate.currency)
        for low, high in split(pod.through, end):
            self.touched.add(low // DAY)
            row.add(low, charge(pod.rate.nano, low, high), is_estimated=is_estimated)


def _is_back(pod: Charged, seen: Sighting, now: int) -> bool:
    """True for a pod that was missed and runs on: somebody took its labels away for a while, and it costs what it cost before.

    Old news of a pod that is gone look the same, but not for longer than `GAP`.
    """
    return not seen.is_over and now - pod.through > GAP
