"""A small enforcer of NetworkPolicy v1 for the embedded cluster: a STAND-IN FOR TESTS, never for a user's cluster.

The embedded cluster's CNI (a plain bridge) enforces nothing, and no published engine is to be had here as a module; on
a real cluster the CNI enforces. `e2e/cluster` starts this inside the cluster's network namespace, beside the kubelet:

    python3 e2e/cluster/netpol.py --kubeconfig PATH

It watches pods, namespaces and policies (netpol_api.py), compiles them (netpol_rules.py) and swaps the whole nftables
table in one transaction (netpol_nft.py) well within a second of a change. It touches no other table. When it stops, the
last rules stay. One node, IPv4, policies act on new connections. A pod is known by its address once the kubelet has
reported that to the API, so the first moments of a new pod are not yet isolated.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the repository: modules are e2e.cluster.X in every setting

from e2e.cluster.netpol_api import Access, Mirror, read_kubeconfig  # noqa: E402  needs the path above
from e2e.cluster.netpol_nft import render  # noqa: E402
from e2e.cluster.netpol_rules import compile_policies  # noqa: E402

_PATHS = ("/api/v1/pods", "/api/v1/namespaces", "/apis/networking.k8s.io/v1/networkpolicies")
_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_SETTLE_SECONDS = 0.05  # a burst of events makes one transaction


def _report(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} netpol: {message}", flush=True)


def _demand_bridge_hook() -> None:
    if not _BRIDGED.exists() or _BRIDGED.read_text().strip() != "1":
        raise SystemExit(f"netpol: {_BRIDGED} is not 1: packets between pods would pass unseen")


def _load(ruleset: str) -> str:
    """Swap the table; return nft's complaint, empty when it took the rules."""
    done = subprocess.run(["nft", "-f", "-"], input=ruleset, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def _compile(mirrors: Sequence[Mirror]) -> tuple[str, int] | None:
    """Draw the ruleset and the number of isolations; None until every kind was listed once."""
    pods, namespaces, policies = (mirror.objects() for mirror in mirrors)
    if pods is None or namespaces is None or policies is None:
        return None
    isolations = compile_policies(pods, namespaces, policies)
    return render(isolations), len(isolations)


def _enforce(access: Access) -> None:
    dirty = threading.Event()
    mirrors = [Mirror(access, path, dirty.set, _report) for path in _PATHS]
    for mirror in mirrors:
        threading.Thread(target=mirror.follow, daemon=True).start()
    loaded = ""
    while True:
        dirty.wait()
        time.sleep(_SETTLE_SECONDS)
        dirty.clear()
        drawn = _compile(mirrors)
        if drawn is None or drawn[0] == loaded:
            continue
        complaint = _load(drawn[0])
        if complaint:
            _report(f"nft refused the rules, trying again in a second: {complaint}\n{drawn[0]}")
            time.sleep(1)
            dirty.set()
        else:
            loaded = drawn[0]
            _report(f"{drawn[1]} isolations in force")


def main() -> None:
    """Enforce until killed."""
    parser = argparse.ArgumentParser(prog="netpol", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    arguments = parser.parse_args()
    _demand_bridge_hook()
    _enforce(read_kubeconfig(arguments.kubeconfig))


if __name__ == "__main__":
    main()
