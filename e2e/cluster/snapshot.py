"""What the machine looks like from outside the cluster, to prove that `down` leaves nothing.

`take()` reads everything that the cluster could leave behind; `compare` says what is there now and was not before, or
the other way round. Both are used by e2e/machine/test_down_leaves_nothing.py; .ci/run compares the machine before the
first `up` with that after the last `down`, and so can you:

    python3 e2e/cluster snapshot > before; make up; make down; python3 e2e/cluster snapshot | diff before -

Others work on the machine too: of processes and cgroups only those count that a cluster makes, and counters of packets do
not.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from e2e.cluster.failures import ClusterError
from e2e.cluster.paths import CGROUP, CLAIMED, RUN, STATE, cache

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
MADE_BY_MOUNT = "/run/mount"  # by the first mount(8) on a machine, whoever calls it
RUNTIMES = re.compile(r"/(kubepods|k8s\.io|cri-containerd|crio|libpod|buildah|containerd)|/pod[0-9a-f]{8}-")
COUNTERS = re.compile(r" ?\[\d+:\d+\]")  # of packets and bytes, in what iptables-save prints


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
    """A cluster's processes in pid namespaces other than ours, and the tools that lead into them or leave some behind.

    A command run by `shell` shares the cluster's network only, and is its user's: it is not counted.
    """
    own = _link(Path("/proc/self/ns/pid"))
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        space, program = _link(folder / "ns" / "pid"), Path(_link(folder / "exe"))
        leads = space != own or program.name.startswith(LEADING)
        if space and leads and _is_of_a_cluster(folder, str(program)):
            found.append(f"{folder.name} {program}")
    return found


def _is_of_a_cluster(folder: Path, program: str) -> bool:
    """Say whether the process is in a pod's cgroup, is one of our programs or was told to work in our folders."""
    told = f"{program}\0{_text(folder / 'cmdline')}"
    marks = (str(STATE), str(RUN), str(cache()), "e2e/cluster/")
    return f"/{CGROUP}/" in _text(folder / "cgroup") or any(mark in told for mark in marks)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


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
    present = [*entries, *(str(path) for path in (*CLAIMED, STATE, RUN) if path.exists())]
    return [path for path in present if path != MADE_BY_MOUNT]


def _cgroups() -> list[str]:
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if could_be_a_clusters(folder)]


def could_be_a_clusters(cgroup: str) -> bool:
    """Say whether a cluster could have made the cgroup: below its own, or, astray, by the name that a runtime gives."""
    return f"/{CGROUP}/" in f"{cgroup}/" or bool(RUNTIMES.search(cgroup))


def _lines(*command: str) -> Callable[[], list[str]]:
    def read() -> list[str]:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or f"{command[0]} is not installed: python3 e2e/cluster packages"
            raise ClusterError(f"cannot look at the machine with {' '.join(command)}: {said.strip()}") from error
        lines = (COUNTERS.sub("", line) for line in done.stdout.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

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
    "nftables": _lines("nft", "--stateless", "list", "ruleset"),
}
