"""What this process may use of the machine: processors by cgroup quota and affinity mask, memory by cgroup limit.

ONNX Runtime counts the host's cores and knows nothing of cgroups, so a pod with one CPU on a 64-core node would start 64
threads that throttle each other. `engine.py` sizes its thread pool by `measure` instead, `ports.py` the budget of request bodies
by `memory_limit`. It must not change anything.

    cgroup v2   /proc/self/cgroup "0::/a/b"        ▶ /sys/fs/cgroup/a/b/cpu.max, and of every parent: the smallest counts
    cgroup v1   /proc/self/cgroup "4:cpu,cpuacct:/a" ▶ /sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us / cpu.cfs_period_us
    memory      the same way: memory.max, or memory.limit_in_bytes
    in a pod    the path may name the host's tree, which is not mounted: then the mount's own root is this pod's cgroup
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

NumberT = TypeVar("NumberT", int, float)


class Hardware(msgspec.Struct, frozen=True):
    """Processors in the affinity mask, and the CPU quota in processors (None: unlimited)."""

    processors: int
    quota: float | None

    @property
    def threads(self) -> int:
        """Threads that can run at once. A part of a processor counts as none: one thread too many stalls them all."""
        if self.quota is None:
            return self.processors
        return max(1, min(self.processors, int(self.quota)))

    @property
    def spinning(self) -> bool:
        """Whether idle threads may spin: under a quota that burns the time that the work needs."""
        return self.quota is None


def measure(root: Path = Path("/")) -> Hardware:
    """The limits in force now; `root` is where proc and sys are (tests build a tree of their own)."""
    return Hardware(processors=len(os.sched_getaffinity(0)), quota=cpu_quota(root))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The smallest CPU quota on the way from this process's cgroup to the root, in processors."""
    return min(_limits(root, "cpu", _quota_v2, _quota_v1), default=None)


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes: the smallest limit on the same way, or the machine's memory where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(root, "memory", _memory_v2, _memory_v1)])


def _limits(
    root: Path, controller: str, v2: Callable[[Path], NumberT | None], v1: Callable[[Path], NumberT | None]
) -> Iterator[NumberT]:
    """Every limit on the way from this process's cgroup to the root."""
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        found: list[NumberT | None] = []
        if not controllers:
            found = [v2(folder) for folder in _folders(mounts, path)]
        elif controller in controllers.split(","):
            found = [v1(folder) for name in (controllers, controller) for folder in _folders(mounts / name, path)]
        yield from (limit for limit in found if limit is not None)


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup's folder and its parents, up to the mount itself."""
    folder = mount / path.lstrip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _quota_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    return None if len(fields) < 2 or fields[0] == "max" else int(fields[0]) / int(fields[1])


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return None if not quota or not period or int(quota) <= 0 else int(quota) / int(period)


def _memory_v2(folder: Path) -> int | None:
    text = _read(folder / "memory.max")
    return None if text in {"", "max"} else int(text)


def _memory_v1(folder: Path) -> int | None:
    text = _read(folder / "memory.limit_in_bytes")
    return int(text) if text else None  # without a limit it is nearly 2 to the 63, more than any machine has


def _read(file: Path) -> str:
    """The file's text, empty when it is not there: no cgroups means no limit."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
