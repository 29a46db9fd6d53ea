"""The CRD keeps the promises that hold for every field, present and future: bounded, structural, small, with clear rules."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import Field

from modelward_operator.api.crd import (
    costledger_crd,
    modeldeployment_crd,
    modelpolicy_crd,
    pricebook_crd,
    privacyledger_crd,
    privacypolicy_crd,
    structural_schema,
)
from modelward_operator.api.generate import artefacts
from modelward_operator.api.reference import reference
from modelward_operator.api.types import Struct

CRD = modeldeployment_crd()
VERSION = CRD["spec"]["versions"][0]
# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
FORBIDDEN = {
    "$ref",
    "$defs",
    "title",
    "examples",
    "propertyNames",
    "const",
    "oneOf",
    "allOf",
    "prefixItems",
    "uniqueItems",
}


def walk(node: dict[str, Any], path: str = "", *, in_list: bool = False) -> Iterator[tuple[str, dict[str, Any], bool]]:
    yield path, node, in_list
    for name, field in node.get("properties", {}).items():
        yield from walk(field, f"{path}.{name}", in_list=in_list)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from walk(node[key], f"{path}[]", in_list=True)


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


POLICY = modelpolicy_crd()
PRIVACY = privacypolicy_crd()
KINDS = {
    "": CRD,
    "ModelPolicy": POLICY,
    "PrivacyPolicy": PRIVACY,
    "PrivacyLedger": privacyledger_crd(),
    "PriceBook": pricebook_crd(),
    "CostLedger": costledger_crd(),
}
ALL = {path: (node, in_list) for kind, crd in KINDS.items() for path, node, in_list in walk(schema_of(crd), kind)}
"""Every node of every kind by its path, which begins with the kind, but for a ModelDeployment's."""
NAMED = {path: node for path, (node, _) in ALL.items() if path and not path.endswith("[]")}


def unbounded(node: dict[str, Any]) -> bool:
    if node.get("x-kubernetes-int-or-string"):
        return "maxLength" not in node
    needs = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}.get(node["type"])
    if node["type"] == "object":
        return "properties" not in node and "maxProperties" not in node
    return needs is not None and needs not in node and "enum" not in node


def test_the_walk_finds_what_lies_in_structs_lists_and_maps() -> None:
    assert ALL.keys() >= {
        ".spec.model.uri",
        ".spec.runtime.env[].name",
        "ModelPolicy.spec.allowedImages[]",
        "PrivacyLedger.status.rows[].spent",
    }
    assert len(NAMED) > 200


def test_every_string_list_and_map_is_bounded() -> None:
    offenders = [path or "the root" for path, (node, _) in ALL.items() if unbounded(node)]
    assert not offenders, f"no limit, give it max_length: {', '.join(offenders)}"


def unstructural(node: dict[str, Any], *, in_list: bool) -> Iterator[str]:
    yield from FORBIDDEN & node.keys()
    if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
        yield "anyOf"
    if in_list and "default" in node:
        yield "defaults inside list items and maps break merging"
    if node.get("default") in ("", [], {}):
        yield "absence says it already"


def test_schema_is_structural() -> None:
    found = {path: [*unstructural(node, in_list=in_list)] for path, (node, in_list) in ALL.items()}
    offenders = [f"{path or 'the root'}: {', '.join(why)}" for path, why in found.items() if why]
    assert not offenders, "\n".join(offenders)


def test_every_field_is_described() -> None:
    offenders = [path for path, node in NAMED.items() if not node.get("description", "").endswith((".", ".)"))]
    assert not offenders, f"no sentence of its own: {', '.join(offenders)}"


def test_every_rule_tells_what_to_do() -> None:
    rules = [
        (path, rule["message"]) for path, (node, _) in ALL.items() for rule in node.get("x-kubernetes-validations", ())
    ]
    offenders = [f"{path or 'the root'}: {message}" for path, message in rules if not 20 < len(message) < 250]
    assert not offenders, "\n".join(offenders)
    assert len(rules) > 50


def test_no_bare_pattern_reaches_a_user_except_for_quantities() -> None:
    assert {"quantity"} == {
        "quantity" if node.get("x-kubernetes-int-or-string") else path
        for path, (node, _) in ALL.items()
        if "pattern" in node and not path.startswith("CostLedger.")  # the operator alone writes it
    }


def test_crd_is_far_below_the_limit_of_client_side_apply() -> None:
    """kubectl keeps the object in it as compact JSON."""
    applied = {p: len(json.dumps(yaml.safe_load(text))) for p, text in artefacts().items() if p.endswith(".yaml")}
    assert applied
    assert max(applied.values()) < 128 * 1024, "an annotation, and so `kubectl apply`, ends at 256 KiB"


