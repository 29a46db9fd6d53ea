"""Every field of a PrivacyPolicy has an entry: what it protects from, what not, what it costs, and an example that is accepted."""

import json

import pytest

from modelward_operator.api.crd import privacypolicy_crd
from modelward_operator.api.parse import Invalid, parse, parse_privacy
from tests.field_guides import check_entry, entries, explained, leaves, unknown_entries
from tests.makers import make_model

GUIDE = entries("privacy")
SPEC = privacypolicy_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


@pytest.mark.parametrize("path", [path for path in leaves(SPEC) if not path.endswith("tensors[].name")])
def test_every_field_has_an_entry(path: str) -> None:
    assert explained(path, GUIDE), f"{path} has no entry"


@pytest.mark.parametrize("name", GUIDE)
def test_an_entry_says_what_a_reader_must_know(name: str) -> None:
    spec = check_entry(name, GUIDE)
    found = parse(make_model(spec)) if name.startswith("privacy.") else parse_privacy({"spec": spec})
    assert not isinstance(found, Invalid), found


def test_every_entry_is_of_a_field_that_exists() -> None:
    assert {"privacy.policyRef"} == unknown_entries(GUIDE, set(leaves(SPEC)))


def test_a_reference_is_told_to_lie_beside_the_policy_and_not_beside_some_other_kind() -> None:
    assert "ModelDeployment's own namespace" not in json.dumps(SPEC)
