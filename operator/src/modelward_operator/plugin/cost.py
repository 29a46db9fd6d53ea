"""What the models cost: `kubectl modelward cost` as a document. Pure: `cost_cli.py` reads, this module adds up, `cost_text.py` shows.

    CostLedgers ─▶ Book ─▶ spent in the period, by model and currency
    open pods of the Book ─▶ hourly ─▶ forecast = spent + hourly × what is left of the period
    how long nobody has called (asked of the pods) ─▶ idle: what their pods have cost since, beyond the time after which idle scaling
                                                       would have ended them; a lower bound of what it saves, for this spell alone
    CostBudgets ─▶ what is left, as the operator last wrote it

Sums are exact (nano units), and currencies are never added up. What is missing, estimated or old is said in `notes`, in words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.api.scaling import IDLE_SECONDS
from modelward_operator.ledger.book import Book
from modelward_operator.policies.cost.money import over
from modelward_operator.policies.cost.periods import Span
from modelward_operator.pricing.money import nano, units

Json = dict[str, Any]
STALE: Final = 300
"""Seconds after which a ledger that should be written every minute is called old."""


@dataclass(frozen=True, slots=True)
class Idle:
    """How long nobody has called a model, or why that is not known."""

    seconds: float = 0.0
    silence: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was read. An empty list means that there is none; what could not be read stands in `unread`, in kubectl's words."""

    books: Mapping[str, Book] = field(default_factory=dict)
    """By namespace."""
    models: Sequence[Json] = ()
    budgets: Sequence[Json] = ()
    price_books: Sequence[Json] = ()
    idle: Mapping[tuple[str, str], Idle] = field(default_factory=dict)
    """By namespace and name; empty where nobody was asked."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """By kind."""


def report(seen: Seen, period: str, zone: str, span: Span, now: datetime) -> Json:
    """Return the document. `span` is the period, named `period` in the time zone `zone`, that `now` lies in."""
    live = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in seen.models}
    rows = [row for ref in _names(seen, live) for row in _rows(seen, ref, live.get(ref, {}), span, now)]
    return {
        "kind": "CostReport",
        "apiVersion": "modelward.dev/v1alpha1",
        "time": _text(now),
        "period": {"name": period, "timeZone": zone, "start": _text(span.start), "end": _text(span.end)},
        "models": rows,
        "totals": _totals(rows),
        "budgets": [_budget(one) for one in seen.budgets],
        "notes": list(_notes(seen, rows, now)),
    }


def _names(seen: Seen, live: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Models that exist, and models that were deleted and have cost something."""
    return sorted({*live} | {(namespace, name) for namespace, book in seen.books.items() for name in book.models()})


def _rows(seen: Seen, ref: tuple[str, str], live: Json, span: Span, now: datetime) -> Iterator[Json]:
    """One row for each currency in which the model costs something in the period; one without, where it costs nothing."""
    namespace, name = ref
    book = seen.books.get(namespace, Book())
    spent = book.spent(name, int(span.start.timestamp()), int(span.end.timestamp()))
    hourly = book.hourly(name)
    unknown = _unknown(live, book, name)
    pods = len(book.open_pods(name)) or int(live.get("status", {}).get("replicas", 0))
    currencies = sorted(spent.keys() | hourly.keys())
    if not currencies and not live and not unknown:
        return
    for currency in currencies or [""]:
        rate = hourly.get(currency, 0)
        row = {"namespace": namespace, "name": name, "currency": currency, "exists": bool(live)}
        row |= {"pods": pods, "spent": units(spent.get(currency, 0)), "hourly": units(rate)}
        row["forecast"] = units(spent.get(currency, 0) + over(rate, span.left(now)))
        row |= {"estimated": units(_estimated(book, name, currency, span))}
        row |= {"unknown": unknown} if unknown else {}
        yield row | _idle(seen.idle.get((namespace, name)), live, rate)


def _unknown(live: Json, book: Book, name: str) -> str:
    """Why some of the cost is not known; empty where it is."""
    told = str(live.get("status", {}).get("cost", {}).get("unknown", ""))
    if told or not book.has_unpriced(name):
        return told
    nodes = sorted({pod.node for pod in book.open_pods(name) if pod.rate is None})
    return f"no price is known for its pods on {', '.join(nodes)}"


