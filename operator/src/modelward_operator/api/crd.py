"""Derive the CustomResourceDefinitions from the typed kinds: what Python checks is what the API server checks.

Called by `generate.py`, which writes `crds/`, and by tests. Pure: a model class in, a dict out. It must not know any field by
name; what a field needs beyond pydantic's JSON schema it says itself with a marker of `types.py`.

Kubernetes wants a *structural* schema: every `$ref` inlined, no union but int-or-string, no title, no `propertyNames`. Defaults
stay where they are short and certain: at a leaf, outside lists. An absent struct means that the feature is off, so structs have
none.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeGuard

from modelward_operator.api.costbudget import COST_BUDGET_KIND, COST_BUDGET_PLURAL, CostBudgetSpec
from modelward_operator.api.costbudgetstatus import CostBudgetStatus
from modelward_operator.api.costledger import COST_KIND, COST_PLURAL, COST_RULES, CostLedgerSpec
from modelward_operator.api.modeldeployment import (
    GROUP,
    KIND,
    NAME_MAX_LENGTH,
    PLURAL,
    VERSION,
    ModelDeploymentSpec,
)
from modelward_operator.api.modelpolicy import POLICY_KIND, POLICY_PLURAL, ModelPolicySpec
from modelward_operator.api.pricebook import BOOK_KIND, BOOK_PLURAL, PriceBookSpec
from modelward_operator.api.privacyledger import (
    LEDGER_KIND,
    LEDGER_PLURAL,
    ROOT_RULES,
    STATUS_RULES,
    PrivacyLedgerSpec,
    PrivacyLedgerStatus,
)
from modelward_operator.api.privacypolicy import PRIVACY_KIND, PRIVACY_PLURAL, PrivacyPolicySpec
from modelward_operator.api.status import ModelDeploymentStatus
from modelward_operator.api.types import Struct

Schema = dict[str, Any]

SHORT_NAME: Final = "mdep"
POLICY_SHORT_NAME: Final = "mpol"
LEDGER_SHORT_NAME: Final = "pled"
PRIVACY_SHORT_NAME: Final = "ppol"
COST_BUDGET_SHORT_NAME: Final = "cbud"
BOOK_SHORT_NAME: Final = "pbook"
COST_SHORT_NAME: Final = "cled"

MODEL_NAME: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
NAME_RULE: Final = {
    "rule": f"self.metadata.name.size() <= {NAME_MAX_LENGTH} && self.metadata.name.matches(r'^{MODEL_NAME}$')",
    "message": f"metadata.name must be at most {NAME_MAX_LENGTH} lower-case letters, digits and -, begin with a letter and not end "
    "with -, because the Service and the pods are named after it",
}
"""Only metadata.name and generateName can be read by a rule, and only at the root."""

PRINTER_COLUMNS: Final = (
    # What is it?
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Model", "type": "string", "jsonPath": ".status.model.shortDigest"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".status.readyReplicas", "description": "Pods that serve."},
    {
        "name": "Cost/h",
        "type": "string",
        "jsonPath": ".status.cost.hourly",
        "description": "Price of its pods per hour, in the PriceBook's currency.",
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    # With -o wide.
    {
        "name": "Wanted",
        "type": "integer",
        "jsonPath": ".status.scaling.wanted",
        "description": "Replicas that the load asks for.",
        "priority": 1,
    },
    {"name": "Version", "type": "string", "jsonPath": ".status.model.version", "priority": 1},
    {"name": "Provider", "type": "string", "jsonPath": ".status.model.executionProvider", "priority": 1},
    {"name": "Policy", "type": "string", "jsonPath": ".status.privacy.policy", "priority": 1},
    {"name": "URL", "type": "string", "jsonPath": ".status.url", "priority": 1},
    {
        "name": "Message",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
        "priority": 1,
    },
)


POLICY_COLUMNS: Final = (
    {"name": "Encryption", "type": "boolean", "jsonPath": ".spec.requireEncryption"},
    {"name": "Verification", "type": "boolean", "jsonPath": ".spec.requireVerification"},
    {"name": "Digest", "type": "boolean", "jsonPath": ".spec.requireDigest"},
    {"name": "Authentication", "type": "boolean", "jsonPath": ".spec.requireAuthentication"},
    {"name": "Privacy", "type": "boolean", "jsonPath": ".spec.requirePrivacyPolicy"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Namespaces", "type": "string", "jsonPath": ".spec.namespaceSelector.matchLabels", "priority": 1},
    {"name": "Prefixes", "type": "string", "jsonPath": ".spec.allowedUriPrefixes", "priority": 1},
    {"name": "Images", "type": "string", "jsonPath": ".spec.allowedImages", "priority": 1},
    {"name": "Signers", "type": "string", "jsonPath": ".spec.trustedSigners", "priority": 1},
    {"name": "Price/h", "type": "string", "jsonPath": ".spec.maximumPricePerHour.amount", "priority": 1},
)


PRIVACY_COLUMNS: Final = (
    {"name": "Audit", "type": "string", "jsonPath": ".spec.audit.durability"},
    {"name": "Logging", "type": "string", "jsonPath": ".spec.logging.mode"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Sink", "type": "string", "jsonPath": ".spec.audit.sink.type", "priority": 1},
    {"name": "Generation", "type": "integer", "jsonPath": ".metadata.generation", "priority": 1},
)


COST_BUDGET_COLUMNS: Final = (
    {"name": "Limit", "type": "string", "jsonPath": ".status.limit"},
    {"name": "Spent", "type": "string", "jsonPath": ".status.spent"},
    {"name": "Forecast", "type": "string", "jsonPath": ".status.forecast"},
    {"name": "Currency", "type": "string", "jsonPath": ".spec.currency"},
    {"name": "Within", "type": "string", "jsonPath": '.status.conditions[?(@.type=="WithinBudget")].status'},
    {"name": "Action", "type": "string", "jsonPath": ".status.lastAction.action"},
    {"name": "Ends", "type": "string", "jsonPath": ".status.periodEnd"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Hourly", "type": "string", "jsonPath": ".status.hourly", "priority": 1},
    {"name": "Models", "type": "integer", "jsonPath": ".status.models", "priority": 1},
    {
        "name": "Message",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="WithinBudget")].message',
        "priority": 1,
    },
)


LEDGER_COLUMNS: Final = (
    {"name": "Policy", "type": "string", "jsonPath": ".spec.policy"},
    {"name": "Shard", "type": "string", "jsonPath": ".spec.shard"},
    {"name": "Observed", "type": "date", "jsonPath": ".status.observedTime"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)


BOOK_COLUMNS: Final = (
    {"name": "Currency", "type": "string", "jsonPath": ".spec.currency"},
    {"name": "Fallback", "type": "string", "jsonPath": ".spec.fallback.nodeLabel"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Nodes", "type": "string", "jsonPath": ".spec.nodes[*].name", "priority": 1},
)


COST_COLUMNS: Final = (
    {"name": "Day", "type": "string", "jsonPath": ".spec.day"},
    {"name": "Shard", "type": "integer", "jsonPath": ".spec.shard"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)


UNSEEN: Final = {"observedGeneration": -1}
"""The status of what the operator has not looked at yet, as in the GitOps Toolkit: what has no status at all, kstatus takes for done."""


def modeldeployment_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of ModelDeployment, a fresh value."""
    schema = {
        "type": "object",
        "description": "One ONNX model, served: where it is, how it runs and who may reach it.",
        "required": ["spec"],
        "properties": {
            "spec": structural_schema(ModelDeploymentSpec),
            "status": structural_schema(ModelDeploymentStatus) | {"default": UNSEEN},
        },
        "x-kubernetes-validations": [dict(NAME_RULE)],
    }
    scale = {
        "specReplicasPath": ".spec.scaling.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    names = _names(KIND, PLURAL, SHORT_NAME) | {"categories": ["all", "ml"]}
    return _crd(names, "Namespaced", PRINTER_COLUMNS, schema, {"subresources": {"status": {}, "scale": scale}})


def is_model_name(name: object) -> TypeGuard[str]:
    """True for what `NAME_RULE` takes."""
    return isinstance(name, str) and len(name) <= NAME_MAX_LENGTH and re.fullmatch(MODEL_NAME, name) is not None


def modelpolicy_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of ModelPolicy, a fresh value. It has no status: the ModelDeployments tell."""
    schema = {
        "type": "object",
        "description": "Floors that every ModelDeployment of the selected namespaces must meet, or it does not serve.",
        "required": ["spec"],
        "properties": {"spec": structural_schema(ModelPolicySpec)},
    }
    return _crd(_names(POLICY_KIND, POLICY_PLURAL, POLICY_SHORT_NAME), "Cluster", POLICY_COLUMNS, schema, {})


def privacypolicy_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of PrivacyPolicy, a fresh value. It has no status: the ModelDeployments tell."""
    schema = {
        "type": "object",
        "description": "What the models that name this policy may receive, return, log and keep.",
        "required": ["spec"],
        "properties": {"spec": structural_schema(PrivacyPolicySpec)},
    }
    return _crd(_names(PRIVACY_KIND, PRIVACY_PLURAL, PRIVACY_SHORT_NAME), "Namespaced", PRIVACY_COLUMNS, schema, {})


def costbudget_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of CostBudget, a fresh value."""
    schema = {
        "type": "object",
        "description": "How much the models of a namespace may cost in a period, and what happens before and when it is spent.",
        "required": ["spec"],
        "properties": {
            "spec": structural_schema(CostBudgetSpec),
            "status": structural_schema(CostBudgetStatus) | {"default": UNSEEN},
        },
    }
    names = _names(COST_BUDGET_KIND, COST_BUDGET_PLURAL, COST_BUDGET_SHORT_NAME) | {"categories": ["all", "ml"]}
    return _crd(names, "Namespaced", COST_BUDGET_COLUMNS, schema, {"subresources": {"status": {}}})


def privacyledger_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of PrivacyLedger, a fresh value: what pods may write is its status, and nothing else."""
    status = structural_schema(PrivacyLedgerStatus)
    status["x-kubernetes-validations"] = [dict(rule) for rule in STATUS_RULES]
    schema = {
        "type": "object",
        "description": "What was spent of a differential-privacy budget. Made by the operator, written by pods, owned by nothing.",
        "required": ["spec"],
        "properties": {"spec": structural_schema(PrivacyLedgerSpec), "status": status},
        "x-kubernetes-validations": [dict(rule) for rule in ROOT_RULES],
    }
    names = _names(LEDGER_KIND, LEDGER_PLURAL, LEDGER_SHORT_NAME)
    return _crd(names, "Namespaced", LEDGER_COLUMNS, schema, {"subresources": {"status": {}}})


def pricebook_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of PriceBook, a fresh value. It has no status: the ModelDeployments tell."""
    schema = {
        "type": "object",
        "description": "What nodes cost per hour, by their labels.",
        "required": ["spec"],
        "properties": {"spec": structural_schema(PriceBookSpec)},
    }
    return _crd(_names(BOOK_KIND, BOOK_PLURAL, BOOK_SHORT_NAME), "Cluster", BOOK_COLUMNS, schema, {})


def costledger_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of CostLedger, a fresh value."""
    schema = {
        "type": "object",
        "description": "What the models of a namespace have cost on one day. Written by the operator, owned by nothing.",
        "required": ["spec"],
        "properties": {"spec": structural_schema(CostLedgerSpec)},
        "x-kubernetes-validations": [dict(rule) for rule in COST_RULES],
    }
    return _crd(_names(COST_KIND, COST_PLURAL, COST_SHORT_NAME), "Namespaced", COST_COLUMNS, schema, {})


def _names(kind: str, plural: str, short: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
    }


def _crd(
    names: dict[str, Any], scope: str, columns: Iterable[Mapping[str, Any]], schema: Schema, more: Schema
) -> dict[str, Any]:
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [dict(column) for column in columns],
        "schema": {"openAPIV3Schema": schema},
        **more,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": scope, "versions": [version]},
    }


