"""Every field of a PrivacyPolicy has an entry: what it protects from, what not, what it costs, and an example that is accepted."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.api.crd import privacypolicy_crd
from modelward_operator.api.parse import Invalid, parse, parse_privacy
from tests.makers import make_model

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "operator/src/modelward_operator/policies/privacy/FIELDS.md").read_text()
ENTRIES = {
    name: text
    for heading, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`([^`]+)`", heading)
}
SPEC = privacypolicy_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def leaves(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every field that holds no further ones."""
    for name, field in node.get("properties", {}).items():
        inner, below = (
            (field["items"], f"{path}{name}[].") if field.get("type") == "array" else (field, f"{path}{name}.")
        )
        if "properties" in inner:
            yield from leaves(inner, below)
        else:
            yield f"{path}{name}"


@pytest.mark.parametrize("path", [path for path in leaves(SPEC) if not path.endswith("tensors[].name")])
def test_every_field_has_an_entry(path: str) -> None:
    assert any(path == entry or path.startswith((f"{entry}.", f"{entry}[")) for entry in ENTRIES), (
        f"{path} has no entry"
    )


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_what_a_reader_must_know(name: str) -> None:
    text = ENTRIES[name]
    for words in ("**Protects from**", "**Does not**", "**Costs**"):
        assert words in text, f"{name}: {words}"
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    spec = yaml.safe_load(example)
    found = parse(make_model(spec)) if name.startswith("privacy.") else parse_privacy({"spec": spec})
    assert not isinstance(found, Invalid), found
    assert {entry.partition(".")[0] for entry, shared in ENTRIES.items() if shared == text} & spec.keys(), (
        "it shows the field"
    )


def test_every_entry_is_of_a_field_that_exists() -> None:
    known = {*leaves(SPEC)}
    paths = {path[: match.start()] for path in known for match in re.finditer(r"[.\[]|$", path)}
    assert {"privacy.policyRef"} == ENTRIES.keys() - known - paths


def test_a_reference_is_told_to_lie_beside_the_policy_and_not_beside_some_other_kind() -> None:
    assert "ModelDeployment's own namespace" not in json.dumps(SPEC)
