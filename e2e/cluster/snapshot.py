"""What the machine looks like from outside the cluster, to prove that `down` leaves nothing.

`take()` reads everything that the cluster could leave behind; `compare` says what is there now and was not before, or
the other way round. Both are used by e2e/machine/test_down_leaves_nothing.py, and by hand:

    python3 e2e/cluster snapshot > before; make up; make down; python3 e2e/cluster snapshot | diff before -
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from e2e.cluster.paths import CLAIMED, RUN, STATE

Snapshot = dict[str, list[str]]

FOLDERS = tuple(
    Path(name)
    for name in (
        "/run",
        "/run/netns",
        "/run/containerd",
        "/var/lib",
        "/var/log",
        "/etc",
        "/etc/cni",
        "/opt",
        "/usr/libexec",
    )
)
LEADING = ("unshare", "nsenter", "containerd", "docker-registry", "buildah", "mmdebstrap")
FILES = ("/etc/hosts", "/etc/resolv.conf", "/usr/sbin/policy-rc.d")


def take() -> Snapshot:
    """The machine as it is now, topic by topic."""
    return {topic: sorted(read()) for topic, read in TOPICS.items()}


def compare(before: Snapshot, after: Snapshot) -> list[str]:
    """One line a difference: `mounts: + …` for what is new, `mounts: - …` for what has gone."""
    lines = []
    for topic in sorted(before.keys() | after.keys()):
        was, now = set(before.get(topic, [])), set(after.get(topic, []))
        lines += [f"{topic}: + {line}" for line in sorted(now - was)]
        lines += [f"{topic}: - {line}" for line in sorted(was - now)]
    return lines


def foreign_processes() -> list[str]:
    """Processes in pid namespaces other than ours, and the tools that lead into them or leave processes behind.

    A command run by `shell` shares the cluster's network only, and is its user's: it is not counted.
    """
    own = _link(Path("/proc/self/ns/pid"))
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        space, program = _link(folder / "ns" / "pid"), Path(_link(folder / "exe"))
        if space and (space != own or program.name.startswith(LEADING)):
            found.append(f"{folder.name} {program}")
    return found


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _mounts() -> list[str]:
    return [line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _files() -> list[str]:
    return [f"{name}: {Path(name).read_text()!r}" for name in FILES if Path(name).exists()]


def _folders() -> list[str]:
    entries = [str(entry) for folder in FOLDERS if folder.is_dir() for entry in folder.iterdir()]
    return entries + [str(path) for path in (*CLAIMED, STATE, RUN) if path.exists()]


def _cgroups() -> list[str]:
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup")]


def _lines(*command: str) -> Callable[[], list[str]]:
    def read() -> list[str]:
        try:
            text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            return []
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    return read


TOPICS: dict[str, Callable[[], list[str]]] = {
    "processes": foreign_processes,
    "mounts": _mounts,
    "files": _files,
    "folders": _folders,
    "cgroups": _cgroups,
    "ip netns": _lines("ip", "netns", "list"),
    "interfaces": _lines("ip", "-brief", "link"),
    "addresses": _lines("ip", "-brief", "address"),
    "routes": _lines("ip", "route"),
    "iptables": _lines("iptables-save"),
    "nftables": _lines("nft", "list", "ruleset"),
}
