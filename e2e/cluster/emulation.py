"""Whether this machine can run programs of another kind of machine: by an interpreter in binfmt_misc, as qemu-user-static brings it.

Called before images for another kind are built: their packages are installed by programs of that kind. It registers nothing itself: that is
the machine's, and outlives a build.
"""

import platform
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster.failures import ClusterError

INTERPRETERS: Mapping[str, str] = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
"""By architecture, what the interpreter of its programs is called."""
NATIVE: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}
REGISTERED = Path("/proc/sys/fs/binfmt_misc")


def native(machine: str = "") -> str:
    """Return what this machine's own kind is called; an empty string for one that nobody builds for."""
    return NATIVE.get(machine or platform.machine(), "")


def check(architecture: str, registered: Path = REGISTERED, machine: str = "") -> None:
    """Raise ClusterError, with what to do, when programs of that architecture cannot be run inside a build."""
    if native(machine) == architecture:
        return
    if not any(_runs(INTERPRETERS[architecture], entry) for entry in _entries(registered)):
        raise ClusterError(
            f"this machine cannot run programs of {architecture}: apt-get install qemu-user-static binfmt-support, "
            f"or build on one of {architecture}, and join the images with buildah manifest create and add"
        )


def _entries(registered: Path) -> list[str]:
    names = sorted(registered.iterdir()) if registered.is_dir() else []
    return [entry.read_text(errors="replace") for entry in names if entry.name not in {"register", "status"}]


def _runs(interpreter: str, entry: str) -> bool:
    """True for an entry that is on, and whose interpreter is held open (F): inside the build's own root it could not be found."""
    lines = dict(line.partition(" ")[::2] for line in entry.splitlines())
    is_fixed = "F" in lines.get("flags:", "")
    return "enabled" in lines and interpreter in lines.get("interpreter", "") and is_fixed
