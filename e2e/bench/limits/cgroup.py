"""A cgroup with a CPU quota for one process, version 2 or 1, whichever can be written here. Needs root, and leaves nothing behind."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD = 100_000  # microseconds, as the kubelet sets it
ROOT = Path("/sys/fs/cgroup")


class NoCgroup(Exception):
    """No CPU quota can be set here; says why."""


class Cgroup:
    """One group. `wrap` makes a command line that enters it first."""

    def __init__(self, folder: Path, *, v2: bool) -> None:
        self._folder = folder
        self._v2 = v2

    def limit(self, cpus: float) -> None:
        """So much of a processor in each period, from now on."""
        quota = round(cpus * PERIOD)
        if self._v2:
            (self._folder / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota))

    def wrap(self, command: list[str]) -> list[str]:
        """The same command, inside."""
        return ["sh", "-c", f"echo $$ >{self._folder}/cgroup.procs && exec {shlex.join(command)}"]


@contextmanager
def cgroup() -> Iterator[Cgroup]:
    """A new group. Raises `NoCgroup`."""
    parent, v2 = _parent()
    folder = parent / f"modelward-limits-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NoCgroup(f"{folder} cannot be made: {error.strerror}") from error
    try:
        group = Cgroup(folder, v2=v2)
        try:
            group.limit(1)
        except OSError as error:
            raise NoCgroup(f"no CPU quota can be written in {folder}: {error.strerror}") from error
        yield group
    finally:
        folder.rmdir()


def _parent() -> tuple[Path, bool]:
    """Where groups with a CPU controller are: the top of the hierarchy, since a group of processes may have no limited children."""
    if "cpu" in _words(ROOT / "cgroup.subtree_control"):
        return ROOT, True
    for name in ("cpu", "cpu,cpuacct"):
        if (ROOT / name / "cpu.cfs_quota_us").exists() or (ROOT / name / "cgroup.procs").exists():
            return ROOT / name, False
    raise NoCgroup(f"{ROOT} has no CPU controller that groups could use")


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
