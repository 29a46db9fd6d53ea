"""The rule that lets a PrivacyPolicy tighten without a right knows every field: what it forgot could be loosened by anybody."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelward_operator.policies
from modelward_operator.api.crd import privacypolicy_crd
from tests.admission_rules import rules_of, spec_of

SPEC = spec_of(privacypolicy_crd())
RULES = rules_of("modelward-relax-policies")
SECTIONS = {
    "input": RULES["inputTightens"],
    "output": RULES["outputTightens"],
    "logging": RULES["loggingStays"],
    "audit": RULES["auditTightens"],
}
WHOLE = {
    "input": {"pii", "hashKeyRef", "columns"},
    "output": {"subjectKeyRef"},
    "logging": {"logging"},
    "audit": {"sink", "signingKeyRef", "inputHashKeyRef", "retention"},
}
"""Compared as wholes, so that what is below them need not be named."""


def named(node: dict[str, Any], section: str) -> Iterator[str]:
    """Yield the fields of a section that the rule must name."""
    for name, field in node.get("properties", {}).items():
        yield name
        inner = field["items"] if field.get("type") == "array" else field
        if name not in WHOLE[section]:
            yield from named(inner, section)


def test_the_sections_are_all_that_there_is() -> None:
    assert SPEC["properties"].keys() == SECTIONS.keys()


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "logging"])
def test_every_field_is_compared(section: str) -> None:
    compared = set(re.findall(r"\w+", SECTIONS[section]))
    assert {*named(SPEC["properties"][section], section)} <= compared


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_compared_as_a_whole_is_compared_so(section: str) -> None:
    for name in WHOLE[section]:
        assert re.search(rf"{name}(\.orValue\(\S+\))? == \S*{name}", SECTIONS[section]), name


@pytest.mark.parametrize("room", ["access", "encryption"])
def test_the_page_of_what_may_not_be_weakened_says_so(room: str) -> None:
    rooms = Path(modelward_operator.policies.__file__).parent
    assert "`relax` it" in (page := (rooms / room / "README.md").read_text())
    assert "(../privacy/README.md#weakening-needs-a-right)" in page
    assert "\n## Weakening needs a right\n" in (rooms / "privacy" / "README.md").read_text()
