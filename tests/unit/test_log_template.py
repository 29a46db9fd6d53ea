"""The log's schema: every field that the code may log is in the index template, and the page has the same table."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.log_template import CHART, MAPPINGS, PROPERTIES, TEMPLATE, misfits

SOURCE = Path(__file__).parents[2] / "operator" / "src" / "modelward_operator"
CONTEXT = {"within", "correlate"}
LINE = {"time": "2026-11-26T06:00:00.000+00:00", "level": "INFO", "logger": "x", "message": "y"}


def logged() -> Iterator[tuple[str, str]]:
    """Give each name of `extra={...}` or of `log.within(...)` in the operator's code, with its file."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            of_context = isinstance(node.func, ast.Attribute) and node.func.attr in CONTEXT
            for keyword in node.keywords:
                if of_context and keyword.arg:
                    yield keyword.arg, file.name
                for value in ast.walk(keyword.value) if keyword.arg == "extra" else ():
                    if isinstance(value, ast.Dict):
                        yield from ((str(ast.literal_eval(key)), file.name) for key in value.keys if key)


def test_every_field_that_is_logged_is_in_the_template() -> None:
    names = set(logged())
    assert {("error", "main.py"), ("event", "watch.py"), ("pass", "rings.py")} <= names, "the search finds them"
    assert [] == sorted(one for one in names if one[0] not in PROPERTIES)


def test_every_field_has_a_meaning_and_the_page_has_the_table() -> None:
    meanings = MAPPINGS["_meta"]["meanings"]
    assert list(PROPERTIES) == list(meanings)
    rows = "".join(f"| `{name}` | {PROPERTIES[name]['type']} | {meanings[name]} |\n" for name in PROPERTIES)
    assert f"| field | type | meaning |\n|---|---|---|\n{rows}" in (CHART / "LOGS.md").read_text()


def test_what_is_not_in_the_template_is_kept_and_makes_no_new_field() -> None:
    assert MAPPINGS["dynamic"] is False
    assert ["modelward-operator-*"] == TEMPLATE["index_patterns"]


@pytest.mark.parametrize(
    ("reason", "line", "found"),
    [
        ("nothing is wrong", LINE, []),
        ("a field that nobody knows", LINE | {"colour": "red"}, ["colour is not in the template"]),
        ("a number in words", LINE | {"code": "200"}, ["code is no integer: '200'"]),
        ("a flag for a number", LINE | {"code": True}, ["code is no integer: True"]),
        ("a time without a zone", LINE | {"time": "2026-11-26T06:00:00"}, ["time is no date: '2026-11-26T06:00:00'"]),
        ("a line without a level", {k: v for k, v in LINE.items() if k != "level"}, ["there is no level"]),
        ("a word for a map", LINE | {"objects": "Pod"}, ["objects is no flattened: 'Pod'"]),
        ("a word that is cut off", LINE | {"path": "x" * 1025}, [f"path is no keyword: {'x' * 1025!r}"]),
    ],
)
def test_lines_are_judged(reason: str, line: dict[str, object], found: list[str]) -> None:
    assert found == list(misfits(line)), reason
