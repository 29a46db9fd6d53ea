"""What the runtime's pages and docstrings draw is what there is."""

import inspect
import json
import re
from pathlib import Path

import msgspec
import pytest

from modelward_runtime import config, errors, report
from tests.audit_logs import BOOT

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "runtime/OPERATIONS.md").read_text()
DIGEST = "sha256:" + 64 * "0"
TREE = re.compile(r"^ {4}(?P<stem>[│├└─ ]*)(?P<name>[A-Z][A-Za-z]+)\b", re.MULTILINE)


def drawn() -> dict[str, str]:
    """Return each error of the tree in the module's docstring with the one above it."""
    found, above = {}, {-1: "Exception"}
    for match in TREE.finditer(errors.__doc__ or ""):
        depth = len(match["stem"]) // 4
        found[match["name"]] = above[depth - 1]
        above[depth] = match["name"]
    return found


def test_the_tree_of_errors_is_drawn_whole() -> None:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)]
    assert {one.__name__: one.__bases__[0].__name__ for one in classes if one.__module__ == errors.__name__} == drawn()


def test_the_example_of_a_report_has_every_field() -> None:
    section = OPERATIONS[OPERATIONS.index("## The admin port") :]
    example = json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])
    assert json.loads(report.Report(BOOT, "b").to_json()).keys() == example.keys()


def examples(page: str) -> list[str]:
    """The blocks of JSON on a page."""
    text = (ROOT / "runtime" / page).read_text(encoding="utf-8")
    return re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_example_of_a_boot_file_is_read_and_shows_the_defaults_of_the_server() -> None:
    written, _, security = examples("CONFIGURATION.md")
    boot = json.loads(written.replace("sha256:…", DIGEST))
    parsed = config.parse_boot(json.dumps(boot).encode())
    assert parsed.server == config.Server()
    access, _ = examples("ACCESS.md")
    for section in (security, access):
        config.parse_boot(json.dumps(boot | json.loads(f"{{{section}}}")).encode())


@pytest.mark.parametrize(
    "record", [config.Boot, config.ModelSource, config.Engine, config.Batching, config.Server, config.Policy]
)
def test_the_page_about_the_files_names_every_field(record: type) -> None:
    page = (ROOT / "runtime/CONFIGURATION.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", page))
    assert {field.encode_name for field in msgspec.structs.fields(record)} <= named


def test_the_examples_of_a_policy_file_are_read() -> None:
    _, limits = examples("ACCESS.md")
    policy = json.loads(examples("CONFIGURATION.md")[1].replace('"input": {…}, "output": {…}', "").replace(", }", "}"))
    assert config.parse_policy(json.dumps(policy | json.loads(f"{{{limits}}}")).encode()).limits


@pytest.mark.parametrize("module", [errors, report])
def test_headings_that_a_docstring_cites_are_there(module: object) -> None:
    for page, heading in re.findall(r'([A-Z_]+\.md), "([^"]+)"', module.__doc__ or ""):
        assert re.search(rf"^#+ {re.escape(heading)}$", (ROOT / "runtime" / page).read_text(), re.MULTILINE), heading


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("the audit log exists", "another room"),
        ("ModelPolicy.allowedImages exists", "Let an admission policy of the cluster"),
        ("the CA's Secrets are read", "has no right to read Secrets and"),
    ],
)
def test_the_threat_model_says_nothing_that_is_over(reason: str, said: str) -> None:
    assert said not in " ".join((ROOT / "runtime/SECURITY.md").read_text().split()), reason
