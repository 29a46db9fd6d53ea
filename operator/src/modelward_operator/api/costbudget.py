"""CostBudget, the kind that a budget's owner applies: how much the models of a namespace may cost in a period, and what happens then.

Namespaced. The operator holds it against the CostLedgers and bounds the models' replicas before the money is gone: policies/cost. To
loosen one takes the verb `relax`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

from modelward_operator.api.period import Period
from modelward_operator.api.timezone import zone_names
from modelward_operator.api.types import LabelKey, LabelValue, Matches, Rule, Struct

COST_BUDGET_KIND: Final = "CostBudget"
COST_BUDGET_PLURAL: Final = "costbudgets"

Amount = Annotated[
    str,
    StringConstraints(min_length=1, max_length=19),
    Matches(
        r"^(0|[1-9][0-9]{0,8})([.][0-9]{1,9})?$",
        'must be an amount in quotes below 1000000000, with at most 9 decimals, without a sign or an exponent, for example "500" or "0.25"',
    ),
]
"""Money, in units of a currency."""

Currency = Annotated[
    str,
    StringConstraints(min_length=1, max_length=8),
    Matches(r"^[A-Z]{3}$", "currency must be a code of ISO 4217: three capital letters, for example USD or EUR"),
]


def _existing(name: str) -> str:
    if name not in zone_names():
        raise PydanticCustomError(
            "zone",
            "there is no time zone {name} in the IANA database: write a name of it, for example Europe/Berlin, or UTC",
            {"name": name},
        )
    return name


def _instant(text: str) -> str:
    try:
        datetime.fromisoformat(text).astimezone(UTC)  # the last day of all is over in UTC where it is not yet elsewhere
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("instant", "there is no such date or time: {error}", {"error": str(error)}) from error
    return text


TimeZone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Matches(
        r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
        "timeZone must be a name of the IANA database, for example Europe/Berlin, or UTC",
    ),
    AfterValidator(_existing),
]
Instant = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32),
    Matches(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$",
        "must be a date and a time with its zone, for example 2026-11-30T18:00:00Z",
    ),
    AfterValidator(_instant),
]
"""Without the schema's format date-time: its values are no strings for CEL, and its messages say nothing."""


class Allocation(StrEnum):
    """How the models share the limit."""

    SHARED = "Shared"
    PER_MODEL = "PerModel"


class OnForecast(StrEnum):
    """What happens when the limit would be passed at the present rate."""

    ALERT = "Alert"
    CLAMP = "ClampMaxReplicas"


class OnExceeded(StrEnum):
    """How far the ladder goes: each rung includes those before it."""

    ALERT = "Alert"
    CLAMP = "ClampMaxReplicas"
    FLOOR = "ScaleToFloor"
    ZERO = "ScaleToZero"
    SUSPEND = "Suspend"


class OnUnknownCost(StrEnum):
    """Whether what has no price may run."""

    ALLOW = "Allow"
    DENY = "Deny"


