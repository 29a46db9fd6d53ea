"""PrivacyLedger, the kind that holds what was spent of a differential-privacy budget. Nobody writes it by hand.

The operator makes the objects that a policy needs, and nothing owns them, so that no deletion of a model or of a policy gives a budget
back. Pods reserve in `status` before they answer. The rules below are the ledger's word of honour, kept by the API server itself: nothing
that was reserved is forgotten before `observedTime` has reached the end of its period, and then by another write. Rules of a schema cannot
know what time it is. Two others do: the chart's admission policy for the pods that write, and the runtime, which reserves nothing from a
ledger that is ahead. The same algebra in Python: runtime `epsilon/account.py`, `clock.py`.
"""

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import Matches, ObjectName, Struct

LEDGER_KIND: Final = "PrivacyLedger"
LEDGER_PLURAL: Final = "privacyledgers"
MOST_ROWS: Final = 512
"""Of a shard. The runtime knows the same number."""
EVERYBODY: Final = "all"
"""The one shard of scope All."""
SHARDS: Final = tuple("0123456789abcdef")
"""Those of scope Subject: by the first digit of the row's name. Their number never changes, or callers would move to empty ones."""

Time = Annotated[
    str,
    StringConstraints(min_length=20, max_length=20),
    Field(json_schema_extra={"format": "date-time"}),
]
Shard = Annotated[
    str,
    StringConstraints(min_length=1, max_length=3),
    Matches(r"^([0-9a-f]|all)$", "shard must be a hexadecimal digit, or all"),
]


RowName = Annotated[str, StringConstraints(max_length=32)]


class Row(Struct):
    """What one caller, or everybody, has reserved."""

    spent: StrictInt = Field(ge=0, le=10**15, description="Reserved in the period, in millionths of epsilon.")
    reset_time: Time = Field(description="When the period ends, and the row counts no more.")


class PrivacyLedgerSpec(Struct):
    """Which ledger this is."""

    policy: ObjectName = Field(
        description="Name of the PrivacyPolicy, in the same namespace. It need not exist any more."
    )
    shard: Shard = Field(description="First digit of the rows' names, or all.")


class PrivacyLedgerStatus(Struct):
    """What was reserved."""

    observed_time: Time = Field(description="Latest time that a writer has seen. It never runs backwards.")
    key_check: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="Check value of the key that names rows. It never changes."
    )
    rows: Annotated[dict[RowName, Row], Field(max_length=MOST_ROWS)] = Field(
        description="Rows by name: a keyed hash of the caller, or all. One whose resetTime is not after observedTime may be taken away "
        "by the next write.",
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )


STATUS_RULES: Final = (
    {
        "rule": "self.observedTime >= oldSelf.observedTime",
        "message": "time in a ledger never runs backwards",
    },
    {
        "rule": "self.keyCheck == oldSelf.keyCheck",
        "message": "a ledger is kept by the key that it was begun with: under another every caller would have a new budget",
    },
    {
        # The old time and not the new one: who moves the time takes nothing away by the same write.
        "rule": "oldSelf.rows.all(name, oldSelf.rows[name].resetTime <= oldSelf.observedTime || "
        "(name in self.rows && self.rows[name].spent >= oldSelf.rows[name].spent && "
        "self.rows[name].resetTime >= oldSelf.rows[name].resetTime))",
        "message": "what was reserved in a period stays until a write after observedTime has reached its resetTime",
    },
)
ROOT_RULES: Final = (
    {
        "rule": "self.metadata.name == self.spec.policy + '-' + self.spec.shard",
        "message": "metadata.name must be spec.policy, - and spec.shard",
    },
    {"rule": "self.spec == oldSelf.spec", "message": "which ledger this is never changes"},
    {"rule": "!has(oldSelf.status) || has(self.status)", "message": "what was reserved is never forgotten"},
)


def ledger_names(policy: str, *, everybody: bool) -> Iterable[tuple[str, str]]:
    """Return name and shard of each object that the ledger of a policy consists of."""
    return [(f"{policy}-{shard}", shard) for shard in ((EVERYBODY,) if everybody else SHARDS)]
