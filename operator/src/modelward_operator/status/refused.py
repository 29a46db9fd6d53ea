"""What a child that could not be written means for a condition. Called by `summarise.py` for Ready, by `endpoint.py`."""

from collections.abc import Iterator
from typing import Final

from modelward_operator.facts import Adjustment, Applied, Refusal
from modelward_operator.plan import names
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.finding import Finding

_FALSE: Final = {
    "NotOwned": Reason.CHILD_NOT_OWNED,
    "Rejected": Reason.CHILD_REJECTED,
    "Overruled": Reason.CHILD_OVERRULED,
}


def refused(type_: Type, refusal: Refusal) -> Finding:
    """Return False for what will be refused again, Unknown for what is tried again."""
    message = words(refusal)
    if reason := _FALSE.get(refusal.reason):
        return Finding(type_, "False", reason, message)
    return Finding(type_, "Unknown", Reason.CHILD_UNWRITTEN, message)


def words(of: Refusal | Adjustment) -> str:
    """Return which child, and why."""
    return f"{of.kind} {of.name}: {of.message}"


def of_endpoint(name: str, applied: Applied) -> Iterator[Refusal]:
    """Yield the refusals of what says who may call the model of that name and connect: its policy may not be what stands."""
    granting = {names.predict_role_name(name), names.review_binding_name(name)}
    for refusal in applied.refusals:
        is_config = refusal.name == names.policy_config_name(name) or refusal.name.startswith(f"{name}-boot-")
        if (
            refusal.kind == "NetworkPolicy"
            or (refusal.kind == "ConfigMap" and is_config)
            or (refusal.kind in {"Role", "RoleBinding"} and refusal.name in granting)
        ):
            yield refusal
