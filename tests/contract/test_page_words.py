"""The words of our pages are the code's: what they call a field, a value of the chart, a flag or a target of the fuzzer is one."""

import argparse
import re
from typing import Any, Final

import yaml

import e2e.fuzz.targets  # noqa: F401  registers them
from e2e.fuzz.target import TARGETS
from modelward_operator.plugin.cli import make_parser as plugin_parser
from modelward_runtime.cli import _parser as runtime_parser
from tests.contract.test_links import ROOT, pages

Json = dict[str, Any]
_QUOTED: Final = re.compile(r"`([^`\n]+)`")
_PATH: Final = re.compile(r"(?<![\w./-])[a-z][A-Za-z0-9]*(?:(?:\[\])?\.[a-z][A-Za-z0-9]*)+(?![\w/(-])")
_COMMAND: Final = re.compile(r"(?<![\w/.-])(kubectl modelward|modelward) +([a-z]+)((?: [^\n|`#;&]*)?)")
_FLAG: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OTHERS: Final = {
    ("operator/tasks/coming-from.md", "spec.replicas"): "a Deployment's",
    ("operator/tasks/coming-from.md", "status.state"): "Seldon's",
    ("operator/src/modelward_operator/policies/access/FIELDS.md", "status.audiences"): "a TokenReview's",
    ("operator/src/modelward_operator/plugin/README.md", "status.py"): "a file",
    ("operator/decisions/0023-from-v1alpha1-to-v1.md", "status.storedVersions"): "a CustomResourceDefinition's",
}


def kinds() -> list[Json]:
    """The schema of each of our kinds."""
    read = [yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader) for file in (ROOT / "crds").glob("*.yaml")]
    return [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in read]


def has(schema: Json, path: str) -> bool:
    """Is there such a field? Keys of a map are any word."""
    for step in path.replace("[]", "").split("."):
        while schema.get("type") == "array":
            schema = schema["items"]
        if step in schema.get("properties", {}):
            schema = schema["properties"][step]
        elif isinstance(schema.get("additionalProperties"), dict):
            schema = schema["additionalProperties"]
        else:
            return "properties" not in schema and schema.get("type") == "object"
    return True


def is_value(values: Any, path: str) -> bool:
    """Is there such a value of the chart? What is empty by default may hold anything."""
    for step in path.split("."):
        if not values or not isinstance(values, dict):
            return not values
        if step not in values:
            return False
        values = values[step]
    return True


def words(page: str) -> set[str]:
    """Paths with points that a page sets in code within its text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return {path for quoted in _QUOTED.findall(text) for path in _PATH.findall(quoted)}


def commands(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """Each command's flags."""
    return {name: flags(sub) for name, sub in _below(parser).items()}


def flags(parser: argparse.ArgumentParser) -> set[str]:
    """A command's flags, and those of the commands below it."""
    own = {flag for action in parser._actions for flag in action.option_strings}
    return own.union(*(flags(sub) for sub in _below(parser).values()))


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    lists = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: sub for choices in lists for name, sub in choices.items()}


def test_a_field_that_a_page_names_is_a_field() -> None:
    schemas = kinds()
    named = {(page, path) for page in pages() for path in words(page) if path.split(".")[0] in {"spec", "status"}}
    assert {one for one in named if not any(has(schema, one[1]) for schema in schemas)} == OTHERS.keys()


def test_a_value_that_a_page_names_is_a_value_of_the_chart() -> None:
    values = yaml.safe_load((ROOT / "helm/modelward/values.yaml").read_text(encoding="utf-8"))
    own = values.keys() - {
        "access",
        "runtime",
        "serviceAccount",
        "networkPolicy",
        "metrics",
    }  # sections of other things, too
    named = {(page, path) for page in pages() for path in words(page) if path.split(".")[0] in own}
    assert len(named) > 20, "pages do speak of values"
    assert not {one for one in named if not is_value(values, one[1])}


def test_a_command_that_a_page_shows_is_one_and_has_its_flags() -> None:
    known = {"modelward": commands(runtime_parser()), "kubectl modelward": commands(plugin_parser())}
    shown = 0
    for page in set(pages()) - {"CHANGELOG.md"}:
        text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for program, command, rest in _COMMAND.findall(text):
            asked = set(_FLAG.findall(rest))
            assert asked <= known[program].get(command, set()), f"{page}: {program} {command}{rest}"
            shown += bool(asked)
    assert shown > 20, "pages do show flags"


def test_the_page_of_the_fuzzer_has_every_target() -> None:
    page = (ROOT / "e2e/fuzz/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[a-z0-9]+` ?)+)\|", page, re.MULTILINE)
    assert TARGETS.keys() == set(re.findall(r"[a-z0-9]+", " ".join(rows)))
