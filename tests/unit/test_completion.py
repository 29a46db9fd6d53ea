"""A real bash completes commands, flags, choices and files from the script that `modelward completion bash` prints."""

import subprocess
from pathlib import Path

import pytest

from modelward_runtime import cli
from modelward_runtime.completion import script

SCRIPT = script(cli._parser(), "bash")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("modelward se", {"serve", "seal"}),
        ("modelward keygen ", {"kek", "signing", "audit", "--help", "--out", "--json"}),
        ("modelward keygen s", {"signing"}),
        ("modelward verify --m", {"--model-version"}),
        ("modelward audit ve", {"verify"}),
        ("modelward audit verify --tr", {"--trust"}),
        ("modelward audit verify --partial mod", {"model.onnx"}),
        ("modelward rewrap --keep-old --new", {"--new-kek", "--new-kek-id"}),
        ("modelward seal mod", {"model.onnx"}),
        ("modelward seal --kek mod", {"model.onnx"}),
        ("modelward seal --json --tena", {"--tenant"}),
    ],
)
def test_bash_completes(line: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    program = f"{SCRIPT}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _modelward; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (set(done.stdout.split()), done.stderr) == (expected, "")


def test_zsh_runs_the_same_script() -> None:
    assert script(cli._parser(), "zsh").endswith(SCRIPT)


def test_the_examples_of_the_help_are_right() -> None:
    parser = cli._parser()
    for name, lines in cli.EXAMPLES.items():
        assert [name] * len(lines) == [parser.parse_args(line.split(" ")).command for line in lines]


def test_a_commands_help_begins_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["digest", "--help"])
    assert "\nPrint the digest of a model file or folder, for spec.model.digest.\n" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["run --help", "run", "run --boot", "run --boot b --policy p more", "run --kek k"])
def test_what_pods_run_is_known_without_the_other_commands(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for others in (True, False):
        with pytest.raises(SystemExit) as ended:
            cli._parser(others=others).parse_args(words.split())
        said.append((ended.value.code, capsys.readouterr()))
    assert said[0] == said[1]