class ModelSelector(Struct):
    """Selects ModelDeployments of the budget's namespace by their labels."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(
        default={},
        description="Labels that a ModelDeployment must have, all of them. Absent: every one of the namespace.",
        examples=[{"team": "fraud"}],
    )

    def selects(self, labels: Mapping[str, str]) -> bool:
        """True for a model with these labels."""
        return self.match_labels.items() <= labels.items()


class Override(Struct):
    """More money for an emergency. It is kept in the CostLedger, with the time when the operator first saw it."""

    rules = (
        Rule(
            "timestamp(self.expires) >= timestamp('2020-01-01T00:00:00Z')",
            lambda it: datetime.fromisoformat(it.expires) >= datetime(2020, 1, 1, tzinfo=UTC),
            "expires must be a date that exists, after 2019",
        ),
    )

    extra_limit: Amount = Field(description="What is added to the limit until `expires`.", examples=["250"])
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=512),
        Matches(r"\S", "reason must say something: it is what an auditor reads"),
    ] = Field(description="Why. Kept in the ledger.", examples=["INC-4711: fraud wave, approved by J. Doe"])
    expires: Instant = Field(
        description="When the extra money is gone again, spent or not.", examples=["2026-11-30T18:00:00Z"]
    )

    def holds(self, now: datetime) -> bool:
        """True until it expires."""
        return now < datetime.fromisoformat(self.expires).astimezone(UTC)


def _money(amount: str) -> bool:
    return amount.strip("0.") != ""


class CostBudgetSpec(Struct):
    """How much the selected models may cost in a period, and what is done before and when the money is gone."""

    rules = (
        Rule(
            "self.floor == 0 || self.allowBelowFloor || !(self.onExceeded in ['ScaleToZero', 'Suspend'])",
            lambda it: it.floor == 0 or it.allow_below_floor or not it.may_end_all,
            "onExceeded ScaleToZero and Suspend go below the floor: set floor to 0, or allowBelowFloor to true",
        ),
        Rule(
            "self.onForecast == 'Alert' || self.onExceeded != 'Alert'",
            lambda it: it.on_forecast is OnForecast.ALERT or it.on_exceeded is not OnExceeded.ALERT,
            "onForecast ClampMaxReplicas needs an onExceeded that bounds replicas as well: anything but Alert",
        ),
        Rule(
            "double(self.limit) > 0.0",
            lambda it: _money(it.limit),
            "limit must be more than 0: to allow nothing, set spec.suspend of the models",
        ),
    )

    limit: Amount = Field(description="Money for a period.", examples=["500"])
    currency: Currency = Field(description="Of the limit. The PriceBooks must use the same.", examples=["USD"])
    period: Period = Field(
        default=Period.MONTH,
        description="How long the limit holds; then a new period begins with the whole of it. Hours, days, weeks (from Monday) and months "
        "of the calendar in `timeZone`, so that a day may have 23 or 25 hours.",
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="Where periods begin, by a name of the IANA database. A name that it does not have makes the budget's condition "
        "Evaluated False, and no model under it grows.",
        examples=["Europe/Berlin"],
    )
    selector: ModelSelector | None = Field(
        default=None,
        description="Models that the budget holds for. Absent: every model of the namespace. Who may edit a model may change its labels.",
    )
    allocation: Allocation = Field(
        default=Allocation.SHARED,
        description="Shared: the models share the limit; what one leaves, another may burn. PerModel: each has an equal share of it for "
        "itself.",
    )
    floor: StrictInt = Field(
        default=1,
        ge=0,
        le=1000,
        description="Replicas that each model keeps: what they cost until the period's end is set aside, and no rung goes below them, "
        "unless `allowBelowFloor`. At most what the model itself may have.",
    )
    allow_below_floor: StrictBool = Field(
        default=False,
        description="True: when the limit is reached, ScaleToZero and Suspend take the floor as well; so does an unknown cost that is "
        "denied.",
    )
    warn_percent: StrictInt = Field(
        default=80, ge=1, le=100, description="Share of the limit from which on the budget warns, in percent."
    )
    on_forecast: OnForecast = Field(
        default=OnForecast.ALERT,
        description="When the present rate would pass the limit before the period ends. Alert: say so. ClampMaxReplicas: no model grows "
        "further than the forecast allows.",
    )
    on_exceeded: OnExceeded = Field(
        default=OnExceeded.FLOOR,
        description="How far it goes while money runs out; each includes those before. Alert: conditions, Events and metrics. "
        "ClampMaxReplicas: no model grows beyond what is affordable; what runs, runs on. ScaleToFloor: replicas are taken away as well, "
        "down to the floor. ScaleToZero: none runs once the limit is reached. Suspend: and the model is denied, so that nothing wakes it.",
    )
    burn_window_seconds: StrictInt = Field(
        default=3600,
        ge=60,
        le=2678400,
        description="How fast what is left above the floor may be burnt: replicas that would need more than it for so many seconds are not "
        "affordable. Short: bursts are taller, and the money gone sooner.",
    )
    on_unknown_cost: OnUnknownCost = Field(
        default=OnUnknownCost.DENY,
        description="Models whose nodes have no price, or one in another currency. Deny: no more than the floor runs. Allow: they run, and "
        "do not count.",
    )
    override: Override | None = Field(
        default=None,
        description="An emergency: more money until a date. Takes the verb `relax`.",
    )

    @property
    def may_end_all(self) -> bool:
        """True when the ladder reaches zero replicas."""
        return self.on_exceeded in {OnExceeded.ZERO, OnExceeded.SUSPEND}

    @property
    def guaranteed(self) -> int:
        """The floor that nothing crosses."""
        return 0 if self.allow_below_floor else self.floor

    def selects(self, labels: Mapping[str, str]) -> bool:
        """True when the budget holds for a model of its namespace with these labels."""
        return self.selector is None or self.selector.selects(labels)


def budget_may_select(raw: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """True unless a raw CostBudget, whatever else is wrong with it, clearly holds for other models than one with these labels."""
    selector = (raw.get("spec") or {}).get("selector")
    wanted = selector.get("matchLabels") if isinstance(selector, dict) else None
    return not isinstance(wanted, dict) or wanted.items() <= dict(labels).items()
