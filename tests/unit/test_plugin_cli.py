"""The plugin's arguments: what chooses a cluster is handed to kubectl wherever it stands, and what goes wrong has its exit status."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from modelward_operator.cli import main as operator_main
from modelward_operator.plugin.cli import EXAMPLES, main, make_parser
from modelward_operator.plugin.commands import COMMANDS
from modelward_operator.plugin.completion import _commands

GOOD = "apiVersion: modelward.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: fraud}\nspec: {model: {uri: s3://models/fraud/7/}}\n"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a script that stands in for kubectl writes what it was asked."""
    script, log = tmp_path / "kubectl", tmp_path / "asked"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\necho "no such model" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return log


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "fraud", "-n", "risk", "--context", "c", "--kubeconfig", "k", "--as", "alice"],
        ["-n", "risk", "--context", "c", "--kubeconfig", "k", "--as", "alice", "status", "fraud"],
        ["-n", "shop", "--context", "c", "status", "fraud", "-n", "risk", "--kubeconfig", "k", "--as", "alice"],
    ],
)
def test_what_chooses_a_cluster_may_stand_anywhere(
    arguments: list[str], asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(arguments)
    expected = "--context c --kubeconfig k --as alice get modeldeployments.modelward.dev fraud -n risk -o json\n"
    assert expected == asked.read_text()
    assert "kubectl modelward: no such model\n" == capsys.readouterr().err


def test_without_a_namespace_it_is_the_contexts(asked: Path) -> None:
    assert 2 == main(["history", "fraud"])
    assert "config view --minify -o jsonpath={..namespace}\n" == asked.read_text()


def test_every_command_knows_json(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            make_parser().parse_args([name, "--help"])
        assert "json" in capsys.readouterr().out, name


def test_plan_needs_no_cluster_and_prints_what_kubectl_takes(
    tmp_path: Path, asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(GOOD)
    assert 0 == main(["plan", "-f", str(file), "-n", "risk", "-o", "json"])
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert ("List", "v1") == (found["kind"], found["apiVersion"])
    assert "Deployment" in {item["kind"] for item in found["items"]}
    assert "# egress: " in printed.err, "remarks stay out of the document"
    assert not asked.exists()


def test_without_a_context_it_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "kubectl"
    script.write_text('#!/bin/sh\necho "error: current-context must exist in order to minify" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert 2 == main(["status", "fraud"])
    assert "name a cluster with --context or KUBECONFIG, a namespace with -n" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "run"), [("kubectl modelward", main), ("modelward-operator", operator_main)])
def test_a_command_says_which_version_it_is(
    command: str, run: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(["--version"])
    assert f"{command} {version('modelward-operator')}\n" == capsys.readouterr().out


@pytest.mark.parametrize("run", [main, operator_main])
def test_a_commands_help_begins_with_what_it_does(
    run: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(["plan", "--help"])
    assert "\nPrint the children that a ModelDeployment would get; needs no cluster.\n" in capsys.readouterr().out


def test_every_command_has_examples_and_they_are_right() -> None:
    parser = make_parser()
    assert COMMANDS.keys() == EXAMPLES.keys()
    for name, lines in EXAMPLES.items():
        assert [name] * len(lines) == [parser.parse_args(shlex.split(line)).command for line in lines]


def test_what_can_be_asked_for_can_be_run() -> None:
    assert COMMANDS.keys() == _commands(make_parser()).keys()


HEAVY = {
    "pydantic",
    "msgspec",
    "yaml",
    "prometheus_client",
    "cryptography",
    "aiohttp",
    "kubernetes",
    "kopf",
    "asyncio",
    "ssl",
}
"""Each takes from a tenth of a second to half of one to import, which every press of the tabulator key would wait for."""


@pytest.mark.parametrize(
    ("module", "arguments", "status"),
    [
        ("plugin.cli", ["--help"], 0),
        ("plugin.cli", ["cost", "--help"], 0),
        ("plugin.cli", ["--version"], 0),
        ("plugin.cli", ["predict", "fraud"], 2),
        ("plugin.completion", ["st"], 0),
        ("plugin.completion", ["status", "-n", ""], 0),
        ("cli", ["--help"], 0),
        ("cli", ["simulate", "--parallel", "0"], 2),
    ],
    ids=lambda found: found if isinstance(found, str) else " ".join(found) if isinstance(found, list) else None,
)
def test_help_completion_and_mistakes_import_nothing_heavy(
    module: str, arguments: list[str], status: int, asked: Path
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", f"modelward_operator.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert status == done.returncode, done.stderr[-500:]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "argparse" in imported
    assert not HEAVY & imported


def test_arguments_that_are_wrong_end_with_two() -> None:
    for arguments in ([], ["fly"], ["predict", "fraud"], ["rollback", "fraud", "--to", "one"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert 2 == ended.value.code