def _estimated(book: Book, name: str, currency: str, span: Span) -> int:
    """What of the days that the period touches was charged without being seen. Whole days: the ledger has it no finer."""
    row = book.rows.get(name, {}).get(currency)
    first, last = int(span.start.timestamp()) // 86400, (int(span.end.timestamp()) - 1) // 86400
    return sum(amount for day, amount in row.estimated.items() if first <= day <= last) if row else 0


def _idle(idle: Idle | None, live: Json, rate: int) -> Json:
    """What idle scaling would have saved since the last call; nothing where the model scales to zero already, or nobody was asked."""
    if idle is None or not live or live["spec"].get("scaling", {}).get("minReplicas") == 0:
        return {}
    if idle.silence:
        return {"idle": {"unknown": idle.silence}}
    return {
        "idle": {"seconds": int(idle.seconds), "saved": units(over(rate, max(int(idle.seconds) - IDLE_SECONDS, 0)))}
    }


def _totals(rows: Sequence[Json]) -> list[Json]:
    found = []
    for currency in sorted({row["currency"] for row in rows} - {""}):
        mine = [row for row in rows if row["currency"] == currency]
        sums = {key: units(sum(nano(row[key]) for row in mine)) for key in ("spent", "hourly", "forecast", "estimated")}
        saved = sum(nano(row.get("idle", {}).get("saved", "0")) for row in mine)
        found.append({"currency": currency, **sums, "savedByIdleScaling": units(saved)})
    return found


def _budget(one: Json) -> Json:
    metadata, spec, status = one["metadata"], one["spec"], one.get("status", {})
    limit, spent = status.get("limit", spec["limit"]), status.get("spent")
    found = {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "currency": spec["currency"],
        "period": spec.get("period", "Month"),
        "timeZone": spec.get("timeZone", "UTC"),
        "limit": limit,
        "spent": spent,
        "left": None if spent is None else units(nano(limit) - nano(spent)),
    }
    found |= {key: status.get(key) for key in ("hourly", "forecast", "periodEnd", "lastAction")}
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    found["conditions"] = [
        {key: conditions[name].get(key, "") for key in ("type", "status", "reason", "message")}
        for name in sorted(conditions)
    ]
    return found


def _notes(seen: Seen, rows: Sequence[Json], now: datetime) -> Iterator[str]:
    yield from _of_what_was_read(seen, now)
    for row in rows:
        yield from _of_row(row)
    for one in seen.budgets:
        if "spent" not in one.get("status", {}):
            yield f"CostBudget {one['metadata']['namespace']}/{one['metadata']['name']} has not been evaluated"


def _of_what_was_read(seen: Seen, now: datetime) -> Iterator[str]:
    for kind, why in sorted(seen.unread.items()):
        yield f"{kind} cannot be read: {why}"
    if not seen.price_books and "PriceBooks" not in seen.unread:
        yield "there is no PriceBook: costs are known only for nodes with a price label, if any"
    if not any(book.rows or book.models() for book in seen.books.values()) and "CostLedgers" not in seen.unread:
        yield "there is no CostLedger in this period: the operator has charged nothing yet"
    for namespace, book in sorted(seen.books.items()):
        newest = max((pod.through for name in book.models() for pod in book.open_pods(name)), default=None)
        if newest is not None and (age := int(now.timestamp()) - newest) > STALE:
            yield f"the ledger of {namespace} ends {age // 60} minutes ago: is the operator down? What it missed is charged afterwards"


def _of_row(row: Json) -> Iterator[str]:
    where = f"{row['namespace']}/{row['name']}"
    if "unknown" in row:
        yield f"{where}: not all of its cost is known, so it costs more than is shown: {row['unknown']}"
    if row["estimated"] != "0":
        yield f"{where}: {row['estimated']} {row['currency']} were charged for time in which the operator did not look"
    if "unknown" in row.get("idle", {}):
        yield f"{where}: how long nobody has called is not known: {row['idle']['unknown']}"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
