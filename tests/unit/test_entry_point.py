"""The serving image starts Python isolated: what a pod mounts and what its environment says cannot slip code beneath the checks."""

import json
import re
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


def test_the_images_heap_asks_for_huge_pages_and_a_large_model_does_not() -> None:
    (tunables,) = re.findall(r"GLIBC_TUNABLES=(\S+)", DOCKERFILE.read_text())
    code = (
        "import ctypes, sys\n"
        "from modelward_runtime.engine import _small_pages\n"
        "allocate, prctl = ctypes.CDLL(None).malloc, ctypes.CDLL(None).prctl\n"
        "allocate.restype = ctypes.c_void_p\n"
        "place = allocate(ctypes.c_size_t(64 << 20))\n"
        "areas = open('/proc/self/smaps').read().split('VmFlags:')\n"
        "def holds(area):\n"
        "    begin, end = (int(text, 16) for text in area.split('\\n')[1].split(' ')[0].split('-'))\n"
        "    return begin <= place < end\n"
        "flags = next(after for area, after in zip(areas[1:-1], areas[2:]) if holds(area)).split('\\n')[0].split()\n"
        "disabled = [prctl(42, 0, 0, 0, 0)]\n"
        "with _small_pages():\n"
        "    disabled.append(prctl(42, 0, 0, 0, 0))\n"
        "disabled.append(prctl(42, 0, 0, 0, 0))\n"
        "print('hg' in flags, disabled)\n"
    )
    for told, expected in ((tunables, "True [0, 1, 0]"), ("", "False [0, 1, 0]")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"GLIBC_TUNABLES": told}, capture_output=True, text=True, check=True
        )
        assert expected == done.stdout.strip()
