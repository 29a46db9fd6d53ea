"""Starts, recognises and ends the cluster's processes, all of them inside the namespaces of init.py.

A process is known by its pid and its start time, so a reused pid is never mistaken for ours. Each component leaves a
record under RUN/units: its line of /proc/PID/stat at birth (pids as the cluster's pid namespace numbers them) and a
digest of what it was started with, so that `up` can tell running from stale.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.paths import CGROUP, CLAIMED, HERE, LOGS, RUN, STATE

CGROUPS = Path("/sys/fs/cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The system's own interpreter where there is one: a virtual environment may vanish while the cluster runs.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"


@dataclass(frozen=True)
class Unit:
    """One component as it is to be started: its command, its environment and the files whose content it reads."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return LOGS / f"{self.name}.log"

    def digest(self) -> str:
        """Changes when the component would start differently."""
        summary = hashlib.sha256(json.dumps([self.command, self.environment]).encode())
        for file in self.reads:
            summary.update(file.read_bytes())
        return summary.hexdigest()


def start_time(stat: Path) -> str:
    """Field 22 of /proc/PID/stat; empty when there is no such process, or only its zombie."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


# ── the namespaces ────────────────────────────────────────────────────────────────────────────────────────────────


def init_pid() -> int:
    """The cluster's pid 1 as the machine numbers it; 0 when the cluster does not run."""
    record = _read(RUN / "init.json")
    pid = int(record.get("pid", 0))
    alive = pid and start_time(Path(f"/proc/{pid}/stat")) == record["start"]
    return pid if alive and (RUN / "ready").exists() else 0


def begin() -> None:
    """Make the namespaces and wait until their mounts and network stand. Call only where nothing is left over."""
    _write(STATE / "made.json", {"folders": [str(claimed) for claimed in CLAIMED if not claimed.exists()]})
    for folder in (*CLAIMED.keys(), *CLAIMED.values(), STATE / "hold"):
        folder.mkdir(parents=True, exist_ok=True)
    log = LOGS / "init.log"
    flags = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private"]
    token = secrets.token_hex(8)
    command = [
        "unshare",
        *flags,
        "env",
        "-i",
        f"PATH={PATH}",
        "PYTHONDONTWRITEBYTECODE=1",
        PYTHON,
        str(HERE / "init.py"),
        token,
    ]
    with log.open("w") as out:
        parent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    _record_init(parent.pid, token)
    deadline = time.monotonic() + 20
    while not (RUN / "ready").exists():
        if parent.poll() is not None or time.monotonic() > deadline:
            raise StepFailed(
                "the cluster's namespaces could not be set up", log=log, hint="this needs root and CAP_SYS_ADMIN"
            )
        time.sleep(0.02)


def _record_init(parent: int, token: str) -> None:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    deadline = time.monotonic() + 5
    while not (found := children.read_text().split()):
        if time.monotonic() > deadline:
            raise StepFailed("unshare started no child", log=LOGS / "init.log")
        time.sleep(0.01)
    start = start_time(Path(f"/proc/{found[0]}/stat"))
    _write(RUN / "init.json", {"pid": int(found[0]), "start": start, "token": token})


def end() -> None:
    """Kill the cluster's pid 1, and with it everything in its namespaces; wait until the last process is gone."""
    record = _read(RUN / "init.json")
    pid = int(record.get("pid", 0))
    stat = Path(f"/proc/{pid}/stat")
    if not pid or start_time(stat) != record["start"]:
        return
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while start_time(stat) == record["start"]:
        if time.monotonic() > deadline:
            raise StepFailed(
                f"pid {pid} and what runs below it does not end", hint="a process may hang in the kernel: see ps"
            )
        time.sleep(0.05)


def start_time_of(pid: int) -> str:
    """The start time of a process of the machine, in the kernel's ticks."""
    return start_time(Path(f"/proc/{pid}/stat"))


def entering(*, mounts: bool = True) -> list[str]:
    """The command prefix that runs a program in the cluster's network, and unless told otherwise its mounts and pids."""
    kinds = ["--net", "--mount", "--pid"] if mounts else ["--net"]
    return ["nsenter", f"--target={init_pid()}", *kinds, "--"]


def load_kernel_modules() -> None:
    """Ask for the modules that a machine may not have loaded; where they are built in, or not to be had, go on."""
    for module in ("overlay", "br_netfilter", "nf_conntrack", "ip_tables"):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["modprobe", module], capture_output=True, check=False)