def test_a_policy_is_of_the_cluster_and_has_no_status_that_could_lie() -> None:
    assert ("Cluster", ["mpol"]) == (POLICY["spec"]["scope"], POLICY["spec"]["names"]["shortNames"])
    assert "subresources" not in POLICY["spec"]["versions"][0]
    assert {"spec"} == schema_of(POLICY)["properties"].keys()


def test_a_privacy_policy_is_of_a_namespace_and_has_no_status_that_could_lie() -> None:
    assert ("Namespaced", ["ppol"]) == (PRIVACY["spec"]["scope"], PRIVACY["spec"]["names"]["shortNames"])
    assert "subresources" not in PRIVACY["spec"]["versions"][0]
    assert {"spec"} == schema_of(PRIVACY)["properties"].keys()


def test_names_subresources_and_columns() -> None:
    assert ["mdep"] == CRD["spec"]["names"]["shortNames"]
    assert ["all", "ml"] == CRD["spec"]["names"]["categories"]
    assert {"status", "scale"} == VERSION["subresources"].keys()
    assert ["Ready", "Reason", "Model", "Replicas", "Cost/h", "Age"] == [
        column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")
    ]


def test_every_floor_of_a_policy_has_a_column() -> None:
    columns = POLICY["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = {column["jsonPath"].split(".")[2] for column in columns if column["jsonPath"].startswith(".spec.")}
    assert schema_of(POLICY)["properties"]["spec"]["properties"].keys() == shown
    narrow = {column["name"] for column in columns if column["type"] == "boolean" and not column.get("priority")}
    assert {"Encryption", "Verification", "Digest", "Authentication", "Privacy"} == narrow


@pytest.mark.parametrize("path", [*VERSION["subresources"]["scale"].values()])
def test_scale_points_at_fields_that_exist(path: str) -> None:
    assert path in ALL


def test_each_call_returns_a_fresh_value() -> None:
    modeldeployment_crd()["spec"]["names"]["shortNames"].append("changed")
    assert CRD == modeldeployment_crd()


class Inner(Struct):
    """A part."""

    size: int = Field(default=3, ge=1, le=9, description="How big.")


class Outer(Struct):
    """A whole."""

    inner_part: Inner | None = Field(default=None, description="The field's own words.", examples=[{"size": 4}])
    parts: list[Inner] = Field(default=[], max_length=2, description="More.")
    total: int | None = Field(default=None, ge=0, description="All.")


def test_optional_structs_lists_and_numbers_become_structural() -> None:
    number = {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9, "description": "How big."}
    expected = {
        "type": "object",
        "description": "A whole.",
        "properties": {
            "innerPart": {
                "type": "object",
                "description": "The field's own words.",
                "properties": {"size": {**number, "default": 3}},
            },
            "parts": {
                "type": "array",
                "maxItems": 2,
                "description": "More.",
                "items": {"type": "object", "description": "A part.", "properties": {"size": number}},
            },
            "total": {"type": "integer", "format": "int64", "minimum": 0, "description": "All."},
        },
    }
    assert expected == structural_schema(Outer)


def test_reference_names_every_field() -> None:
    heading, *sections = re.split(r"^## ", reference(), flags=re.MULTILINE)
    assert heading.startswith("<!-- Generated")
    rows = dict(section.split("\n", 1) for section in sections)
    offenders = []
    for path in NAMED:
        parent, _, field = path.rpartition(".")
        if parent not in KINDS and f"| `{field}` |" not in rows.get(parent.removeprefix("."), ""):
            offenders.append(path)
    assert not offenders, f"not in the reference: {', '.join(offenders)}"


def test_reference_leads_to_every_other_kind() -> None:
    beginning = reference().split("\n## ", 1)[0]
    assert not [kind for kind in KINDS if kind and f"[{kind}](#{kind.lower()})" not in beginning]


def test_the_digest_says_what_it_is_of() -> None:
    description = NAMED[".spec.model.digest"]["description"]
    for kind in ("single file, its", "sealed folder or artifact, that of manifest.json", "another folder or artifact"):
        assert kind in description


def test_reference_prints_limits_rules_and_examples() -> None:
    text = reference()
    assert "| `uri` | string | **required** | 1 to 2048 characters |" in text
    assert "| `maxBatchSize` | integer | `32` | 1 to 4096 |" in text
    assert "| `strategy` | `Auto`, `RollingUpdate`, `Recreate` | `Auto` |  |" in text
    assert "* set exactly one of value and valueFrom" in text
    assert "`s3://models/fraud/7/`" in text
    assert "| `imagePullSecrets` | list of [object](#specruntimeimagepullsecrets), unique by `name` |" in text, (
        "a type leads on"
    )
