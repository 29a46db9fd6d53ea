"""The serving image starts Python isolated: what a pod mounts and what its environment says cannot slip code beneath the checks."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from modelward_runtime import __version__

DOCKERFILE = Path(__file__).parents[2] / "runtime" / "Dockerfile"


def entry_point() -> list[str]:
    """The image's entry point, with this Python in the place of the image's."""
    line = next(line for line in DOCKERFILE.read_text().splitlines() if line.startswith("ENTRYPOINT "))
    python, *rest = json.loads(line.removeprefix("ENTRYPOINT "))
    assert Path(python).is_absolute(), "PATH has no say"
    return [sys.executable, *rest]


def run(folder: Path, *command: str) -> str:
    """Run it where modules of an attacker's lie, and variables point at them."""
    (folder / "sitecustomize.py").write_text("print('slipped in')")
    (folder / "modelward_runtime.py").write_text("print('slipped in')")
    environment = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "", "PYTHONINSPECT": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout


def test_modules_of_the_environment_are_not_imported(tmp_path: Path) -> None:
    assert run(tmp_path, *entry_point(), "--version").startswith("modelward ")
    assert "slipped in" in run(tmp_path, sys.executable, "-c", "pass"), "without isolation they are"


def test_the_version_is_that_of_the_distribution() -> None:
    """It is written down in the package, since looking it up takes a start as long as starting Python."""
    assert version("modelward-runtime") == __version__


def test_no_bytecode_is_written_under_a_read_only_root() -> None:
    assert "-B" in entry_point(), "-I ignores PYTHONDONTWRITEBYTECODE"
