"""CostBudgets that are accepted, and those that are refused with the words that tell what to write instead; values for tests of the room.

Read by tests/integration (the API server's word) and tests/unit (the word of `parse_budget`).
"""

from typing import Any

import yaml

from modelward_operator.api.costbudget import CostBudgetSpec
from tests.specs import Bad, Good

LEAST = "limit: '500', currency: USD"
AMOUNT = 'must be an amount in quotes below 1000000000, with at most 9 decimals, without a sign or an exponent, for example "500" or "0.25"'
ZERO = "onExceeded ScaleToZero and Suspend go below the floor: set floor to 0, or allowBelowFloor to true"
CLAMP = "onForecast ClampMaxReplicas needs an onExceeded that bounds replicas as well: anything but Alert"
NOTHING = "limit must be more than 0: to allow nothing, set spec.suspend of the models"
CODE = "currency must be a code of ISO 4217: three capital letters, for example USD or EUR"
INSTANT = "must be a date and a time with its zone, for example 2026-11-30T18:00:00Z"
OVERRIDE = "extraLimit: '250', reason: 'INC-4711', expires: '2026-11-30T18:00:00Z'"


def cost_budget(spec: str, name: str = "team") -> dict[str, Any]:
    """Return a raw CostBudget."""
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "CostBudget",
        "metadata": {"name": name},
        "spec": yaml.safe_load(spec),
    }


def budget_spec(**fields: Any) -> CostBudgetSpec:
    """Return a spec of 500 USD, but for what `fields`, in their names on the wire, say otherwise."""
    return CostBudgetSpec.model_validate({"limit": "500", "currency": "USD", **fields})


ACCEPTED_BUDGETS = (
    Good("the least", f"{{{LEAST}}}"),
    Good("cents, and less", "{limit: '0.000000001', currency: EUR}"),
    Good("the most", "{limit: '999999999.999999999', currency: JPY}"),
    Good(
        "every field",
        f"{{{LEAST}, period: Week, timeZone: America/Argentina/Buenos_Aires, selector: {{matchLabels: {{team: fraud}}}}, "
        "allocation: PerModel, floor: 2, allowBelowFloor: true, warnPercent: 50, onForecast: ClampMaxReplicas, onExceeded: Suspend, "
        f"burnWindowSeconds: 600, onUnknownCost: Allow, override: {{{OVERRIDE}}}}}",
    ),
    Good("every model", f"{{{LEAST}, selector: {{}}}}"),
    Good("down to zero without a floor", f"{{{LEAST}, onExceeded: ScaleToZero, floor: 0}}"),
    Good("a zone with a sign", f"{{{LEAST}, timeZone: Etc/GMT+5}}"),
    Good(
        "an override that expires in another zone",
        f"{{{LEAST}, override: {{extraLimit: '1', reason: a, expires: '2026-11-30T18:00:00+01:00'}}}}",
    ),
)
REFUSED_BUDGETS = (
    Bad("no limit", "{currency: USD}", "spec.limit", "equired", bound=True),
    Bad("no currency", "{limit: '5'}", "spec.currency", "equired", bound=True),
    Bad("a limit of nothing", "{limit: '0.00', currency: USD}", "spec", NOTHING),
    Bad("a negative limit", "{limit: '-5', currency: USD}", "spec.limit", AMOUNT),
    Bad("an absurd limit", "{limit: '1000000000', currency: USD}", "spec.limit", AMOUNT),
    Bad("a limit with an exponent", "{limit: '5e3', currency: USD}", "spec.limit", AMOUNT),
    Bad("a limit that is a number", "{limit: 5, currency: USD}", "spec.limit", "string", bound=True),
    Bad("a currency in words", "{limit: '5', currency: dollar}", "spec.currency", CODE),
    Bad("no such period", f"{{{LEAST}, period: Year}}", "spec.period", "Hour", bound=True),
    Bad(
        "a path for a time zone",
        f"{{{LEAST}, timeZone: ../etc/passwd}}",
        "spec.timeZone",
        "timeZone must be a name of the IANA database",
    ),
    Bad("zero above a floor", f"{{{LEAST}, onExceeded: ScaleToZero}}", "spec", ZERO),
    Bad("suspension above a floor", f"{{{LEAST}, onExceeded: Suspend, floor: 3}}", "spec", ZERO),
    Bad(
        "a forecast that bounds and a limit that does not",
        f"{{{LEAST}, onForecast: ClampMaxReplicas, onExceeded: Alert}}",
        "spec",
        CLAMP,
    ),
    Bad("a negative floor", f"{{{LEAST}, floor: -1}}", "spec.floor", "greater than or equal to 0", bound=True),
    Bad(
        "a warning before anything was spent",
        f"{{{LEAST}, warnPercent: 0}}",
        "spec.warnPercent",
        "greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "a burn window of a second",
        f"{{{LEAST}, burnWindowSeconds: 1}}",
        "spec.burnWindowSeconds",
        "greater than or equal to 60",
        bound=True,
    ),
    Bad(
        "an override without a reason",
        f"{{{LEAST}, override: {{extraLimit: '1', expires: '2026-11-30T18:00:00Z'}}}}",
        "spec.override.reason",
        "equired",
        bound=True,
    ),
    Bad(
        "an override for a blank reason",
        f"{{{LEAST}, override: {{extraLimit: '1', reason: ' ', expires: '2026-11-30T18:00:00Z'}}}}",
        "spec.override.reason",
        "reason must say something",
    ),
    Bad(
        "an override that expires without a zone",
        f"{{{LEAST}, override: {{extraLimit: '1', reason: a, expires: '2026-11-30T18:00:00'}}}}",
        "spec.override.expires",
        INSTANT,
    ),
    Bad(
        "an override that is long over",
        f"{{{LEAST}, override: {{extraLimit: '1', reason: a, expires: '1999-11-30T18:00:00Z'}}}}",
        "spec.override",
        "expires must be a date that exists, after 2019",
    ),
    Bad(
        "an override for ever",
        f"{{{LEAST}, override: {{extraLimit: '1', reason: a}}}}",
        "spec.override.expires",
        "equired",
        bound=True,
    ),
)
