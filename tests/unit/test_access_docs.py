"""Every field that closes the endpoint has an entry: what it protects from, what not, what it costs, and an example that is accepted."""

import pytest

from modelward_operator.api.crd import modeldeployment_crd
from modelward_operator.api.parse import Invalid, parse
from tests.field_guides import check_entry, entries, explained, leaves, unknown_entries
from tests.makers import make_model

GUIDE = entries("access")
SPEC = modeldeployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
SECURITY = SPEC["properties"]["security"]["properties"]
CLOSES = ("authentication", "tls", "networkPolicy", "rateLimit")
FIELDS = sorted(leaves({"properties": {name: SECURITY[name] for name in CLOSES}}))


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_has_an_entry(path: str) -> None:
    assert explained(path, GUIDE), f"{path} has no entry"


@pytest.mark.parametrize("name", GUIDE)
def test_an_entry_says_what_a_reader_must_know(name: str) -> None:
    found = parse(make_model({"security": check_entry(name, GUIDE)}))
    assert not isinstance(found, Invalid), found


def test_every_entry_is_of_a_field_that_exists() -> None:
    assert set() == unknown_entries(GUIDE, set(FIELDS))
