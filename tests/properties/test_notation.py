"""JSON is written and read by another library than the standard one, and nobody can tell: neither the API server nor a hash."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.cluster.notation import read_json, write_json
from modelward_operator.plan.names import fingerprint, fingerprint_of_object

PLANS = sorted((Path(__file__).parents[1] / "golden/plan").glob("*.yaml"))

texts = st.text(st.characters(exclude_categories=["Cs"]))


def documents(numbers: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Whatever JSON can say, with these numbers."""
    leaves = st.none() | st.booleans() | numbers | texts
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


whole = st.integers(-(2**63), 2**64 - 1)
fractions = st.floats(allow_nan=False, allow_infinity=False)


@given(documents(whole | fractions))
def test_what_is_written_reads_as_before_by_either(value: object) -> None:
    assert value == json.loads(write_json(value))
    assert value == read_json(json.dumps(value).encode()) == read_json(write_json(value))


@given(documents(whole))
def test_without_fractions_the_text_is_the_same_and_so_is_the_hash(value: object) -> None:
    assert json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() == write_json(value)
    assert fingerprint(value) == fingerprint_of_object(value)


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_no_child_holds_a_fraction(file: Path) -> None:
    drawn = list(yaml.safe_load_all(file.read_text()))
    assert drawn
    assert [leaf for leaf in leaves(drawn) if isinstance(leaf, float)] == []


@pytest.mark.parametrize("half", ["\ud800", "a\udfff", {"\udc00": 1}])
def test_half_a_character_is_written_as_the_standard_library_writes_it(half: object) -> None:
    assert json.dumps(half, separators=(",", ":")).encode() == write_json(half)


@pytest.mark.parametrize("half", ["\ud800", "a\udfff", {"\udc00": 1}, {"data": ["\U0001f600\ud83d"]}])
def test_half_a_character_that_is_escaped_is_read_as_the_standard_library_reads_it(half: object) -> None:
    """One object of somebody's must not make the list that holds it unreadable."""
    text = json.dumps({"items": [half, 1]}).encode()
    assert {"items": [half, 1]} == read_json(text) == read_json(write_json(read_json(text)))


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a":1}x', b'"\xff"', b"<html>", b"[NaN]", b"[-Infinity]", b'"\xed\xa0\x80"']
)
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(text)


def leaves(value: object) -> Iterator[object]:
    """Everything in it that holds nothing else."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value
