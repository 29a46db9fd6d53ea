"""The algebra of the ledger: rows of spent epsilon, and what a reservation does to them. Pure.

Called by `ledger.py`, which reads and writes shards with optimistic concurrency; the same rules stand as CEL in the schema of
PrivacyLedger, so that the API server refuses a write that forgets.

    row       {spent, reset}: what was reserved in the period that ends at `reset`; never lowered before that
    observed  the latest time that any writer has agreed upon: time in a shard never runs backwards
    turn      where a reset has come since it was last written: observed' = now, and nothing else; what follows is another write
    reserve   spent' = spent + amount, reset' = max(reset, end of the period); a row whose reset has come starts at 0
    evict     only when the shard is full, and only rows whose reset has come; full of live rows: newcomers are refused

A block is what a process reserves before it spends. It is never given back: a process that dies takes the rest of its blocks with it,
which counts too much and never too little. It is a small share of what is left, so that little is lost, and less the scarcer it gets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from modelward_runtime.epsilon.period import Period, end_of

MOST_ROWS: Final = 512  # of a shard: about 50 KB, well below what etcd takes
SHARE: Final = 32  # a block takes one part in so many of what is left, beside what is needed now


@dataclass(frozen=True, slots=True)
class Row:
    """What one subject, or everybody, has reserved until `reset`; amounts in millionths, time in seconds since the epoch."""

    spent: int
    reset: int


@dataclass(frozen=True, slots=True)
class Shard:
    """One object of the ledger. `key_check` says by which key its rows are named, once somebody has written."""

    observed: int
    key_check: str
    rows: Mapping[str, Row]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy grants: so much in each period."""

    budget: int
    period: Period


@dataclass(frozen=True, slots=True)
class Held:
    """What a process still holds of its block, good until `reset`."""

    left: int = 0
    reset: int = 0


@dataclass(frozen=True, slots=True)
class Granted:
    """The shard as it must be written; its writer then holds `amount` more until `reset`, beside what it held if that `joins`.

    Not how much that is altogether: while the shard is written, others spend from what was held.
    """

    shard: Shard
    amount: int
    reset: int
    joins: bool


@dataclass(frozen=True, slots=True)
class Turned:
    """The shard as it must be written before anything is reserved: with the present, by which a period has ended, and no row changed."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing may be spent: the budget is, or the shard is full of live rows, or the call costs more than a whole budget."""

    why: Literal["Spent", "Full", "TooLarge"]
    reset: int


def reserve(shard: Shard, key: str, cost: int, held: Held, terms: Terms, now: int) -> Granted | Turned | Refused:
    """Reserve what `cost` lacks of what is held, and a little more. `now` is what the writer believes; the shard may know better."""
    now = max(now, shard.observed)
    if any(shard.observed < other.reset <= now for other in shard.rows.values()):
        return Turned(replace(shard, observed=now))
    row = _live(shard, key, now)
    reset = max(row.reset, end_of(terms.period, now))
    joins = held.reset == row.reset == reset
    kept = held.left if joins else 0
    left = terms.budget - row.spent
    lacking = max(cost - kept, 0)
    if cost > terms.budget:
        return Refused("TooLarge", reset)
    if lacking > left:
        return Refused("Spent", reset)
    rows = _with_room(shard, key, now)
    if rows is None:
        return Refused("Full", min(other.reset for other in shard.rows.values()))
    amount = lacking + (left - lacking) // SHARE
    rows[key] = Row(row.spent + amount, reset)
    return Granted(replace(shard, observed=now, rows=rows), amount, reset, joins)


def _live(shard: Shard, key: str, now: int) -> Row:
    row = shard.rows.get(key)
    return row if row and row.reset > now else Row(0, 0)


def _with_room(shard: Shard, key: str, now: int) -> dict[str, Row] | None:
    """The rows, with room for this one; None when every place is taken by a live one."""
    if key in shard.rows or len(shard.rows) < MOST_ROWS:
        return dict(shard.rows)
    rows = {name: row for name, row in shard.rows.items() if row.reset > now}
    return rows if len(rows) < MOST_ROWS else None
