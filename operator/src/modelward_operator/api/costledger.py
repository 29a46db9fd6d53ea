"""CostLedger, the kind that holds what the models of a namespace have cost. The operator writes it, and nobody else.

One object is a part (shard) of one UTC day; its rows are models. Nothing owns it, so that no deletion of a model, of a budget or of the
operator gives spent money back; the chart's admission policy lets only who may `record` costledgers write or delete one. What a field
means and how the numbers come about: ledger/README.md. The same in Python: ledger/shards.py.

Limits stand in the schema alone and not in CEL, and the quarters of a row are one string and not a map: checking 250 rows of 96 values
each takes the API server 0.4 s of CPU, and 0.05 s as strings.
"""

from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import Struct

COST_KIND: Final = "CostLedger"
COST_PLURAL: Final = "costledgers"
MOST_ROWS: Final = 500
MOST_PODS: Final = 5000
MONTH_LABEL: Final = "modelward.dev/month"
"""On each object: the month of its day, `2026-11`, to list by."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Amount = Annotated[str, StringConstraints(min_length=1, max_length=20, pattern=r"^[0-9]{1,20}$")]
"""A whole number of nano units (10⁻⁹ of the currency's unit), as a string, because JSON readers round large numbers."""
Currency = Annotated[str, StringConstraints(min_length=3, max_length=3)]
Uid = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Time = Annotated[str, StringConstraints(min_length=20, max_length=20), Field(json_schema_extra={"format": "date-time"})]
Day = Annotated[str, StringConstraints(min_length=10, max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class CostRow(Struct):
    """What one model cost on that day, in one currency."""

    model: Name = Field(description="Name of the ModelDeployment. It need not exist any more.")
    currency: Currency = Field(description="As in the PriceBook that priced its nodes.")
    labels: Annotated[
        dict[
            Annotated[str, StringConstraints(max_length=317)],
            Annotated[str, StringConstraints(max_length=63)],
        ],
        Field(max_length=32),
    ] = Field(
        default={},
        description="Its labels as CostBudgets saw them last: what a deleted model has spent counts under those that select them.",
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    quarters: Annotated[
        str, StringConstraints(max_length=2600, pattern=r"^(([01][0-9]|2[0-3]):(00|15|30|45)=[0-9]{1,19}( |$))+$")
    ] = Field(
        description="What each quarter hour cost that cost something, by its beginning in UTC, in nano units. Days that no Hour, Day or "
        "Week can begin on any more are put into 00:00 as a whole, but for those that a month may begin on.",
        examples=["13:45=765000000 14:00=765000000"],
    )
    estimated: Amount | None = Field(
        default=None,
        description="Part of it that nobody saw: pods that ended while the operator was down. In nano units.",
    )


class CostPod(Struct):
    """A pod that costs money."""

    uid: Uid = Field(description="UID of the pod.")
    model: Name = Field(description="ModelDeployment that it serves.")
    node: Name = Field(description="Node that it is bound to.")
    rate: Amount | None = Field(default=None, description="Nano units per hour. Absent: its price is not known.")
    currency: Currency | None = Field(default=None, description="Currency of rate.")
    since: Time = Field(description="From when it was charged: when it was bound to its node.")
    through: Time = Field(description="Until when it was charged.")


class CostPodOver(Struct):
    """A pod that is over and must not be charged again."""

    uid: Uid = Field(description="UID of the pod.")
    model: Name = Field(description="ModelDeployment that it served.")
    since: Time = Field(description="From when it was charged.")
    through: Time = Field(description="Until when it was charged.")


class CostOverride(Struct):
    """An emergency override of a budget, as it was when it was first seen."""

    budget: Name = Field(description="Name of the CostBudget. It need not exist any more.")
    extra_limit: Annotated[str, StringConstraints(max_length=32)] = Field(description="What it added to the limit.")
    currency: Currency = Field(description="Currency of the budget.")
    reason: Annotated[str, StringConstraints(max_length=512)] = Field(description="Why, in the words of who wrote it.")
    expires: Time = Field(description="When it ends.")
    noted: Time = Field(description="When the operator saw it first.")


class CostLedgerSpec(Struct):
    """A part of one day of a namespace."""

    day: Day = Field(description="Day, in UTC.")
    shard: StrictInt = Field(ge=0, le=9999, description="Number of this part of the day.")
    rows: Annotated[list[CostRow], Field(max_length=MOST_ROWS)] = Field(
        default=[],
        description="What models cost. The rows of one model are in one part.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    open: Annotated[list[CostPod], Field(max_length=MOST_PODS)] = Field(
        default=[],
        description="Pods that cost money, and how far each was charged. Empty on days that are over.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    closed: Annotated[list[CostPodOver], Field(max_length=MOST_PODS)] = Field(
        default=[],
        description="Pods that were over not long ago, or still lie there: they are not charged again.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    overrides: Annotated[list[CostOverride], Field(max_length=1000)] = Field(
        default=[],
        description="Overrides of budgets that were first seen on that day. In the first part of the day.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


COST_RULES: Final = (
    {
        # Not the number after it: the API server takes a number's text for as long as it can be, and refuses the rule for its cost.
        "rule": "self.metadata.name.startsWith('costs-' + self.spec.day + '-')",
        "message": "metadata.name must be costs-, spec.day, - and spec.shard",
    },
)


def cost_ledger_name(day: str, shard: int) -> str:
    """Return the name of a part of a day."""
    return f"costs-{day}-{shard}"