def structural_schema(struct: type[Struct]) -> Schema:
    """Return the structural OpenAPI v3 schema of a struct, fields under their wire names."""
    schema = struct.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}), in_list=False)


def resolve(node: Mapping[str, Any], defs: Mapping[str, Any]) -> Schema:
    """Return `node` with its reference inlined and `X | None` read as an optional X. What stands beside them wins."""
    flat = dict(node)
    if "$ref" in flat:
        name = flat.pop("$ref").rsplit("/", 1)[-1]
        return {**resolve(defs[name], defs), **flat}
    variants = [variant for variant in flat.get("anyOf", ()) if variant != {"type": "null"}]
    if len(variants) == 1:
        del flat["anyOf"]
        return {**resolve(variants[0], defs), **flat}
    return flat


def _structural(node: Mapping[str, Any], defs: Mapping[str, Any], *, in_list: bool) -> Schema:
    flat = resolve(node, defs)
    schema = {key: value for key, value in flat.items() if key not in {"$defs", "title", "examples", "propertyNames"}}
    if not _default_stays(schema, in_list=in_list):
        schema.pop("default", None)
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", 2**63) < 2**31 else "int64"
    if "properties" in schema:
        fields = schema["properties"].items()
        schema["properties"] = {name: _structural(field, defs, in_list=in_list) for name, field in fields}
    if "items" in schema:
        schema["items"] = _structural(schema["items"], defs, in_list=True)
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(schema["additionalProperties"], defs, in_list=True)
    if rules := _key_rules(flat.get("propertyNames", {})):
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", []), *rules]
    return schema


def _default_stays(schema: Schema, *, in_list: bool) -> bool:
    """Keep a default that says something: not null or empty, which is what absence says, and not a whole struct."""
    default = schema.get("default")
    return not in_list and isinstance(default, bool | int | str) and default != ""


def _key_rules(names: Mapping[str, Any]) -> list[dict[str, str]]:
    """Turn what the keys of a map must obey into rules of the map: a structural schema cannot say it otherwise."""
    rules = [
        {"rule": f"self.all(key, {rule['rule'].replace('self.', 'key.')})", "message": rule["message"]}
        for rule in names.get("x-kubernetes-validations", ())
    ]
    if "maxLength" in names:
        limit = names["maxLength"]
        rules.append(
            {"rule": f"self.all(key, key.size() <= {limit})", "message": f"a key has at most {limit} characters"}
        )
    return rules
