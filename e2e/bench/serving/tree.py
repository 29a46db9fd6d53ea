"""A process and all that it started, as /proc sees them: processors' seconds, memory, pausing, ending. Linux only.

`processes.py` starts each server in a session of its own: its tree is whatever descends from the root or from any process of that session,
orphans included. Everything here goes by process id, and an id counts only together with the time at which its process began.
"""

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_STOPPED: Final = frozenset("TtZX")  # states of those that run no more, for now or ever
_STOPS: Final = 10.0  # seconds within which a process stops


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says, man 5 proc."""

    pid: int
    parent: int
    session: int
    began: int
    """Clock ticks after the machine's start."""
    cpu: float
    """Seconds of it and of the children that it has waited for."""
    state: str


def parse_stat(text: str) -> Stat:
    """One line of /proc/PID/stat; a program's name may hold blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    words = tail.split()
    used = sum(map(int, words[11:15]))  # utime, stime, cutime, cstime
    return Stat(int(head.split(maxsplit=1)[0]), int(words[1]), int(words[3]), int(words[19]), used * TICK, words[0])


def tree(root: int) -> list[Stat]:
    """The leader of a session, all processes of the session and their descendants, parents before children; empty when all have gone."""
    found = {stat.pid: stat for stat in _all()}
    children: dict[int, list[int]] = defaultdict(list)
    for stat in found.values():
        children[stat.parent].append(stat.pid)
    orphans = [stat.pid for stat in found.values() if stat.session == root and _outside(stat, found, root)]
    order = [*([root] if root in found else []), *orphans]
    for pid in order:
        order.extend(children[pid])
    return [found[pid] for pid in order]


def _outside(stat: Stat, found: Mapping[int, Stat], root: int) -> bool:
    """Whether its parent is no process of the session: an orphan."""
    parent = found.get(stat.parent)
    return stat.pid != root and (parent is None or parent.session != root)


def cpu_seconds(root: int) -> float:
    """Of all processes of the tree, those included that have ended and were waited for."""
    return sum(stat.cpu for stat in tree(root))


def memory(root: int) -> int:
    """Bytes of memory that the tree takes, as if it were alone on the machine.

    A page that several of its processes share counts once; a library's page counts in full although other servers have it
    mapped, too, by whose number the kernel's own PSS would divide it.
    """
    anonymous, files = 0, dict[str, int]()
    for stat in tree(root):
        own, mapped = parse_smaps(_text(stat.pid, "smaps"))
        anonymous += own
        for mapping, size in mapped.items():
            files[mapping] = max(size, files.get(mapping, 0))
    return anonymous + sum(files.values())


def pause(root: int) -> None:
    """Stop the tree: when this returns it takes no time of any processor until `resume`. TimeoutError when it does not stop."""
    for stat in tree(root):
        _signal(stat, signal.SIGSTOP)
    deadline = time.monotonic() + _STOPS
    while any(stat.state not in _STOPPED for stat in tree(root)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {root} do not stop")
        time.sleep(0.001)


def resume(root: int) -> None:
    """Let the tree go on, children before parents: who supervises must not find its children asleep."""
    for stat in reversed(tree(root)):
        _signal(stat, signal.SIGCONT)


def ask_to_end(root: int) -> None:
    """SIGTERM to the root, or to its orphans."""
    resume(root)
    known = {stat.pid: stat for stat in tree(root)}
    for stat in [known[root]] if root in known and _lives(known[root]) else known.values():
        _signal(stat, signal.SIGTERM)


def end(root: int, patience: float) -> None:
    """Wait for the end that was asked for; SIGKILL to whatever of the tree is left after `patience` seconds."""
    known = {stat.pid: stat for stat in tree(root)}
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(_lives(stat) for stat in known.values()):
        known |= {stat.pid: stat for stat in tree(root)}
        _reap(root)
        time.sleep(0.02)
    for stat in known.values():
        _signal(stat, signal.SIGKILL)
    while any(_lives(stat) for stat in known.values()):
        _reap(root)
        time.sleep(0.02)


def _all() -> Iterator[Stat]:
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (stat := _read(int(folder.name))):
            yield stat


def _read(pid: int) -> Stat | None:
    text = _text(pid, "stat")
    return parse_stat(text) if text else None


def _lives(stat: Stat) -> bool:
    now = _read(stat.pid)
    return now is not None and now.began == stat.began and now.state not in "ZX"


def _signal(stat: Stat, number: signal.Signals) -> None:
    if _lives(stat):
        with contextlib.suppress(ProcessLookupError):
            os.kill(stat.pid, number)


def _reap(root: int) -> None:
    """Take the root's exit status where it is our child, or it would stay a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(root, os.WNOHANG)


def parse_smaps(text: str) -> tuple[int, dict[str, int]]:
    """/proc/PID/smaps: bytes of anonymous and shared memory, in proportion to who shares them (its tree); and of each file's parts."""
    own, files = 0, dict[str, int]()
    for lines in _mappings(text):
        head = lines[0].split(maxsplit=5)
        fields = {
            name: int(rest.split()[0]) * 1024
            for name, _, rest in (line.partition(":") for line in lines[1:])
            if "kB" in rest
        }
        if head[4] == "0" or _is_memory(head[5] if len(head) > 5 else ""):
            own += fields.get("Pss", 0)
        else:
            own += fields.get("Pss_Anon", fields.get("Anonymous", 0))
            part = f"{head[3]} {head[4]} {head[2]}"  # device, inode, offset
            files[part] = files.get(part, 0) + fields.get("Rss", 0) - fields.get("Anonymous", 0)
    return own, files


def _is_memory(path: str) -> bool:
    return path.startswith(("/dev/shm", "/memfd:", "/SYSV", "/dev/zero"))


def _mappings(text: str) -> Iterator[list[str]]:
    """The lines of each mapping: the first begins with its addresses in lower-case hex, the others with a name."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and not line[:1].isupper():
            yield lines
            lines = []
        lines.append(line)
    if lines:
        yield lines


def _text(pid: int, name: str) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return (PROC / str(pid) / name).read_text(errors="replace")
    return ""
