"""What a CostBudget says of itself: its status, and the Events that a step on the ladder is worth. Pure. Called by cluster/evaluator.py."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.api.parse import Invalid
from modelward_operator.facts import Json
from modelward_operator.policies.cost import reasons
from modelward_operator.policies.cost.budget import ACTIONS, Evaluation
from modelward_operator.policies.cost.money import words
from modelward_operator.policies.cost.pots import Rung
from modelward_operator.policies.cost.standing import UNKNOWN, Standing
from modelward_operator.pricing.money import nano, units

NAMED: Final = 8
"""Models that a message names at most."""
MESSAGE_LIMIT: Final = 2048
Said = tuple[str, str, str, str]
"""A condition's type, status, reason and message."""


def status_of(seen: Evaluation, before: Json, generation: int, others: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the status. `others`: further budgets by model, of the models that have some."""
    return {
        "observedGeneration": generation,
        "periodStart": _stamp(seen.span.start),
        "periodEnd": _stamp(seen.span.end),
        "limit": units(seen.limit),
        "spent": units(seen.spent),
        "hourly": units(seen.hourly),
        "forecast": units(seen.forecast),
        "models": len(seen.allowances),
        "lastAction": _last_action(seen, before),
        "conditions": _conditions([_evaluated(seen, others), _within(seen)], before, generation, seen.now),
    }


def status_of_invalid(invalid: Invalid, before: Json, generation: int, now: datetime) -> dict[str, Any]:
    """Return the status of a budget that cannot be read: what was known stays."""
    message = f"{invalid}; until it is corrected no model under this budget gets more replicas than it has"
    return _unevaluated("False", reasons.BUDGET_INVALID, message, before, generation, now)


def status_of_unread(why: str, before: Json, generation: int, now: datetime) -> dict[str, Any]:
    """Return the status of a budget of which nobody knows what was spent: what was known stays."""
    message = f"{why}; until the ledger can be read the models under this budget stay as they are"
    return _unevaluated("Unknown", reasons.LEDGER_UNREADABLE, message, before, generation, now)


def _unevaluated(status: str, reason: str, says: str, before: Json, generation: int, now: datetime) -> dict[str, Any]:
    kept = {name: value for name, value in before.items() if name not in {"observedGeneration", "conditions"}}
    said: list[Said] = [("Evaluated", status, reason, says)]
    if status == "False":  # only another spec helps: in kstatus' words (decisions/0022)
        said.append(("Stalled", "True", reason, says))
    conditions = _conditions(said, before, generation, now)
    return {**kept, "observedGeneration": generation, "conditions": conditions}


def standing_in(status: Json) -> Standing:
    """Return what the status remembers of the last evaluation, for an operator that starts anew; nothing where somebody else wrote it."""
    action = status.get("lastAction", {}).get("action", "")
    rung = next((rung for rung, name in ACTIONS.items() if name == action), Rung.NONE)
    start = status.get("periodStart")
    try:
        return Standing(rung, datetime.fromisoformat(start) if start else None, nano(status.get("limit", "0")), rung)
    except ValueError:
        return UNKNOWN


def weight(status: Json) -> Any:  # noqa: ANN401  -- a value to compare, and nothing else
    """Return what of a status is written at once when it changes; the rest moves all the time and waits for its minute."""
    conditions = [(c["type"], c["status"], c["reason"]) for c in status.get("conditions", ())]
    action = status.get("lastAction", {}).get("action")
    return [status.get("observedGeneration"), status.get("periodStart"), status.get("limit"), action, conditions]


def step(seen: Evaluation, before: Standing) -> tuple[str, str, str] | None:
    """Return type, reason and message of the Event that a step on the ladder is worth; None where there was none."""
    peak = seen.standing.peak
    if before.period is not None and before.period != seen.span.start and before.peak > peak:
        return "Normal", "PeriodBegan", f"a new {seen.spec.period.lower()} began: {account(seen)}; {_why(seen)}"
    if peak == before.peak:
        return None
    kind = "Warning" if peak > before.peak else "Normal"
    return kind, ACTIONS[peak] if peak else reasons.WITHIN_BUDGET, f"{account(seen)}; {_why(seen)}"


def account(seen: Evaluation) -> str:
    """Return what was spent of what until when, in words."""
    return f"{words(seen.spent, seen.spec.currency)} spent of {seen.terms}, {words(seen.hourly, seen.spec.currency)} per hour now"


def _last_action(seen: Evaluation, before: Json) -> dict[str, str]:
    last = before.get("lastAction", {})
    same_period = before.get("periodStart") == _stamp(seen.span.start)
    if last.get("action") == ACTIONS[seen.rung] and (same_period or seen.rung is Rung.NONE):
        return dict(last)
    return {
        "action": ACTIONS[seen.rung],
        "reason": f"{account(seen)}; {_why(seen)}"[:MESSAGE_LIMIT],
        "time": _stamp(seen.now),
    }


def _why(seen: Evaluation) -> str:
    """Return what the rung means now, and what to do about it."""
    held = _list([name for name, allowance in seen.allowances.items() if allowance.reason])
    relax = "raise spec.limit or set spec.override, which takes the verb relax"
    if seen.rung >= Rung.ZERO:
        return f"the limit is reached, no replica runs until the period ends: {held}; {relax}"
    if seen.rung is Rung.FLOOR:
        return f"only the floor is affordable: {held}; {relax}, or wait for the next period"
    if seen.rung is Rung.CLAMP:
        return f"more replicas are asked for than are affordable: {held}; {relax}, or ask for fewer"
    if seen.forecast > seen.limit:
        return f"at this rate {words(seen.forecast, seen.spec.currency)} will have been spent when it ends: {relax}, or lower maxReplicas"
    if seen.calms:
        ends = f"{seen.calms:%Y-%m-%d %H:%M UTC}"
        return f"the cause of the last warning is gone; this alert ends at {ends} if it stays so"
    return f"more than {seen.spec.warn_percent} % of the limit is spent" if seen.warns else "no budget is in the way"


def _evaluated(seen: Evaluation, others: Mapping[str, Sequence[str]]) -> Said:
    shared = [f"{name} (also {', '.join(budgets)})" for name, budgets in sorted(others.items())]
    both = f"; under several budgets, of which the tightest holds: {_list(shared)}" if shared else ""
    if not seen.unknown:
        return "Evaluated", "True", reasons.EVALUATED, f"models that it selects: {len(seen.allowances)}{both}"
    foreign = [line for line in seen.unknown if line.is_foreign]
    reason = reasons.CURRENCY_MISMATCH if len(foreign) == len(seen.unknown) else reasons.COST_UNKNOWN
    named = _list([f"{line.model}: {line.unpriced}" for line in seen.unknown])
    follows = (
        "they run and do not count" if seen.spec.on_unknown_cost == "Allow" else "no more than the floor of each runs"
    )
    return "Evaluated", "False", reason, f"models that cannot be counted ({follows}): {named}{both}"


def _within(seen: Evaluation) -> Said:
    says = f"{account(seen)}; {_why(seen)}"
    if seen.rung >= Rung.ZERO:
        return "WithinBudget", "False", reasons.BUDGET_EXCEEDED, says
    if seen.spent > seen.limit:
        return "WithinBudget", "False", reasons.LIMIT_EXCEEDED, says
    if seen.set_aside > seen.left:
        floor = words(seen.set_aside, seen.spec.currency)
        remedy = "raise spec.limit, lower spec.floor, or let onExceeded take it with spec.allowBelowFloor"
        says = f"{account(seen)}; the floor of {seen.spec.floor} costs {floor} until then, more than is left: {remedy}"
        return "WithinBudget", "False", reasons.FLOOR_EXCEEDS_LIMIT, says
    reason = {Rung.FLOOR: reasons.BUDGET_AT_FLOOR, Rung.CLAMP: reasons.BUDGET_CLAMPED}.get(
        seen.rung, reasons.WITHIN_BUDGET
    )
    if seen.rung is Rung.ALERT:
        reason = reasons.LIMIT_NEAR if seen.warns else reasons.FORECAST_EXCEEDS_LIMIT
    return "WithinBudget", "True", reason, says


def _conditions(said: Sequence[Said], before: Json, generation: int, now: datetime) -> list[Json]:
    known = {c["type"]: c for c in before.get("conditions", ())}
    conditions: list[Json] = []
    for type_, status, reason, message in sorted(said):
        last = known.get(type_, {})
        since = last.get("lastTransitionTime") if last.get("status") == status else None
        conditions.append(
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message[:MESSAGE_LIMIT],
                "observedGeneration": generation,
                "lastTransitionTime": since or _stamp(now),
            }
        )
    return conditions


def _list(named: Sequence[str]) -> str:
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(sorted(named)[:NAMED]) + more


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
