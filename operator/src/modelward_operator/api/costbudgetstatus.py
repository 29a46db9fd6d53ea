"""The status of a CostBudget, as schema: what `policies/cost/report.py` may say, and nothing else."""

from typing import Annotated

from pydantic import Field

from modelward_operator.api.status import Condition, ShortText, Text, Time
from modelward_operator.api.types import ListedBy, Struct


class LastAction(Struct):
    """The newest step on the ladder, up or down."""

    action: ShortText = Field(
        description="The rung: None, Alert, ClampMaxReplicas, ScaleToFloor, ScaleToZero or Suspend."
    )
    reason: Text = Field(description="Why, in a sentence.")
    time: Time = Field(description="When.", json_schema_extra={"format": "date-time"})


class CostBudgetStatus(Struct):
    """What the operator made of it last; written at most once a minute, and when the action changes."""

    observed_generation: int | None = Field(
        default=None,
        ge=-1,
        description="The metadata.generation that this status speaks of; -1 before anybody has looked.",
    )
    period_start: Time | None = Field(
        default=None, description="When the period began.", json_schema_extra={"format": "date-time"}
    )
    period_end: Time | None = Field(
        default=None,
        description="When it ends, and the limit is whole again.",
        json_schema_extra={"format": "date-time"},
    )
    limit: ShortText | None = Field(
        default=None, description="Money for this period, with the override while it holds."
    )
    spent: ShortText | None = Field(default=None, description="Spent in this period, by the CostLedgers.")
    hourly: ShortText | None = Field(
        default=None, description="What the pods of the selected models cost per hour now."
    )
    forecast: ShortText | None = Field(
        default=None, description="What will have been spent when the period ends, at the present rate."
    )
    models: int | None = Field(default=None, ge=0, description="Models that it selects.")
    last_action: LastAction | None = Field(default=None, description="The newest step on the ladder.")
    conditions: Annotated[list[Condition], Field(max_length=8), ListedBy("type")] = Field(
        default=[], description="Evaluated, and WithinBudget; Stalled, while True, where the spec cannot be read."
    )