def check_kernel() -> None:
    """Raise where a module that the cluster cannot do without is missing."""
    if not Path("/proc/sys/net/bridge").exists():
        raise ClusterError("the kernel has no br_netfilter: Services and NetworkPolicy between pods could not work")


def make_cgroup() -> None:
    """Make the cgroup below which the kubelet puts all pods, with the controllers it asks for, in v1 and v2."""
    hierarchies = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else list(CGROUPS.iterdir())
    for hierarchy in hierarchies:
        if not (hierarchy / "cgroup.procs").exists():
            continue
        (hierarchy / CGROUP).mkdir(exist_ok=True)
        for parent in (hierarchy, hierarchy / CGROUP):
            for controller in _read_words(parent / "cgroup.controllers"):
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")
    _inherit_cpusets()


def _inherit_cpusets() -> None:
    """A cpuset of cgroup v1 is born empty, and an empty one takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        for top in (CGROUPS / "cpuset", CGROUPS / "cpu,cpuset"):
            if (top / CGROUP / name).exists():
                (top / CGROUP / name).write_text((top / name).read_text())


def _read_words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def remove_claimed() -> None:
    """Remove the empty folders that were made only to be mounted over."""
    made = _read(STATE / "made.json").get("folders", [])
    for folder in made:
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def remove_cgroups() -> None:
    """Remove the cgroups that the kubelet made, deepest first, in every hierarchy."""
    for top in [CGROUPS / CGROUP, *CGROUPS.glob(f"*/{CGROUP}")]:
        if top.is_dir():
            folders = [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
            for folder in folders:
                _remove_cgroup(folder)


def _remove_cgroup(folder: Path) -> None:
    for _ in range(100):  # the kernel lets go of a cgroup a moment after its last process
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise StepFailed(f"cannot remove {folder}", hint=f"which processes are in it? cat {folder}/cgroup.procs")


# ── the components ────────────────────────────────────────────────────────────────────────────────────────────────


def running(name: str) -> bool:
    """Whether the component that was started last under this name is alive."""
    pid = pid_of(name)
    return pid > 0 and start_time(_proc(pid) / "stat") == start_time(_birth(name))


def current(unit: Unit) -> bool:
    """Whether it runs, and with just this command, environment and configuration."""
    return running(unit.name) and _read(_record(unit.name)).get("digest") == unit.digest()


def launch(unit: Unit) -> None:
    """Start a component in the background, in a session of its own.

    It writes its own birth record before it becomes the program: were we killed just now, the next `up` knows it.
    """
    stop(unit.name)
    birth = _birth(unit.name)
    birth.unlink(missing_ok=True)
    _write(_record(unit.name), {"digest": unit.digest()})
    environment = [f"{key}={value}" for key, value in {"PATH": PATH, "HOME": "/root", **unit.environment}.items()]
    program = shlex.join(["env", "-i", *environment, *unit.command])
    record = f"cat /proc/$$/stat > {birth}.new && mv {birth}.new {birth}"
    with unit.log.open("a") as log:
        log.write(f"--- {time.strftime('%F %T')} {shlex.join(unit.command)}\n")
        log.flush()
        script = f"setsid sh -c {shlex.quote(f'{record} && exec {program}')} </dev/null >&2 &"
        subprocess.run([*entering(), "sh", "-c", script], stdin=subprocess.DEVNULL, stderr=log, check=True, cwd="/")
    deadline = time.monotonic() + 10
    while not birth.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def stop(name: str, patience: float = 10.0) -> None:
    """Ask a component to end, and insist after `patience` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not running(name):
            return
        subprocess.run(
            [*entering(), "sh", "-c", f"kill -{int(number)} {pid_of(name)}"], check=False, capture_output=True
        )
        deadline = time.monotonic() + patience
        while running(name) and time.monotonic() < deadline:
            time.sleep(0.05)


def started() -> list[str]:
    """The names of all components that have been started since `begin`."""
    return sorted(path.stem for path in (RUN / "units").glob("*.json"))


def pid_of(name: str) -> int:
    """The component's pid in the cluster's pid namespace; 0 when it was never started."""
    try:
        return int(_birth(name).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _record(name: str) -> Path:
    return RUN / "units" / f"{name}.json"


def _birth(name: str) -> Path:
    return RUN / "units" / f"{name}.stat"


def _proc(pid: int) -> Path:
    return Path(f"/proc/{init_pid()}/root/proc/{pid}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(record))
    unfinished.rename(path)
