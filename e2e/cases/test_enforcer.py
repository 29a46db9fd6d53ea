"""The embedded cluster's own enforcer of NetworkPolicy on real pods: services, DNS, hairpin, the node, and its speed.

On a user's cluster the CNI enforces; these cases prove the stand-in that the other cases lean on.
"""

import socket
import time
from functools import partial
from typing import Any

import pytest

from e2e.cases.case import PATIENCE, Case
from e2e.cases.kube import Object, wait

pytestmark = pytest.mark.core
PORT = 8000
SERVER = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
IDLE = "import time; time.sleep(3600)"
RESOLVE = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"
FRIEND = {"podSelector": {"matchLabels": {"app": "friend"}}}
DNS = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def _policy(name: str, app: str, **spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec},
    }


def _service() -> Object:
    spec = {"selector": {"app": "server"}, "ports": [{"port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"}, "spec": spec}


def test_pods_are_isolated_as_policies_say_within_a_second(case: Case) -> None:
    case.apply(_service())
    server, friend, stranger = (
        case.start_client(name, script) for name, script in (("server", SERVER), ("friend", IDLE), ("stranger", IDLE))
    )
    pod = case.kube.find("Pod", "server", case.namespace)["status"]["podIP"]
    service = case.service_address("server", PORT)
    for client in (friend, stranger, server):
        wait("everybody connects at first", partial(client.connects, service, PORT), within=PATIENCE)

    case.apply(_policy("door", "server", ingress=[{"from": [FRIEND]}]))
    begun = time.monotonic()
    wait("the stranger is kept out", lambda: not stranger.connects(service, PORT), within=15)
    print(f"enforced within {time.monotonic() - begun - 2:.2f} s")  # the failing attempt itself takes two
    assert not stranger.connects(pod, PORT), "by its own address too"
    assert friend.connects(service, PORT)
    assert friend.connects(pod, PORT)
    assert server.connects(service, PORT), "a pod reaches itself through its service"
    socket.create_connection((pod, PORT), 5).close()  # the node: the kubelet's probes

    case.apply(_policy("inside", "friend", policyTypes=["Egress"], egress=[DNS]))
    wait("the friend may not go out", lambda: not friend.connects(service, PORT), within=15)
    name = f"server.{case.namespace}.svc.cluster.local"
    assert friend.python(RESOLVE, name).strip() == service, "but it may ask DNS"

    case.kube.delete("NetworkPolicy", "door", case.namespace)
    case.kube.delete("NetworkPolicy", "inside", case.namespace)
    for client in (friend, stranger):
        wait("everybody connects again", partial(client.connects, service, PORT), within=15)
