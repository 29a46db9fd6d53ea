"""A virtual environment for each server, outside the clone, from its pinned requirements; made once, made anew when they change."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from e2e.cluster.alone import alone
from e2e.cluster.paths import cache
from e2e.cluster.progress import Screen

REQUIREMENTS: Final = Path(__file__).parent / "requirements"
STAMP: Final = "made-from.txt"
"""A copy of what the environment was made from; written last, so that a broken one is made again."""

INTERPRETERS: Final = {"pytriton": "/usr/bin/python3"}
"""Where it cannot be ours: Triton brings an interpreter of its own (3.11.x), which stumbles over the standard library of later 3.11s."""


class NotInstalledError(RuntimeError):
    """The environment could not be made."""


def version(name: str, package: str) -> str:
    """The version of `package` that environment `name` has; KeyError: it has none."""
    for line in _pinned(name).splitlines():
        found, _, number = line.partition("==")
        if found == package:
            return number
    raise KeyError(package)


def environment(name: str) -> Path:
    """The folder with the environment's programs; it is installed first where it is missing or of other versions.

    NotInstalledError: that failed.
    """
    folder = cache() / "peers" / name
    if not _is_made(folder, name):
        screen = Screen()
        with alone("peers", screen):
            if not _is_made(folder, name):
                with screen.step(f"install {name} into an environment of its own"):
                    _install(folder, REQUIREMENTS / f"{name}.txt", INTERPRETERS.get(name, sys.executable))
    return folder / "bin"


def _pinned(name: str) -> str:
    return (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")


def _is_made(folder: Path, name: str) -> bool:
    stamp = folder / STAMP
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _pinned(name)


def _install(folder: Path, requirements: Path, interpreter: str) -> None:
    """With compiled modules: a server's start is measured, and the first one must not pay for all."""
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", interpreter, str(folder))
    _uv("pip", "install", "--compile-bytecode", "--python", str(folder / "bin" / "python"), "-r", str(requirements))
    shutil.copyfile(requirements, folder / STAMP)


def _uv(*arguments: str) -> None:
    done = subprocess.run(["uv", *arguments, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotInstalledError(f"uv {arguments[0]} failed: {done.stderr.strip()[-300:]}")
