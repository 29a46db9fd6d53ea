"""The test enforcer's nftables rules on a real bridge: network namespaces stand in for a node and its pods.

Everything is made inside one "node" namespace and goes with it. Needs iproute2 and nft, which
`make integration` installs, and root; the enforcer on real pods is proved by e2e/cases/test_enforcer.py.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.netpol_nft import render
from e2e.cluster.netpol_rules import compile_policies

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
NODE, PREFIX = "10.244.0.1", f"mwt{os.getpid()}"
NAMESPACES = Path("/run/netns")
SERVICE = "10.96.0.50"  # its DNAT leads to `db`, as kube-proxy would write it
PODS = {"db": "10.244.0.2", "friend": "10.244.0.3", "stranger": "10.244.0.4"}
LISTEN = """
import socket, sys, threading
def serve(port):
    s = socket.create_server(("", port))
    while True:
        c, _ = s.accept(); c.sendall(b"hi"); c.recv(1); c.close()
for p in (80, 90): threading.Thread(target=serve, args=(p,)).start()
"""
CONNECT = """
import socket, sys
within = float(sys.argv[3])
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), within); s.settimeout(within); assert s.recv(2) == b"hi"
"""
HOLD = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80))
print(s.recv(2), flush=True); input(); s.sendall(b"x"); s.recv(1)
"""
NAT = f"""
table ip nat {{
    chain prerouting {{ type nat hook prerouting priority dstnat; ip daddr {SERVICE} dnat to {PODS["db"]}; }}
    chain postrouting {{ type nat hook postrouting priority srcnat; ip saddr {PODS["db"]} ip daddr {PODS["db"]} masquerade; }}
}}
"""


def _run(command: str, **options: Any) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, text=True, **options)


def _python(where: str, code: str, *arguments: str) -> list[str]:
    return ["ip", "netns", "exec", f"{PREFIX}-{where}", sys.executable, "-c", code, *arguments]


def _connects(source: str, target: str, port: int = 80) -> bool:
    """Say that it connects: a busy machine may need several tries."""
    deadline = time.monotonic() + 30
    while not _answers(source, target, port, within=3.0):
        if time.monotonic() > deadline:
            return False
    return True


def _is_kept_out(source: str, target: str, port: int = 80) -> bool:
    return not _answers(source, target, port, within=0.7)


def _answers(source: str, target: str, port: int, within: float) -> bool:
    command = _python(source, CONNECT, target, str(port), str(within))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _load(text: str) -> None:
    _run(f"ip netns exec {PREFIX}-node nft -f -", input=text)


@pytest.fixture(scope="module")
def node() -> Iterator[None]:
    servers = []
    first = not NAMESPACES.exists()
    try:
        for name in ("node", *PODS):
            _run(f"ip netns add {PREFIX}-{name}")
            _run(f"ip -n {PREFIX}-{name} link set lo up")
        _build_node()
        for index, (name, address) in enumerate(PODS.items()):
            _plug(index, name, address)
            servers.append(subprocess.Popen(_python(name, LISTEN)))
        _load(NAT)
        assert all(_connects("node", address, 90) for address in PODS.values()), "the stand-in pods never answered"
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()
        for name in (*PODS, "node"):
            subprocess.run(["ip", "netns", "delete", f"{PREFIX}-{name}"], check=False)
        if first and not any(NAMESPACES.iterdir()):  # ip(8) made and mounted it for us
            _run(f"umount {NAMESPACES}")
            NAMESPACES.rmdir()


def _build_node() -> None:
    at = f"ip -n {PREFIX}-node"
    _run(f"{at} link add pods type bridge")
    _run(f"{at} addr add {NODE}/24 dev pods")
    _run(f"{at} link set pods up")
    for name in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        _run(f"ip netns exec {PREFIX}-node tee /proc/sys/net/{name}", input="1")


def _plug(index: int, name: str, address: str) -> None:
    _run(f"ip -n {PREFIX}-node link add v{index} type veth peer name eth0 netns {PREFIX}-{name}")
    _run(f"ip -n {PREFIX}-node link set v{index} master pods")
    _run(f"ip -n {PREFIX}-node link set v{index} type bridge_slave hairpin on")
    _run(f"ip -n {PREFIX}-node link set v{index} up")
    _run(f"ip -n {PREFIX}-{name} addr add {address}/24 dev eth0")
    _run(f"ip -n {PREFIX}-{name} link set eth0 up")
    _run(f"ip -n {PREFIX}-{name} route add default via {NODE}")


def _enforce(*specs: dict[str, Any]) -> None:
    pods = [
        {
            "metadata": {"namespace": "here", "name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "main"}]},
            "status": {"phase": "Running", "podIP": address},
        }
        for name, address in PODS.items()
    ]
    policies = [{"metadata": {"namespace": "here", "name": f"p{n}"}, "spec": spec} for n, spec in enumerate(specs)]
    _load(render(compile_policies(pods, [{"metadata": {"name": "here"}}], policies)))


def _select(name: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": name}}}


@pytest.mark.usefixtures("node")
class TestOnABridge:
    def test_without_policies_everybody_connects(self) -> None:
        _enforce()
        assert _connects("stranger", PODS["db"])
        assert _connects("stranger", SERVICE)

    def test_ingress_admits_the_named_peer_on_the_named_port_only(self) -> None:
        _enforce({**_select("db"), "ingress": [{"from": [_select("friend")], "ports": [{"port": 80}]}]})
        assert _connects("friend", PODS["db"])
        assert _is_kept_out("friend", PODS["db"], 90)
        assert _is_kept_out("stranger", PODS["db"])

    def test_a_service_address_is_judged_by_the_pod_behind_it(self) -> None:
        _enforce({**_select("db"), "ingress": [{"from": [_select("friend")]}]})
        assert _connects("friend", SERVICE)
        assert _is_kept_out("stranger", SERVICE)

    def test_the_node_and_replies_always_pass(self) -> None:
        _enforce({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, {**_select("db"), "egress": [{}]})
        assert _connects("node", PODS["db"]), "the kubelet's probes"
        assert _is_kept_out("db", PODS["friend"]), "the receiver is isolated"
        _enforce({**_select("db"), "policyTypes": ["Ingress"]})
        assert _connects("db", PODS["friend"]), "the reply to an isolated pod's own connection"

    def test_a_pod_reaches_itself_through_its_service(self) -> None:
        _enforce({**_select("db"), "policyTypes": ["Ingress", "Egress"]})
        assert _connects("db", SERVICE)

    def test_egress_is_judged_at_the_source(self) -> None:
        _enforce({**_select("friend"), "policyTypes": ["Egress"], "egress": [{"to": [_select("db")]}]})
        assert _connects("friend", PODS["db"])
        assert _connects("friend", SERVICE)
        assert _is_kept_out("friend", PODS["stranger"])
        assert _connects("stranger", PODS["friend"])

    def test_an_ip_block_with_an_exception(self) -> None:
        block = {"cidr": "0.0.0.0/0", "except": [PODS["stranger"] + "/32"]}
        _enforce({**_select("db"), "ingress": [{"from": [{"ipBlock": block}]}]})
        assert _connects("friend", PODS["db"])
        assert _is_kept_out("stranger", PODS["db"])

    def test_an_established_connection_outlives_a_new_policy(self) -> None:
        _enforce()
        with subprocess.Popen(
            _python("stranger", HOLD, PODS["db"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout is not None
            client.stdout.readline()
            _enforce({**_select("db"), "policyTypes": ["Ingress"]})
            client.communicate("go\n", timeout=60)
            assert client.returncode == 0
        assert _is_kept_out("stranger", PODS["db"])
