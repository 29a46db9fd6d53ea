"""PID 1 of the cluster: builds the namespaces' own view of mounts and network, then only reaps.

The cluster is one process tree in mount, network and pid namespaces of its own, and this is its root: when it is
killed, the kernel ends every process below it, and with the last of them go all mounts, interfaces and rules. That is
why `down` cannot forget anything, and why nothing of it can leak to the machine.

Run by processes.py as a script inside `unshare`; it imports nothing that would not work there.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from e2e.cluster.paths import CLAIMED, CONFIGURATION, NODE_ADDRESS, NODE_BRIDGE, RUN, STATE  # noqa: E402

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",  # pods share one bridge: Services and NetworkPolicy see their traffic
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}


def mounts() -> list[list[str]]:
    """The mount commands, in order: our own /run, the paths that Kubernetes has hard-coded, names, propagation."""
    hold = STATE / "hold"
    commands = [["mount", "--bind", str(below), str(claimed)] for claimed, below in CLAIMED.items()]
    commands += [["mount", "--bind", str(CONFIGURATION / name), f"/etc/{name}"] for name in ("hosts", "resolv.conf")]
    return [
        *commands,
        ["mount", "--bind", str(RUN), str(hold)],
        ["mount", "-t", "tmpfs", "-o", "mode=755", "modelward-run", "/run"],
        ["mkdir", str(RUN)],
        ["mount", "--move", str(hold), str(RUN)],
        ["mount", "--make-rshared", "/"],  # what a pod asks of mount propagation, the kubelet can give
    ]


def network() -> list[list[str]]:
    """The ip commands: the node's address on a bridge without ports, and a route so that Service addresses resolve."""
    return [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", NODE_BRIDGE, "type", "bridge"],
        ["ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", NODE_BRIDGE],
        ["ip", "link", "set", NODE_BRIDGE, "up"],
        ["ip", "route", "add", "default", "dev", NODE_BRIDGE, "src", NODE_ADDRESS],
    ]


def main() -> None:
    """Set up, say so by the file `ready`, then wait for ever."""
    for command in mounts() + network():
        subprocess.run(command, check=True)
    for key, value in SYSCTLS.items():
        (Path("/proc/sys") / key).write_text(value)
    _await_record(sys.argv[1])
    signal.signal(signal.SIGCHLD, reap)
    os.chdir("/")
    (RUN / "ready").write_text("")
    while True:
        signal.pause()


def _await_record(token: str) -> None:
    """End when nobody has recorded us: the `up` that started us was killed, and `down` could not find us."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if token in _text(RUN / "init.json"):
            return
        time.sleep(0.02)
    sys.exit("nobody recorded this process: giving up")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def reap(*_: object) -> None:
    """Collect every child that has ended: orphans are adopted by pid 1."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main()
