"""The variables of the chart's ValidatingAdmissionPolicies, and the specs that they compare, for the tests of what may be relaxed."""

from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[1] / "helm" / "manifests" / "modelward.yaml"


def rules_of(policy: str) -> dict[str, str]:
    """Return the CEL expressions of one policy, by the names of its variables."""
    return {
        variable["name"]: variable["expression"]
        for item in yaml.safe_load_all(MANIFESTS.read_text())
        if item and (item["kind"], item["metadata"]["name"]) == ("ValidatingAdmissionPolicy", policy)
        for variable in item["spec"]["variables"]
    }


def spec_of(crd: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the spec of a CRD's first version."""
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema
