"""What this process may use of the machine: processors by cgroup quota and affinity mask.

ONNX Runtime counts the host's cores and knows nothing of cgroups, so a pod with one CPU on a 64-core node would start 64
threads that throttle each other. `engine.py` sizes its thread pool by `measure` instead. It must not change anything.

    cgroup v2   /proc/self/cgroup "0::/a/b"        ▶ /sys/fs/cgroup/a/b/cpu.max, and of every parent: the smallest counts
    cgroup v1   /proc/self/cgroup "4:cpu,cpuacct:/a" ▶ /sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us / cpu.cfs_period_us
    in a pod    the path may name the host's tree, which is not mounted: then the mount's own root is this pod's cgroup
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hardware:
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
    quotas = [quota for quota in _quotas(root) if quota is not None]
    return min(quotas, default=None)


def _quotas(root: Path) -> Iterator[float | None]:
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from (_quota_v2(folder) for folder in _folders(mounts, path))
        elif "cpu" in controllers.split(","):
            for mount in (mounts / controllers, mounts / "cpu"):
                yield from (_quota_v1(folder) for folder in _folders(mount, path))


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


def _read(file: Path) -> str:
    """The file's text, empty when it is not there: no cgroups means no limit."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
