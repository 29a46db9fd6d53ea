"""Parse a raw object of one of the kinds: a typed value, or every field error at once with its path.

Called by `reconcile.py` and `cluster/` for live objects and by `offline.py` for manifests. The API server has usually refused what is wrong
already; objects stored under an older schema come here unchecked, so this never trusts the server's word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from modelward_operator.api.costbudget import CostBudgetSpec
from modelward_operator.api.costledger import CostLedgerSpec
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.modelpolicy import ModelPolicySpec, NamespaceSelector
from modelward_operator.api.pricebook import PriceBookSpec
from modelward_operator.api.privacypolicy import PrivacyPolicySpec
from modelward_operator.api.types import STORED, Struct

S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. `path` is as in the manifest: `spec.scaling.replicas`, `spec.runtime.env[2].name`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Invalid:
    """A spec that cannot be read, with every reason."""

    errors: tuple[FieldError, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.errors))


def parse(raw: Mapping[str, Any]) -> ModelDeploymentSpec | Invalid:
    """Return the spec of a raw ModelDeployment, or all of its field errors, ordered by path."""
    return _parse(ModelDeploymentSpec, raw)


def parse_policy(raw: Mapping[str, Any]) -> ModelPolicySpec | Invalid:
    """Return the spec of a raw ModelPolicy, or all of its field errors, ordered by path."""
    return _parse(ModelPolicySpec, raw)


def parse_privacy(raw: Mapping[str, Any], *, stored: bool = False) -> PrivacyPolicySpec | Invalid:
    """Return the spec of a raw PrivacyPolicy, or all of its field errors, ordered by path; a `stored` one need not obey newer rules."""
    return _parse(PrivacyPolicySpec, raw, STORED if stored else None)


def parse_budget(raw: Mapping[str, Any]) -> CostBudgetSpec | Invalid:
    """Return the spec of a raw CostBudget, or all of its field errors, ordered by path."""
    return _parse(CostBudgetSpec, raw)


def parse_book(raw: Mapping[str, Any]) -> PriceBookSpec | Invalid:
    """Return the spec of a raw PriceBook, or all of its field errors, ordered by path."""
    return _parse(PriceBookSpec, raw)


def parse_costs(raw: Mapping[str, Any]) -> CostLedgerSpec | Invalid:
    """Return the spec of a raw CostLedger, or all of its field errors, ordered by path."""
    return _parse(CostLedgerSpec, raw)


def may_select(raw: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """True unless a raw ModelPolicy, whatever else is wrong with it, clearly holds for other namespaces than one with these labels."""
    spec = raw.get("spec")
    try:
        found = spec.get("namespaceSelector") if isinstance(spec, Mapping) else None
        return NamespaceSelector.model_validate(found).selects(labels)
    except ValidationError:
        return True


def _parse(kind: type[S], raw: Mapping[str, Any], context: str | None = None) -> S | Invalid:
    try:
        return kind.model_validate(raw.get("spec") or {}, context=context)
    except ValidationError as error:
        return Invalid(tuple(sorted((_field_error(e) for e in error.errors(include_url=False)), key=str)))


def _field_error(error: ErrorDetails) -> FieldError:
    path = "spec"
    # A map's key that is wrong is the map's error, as the API server sees it.
    for step in error["loc"][:-2] if error["loc"][-1:] == ("[key]",) else error["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    message = "is required" if error["type"] == "missing" else error["msg"][:1].lower() + error["msg"][1:]
    return FieldError(path, message)
