"""Who may connect: the own namespace, those that allowFrom names, and nobody else; the admin port for the operator alone."""

from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

import pytest

from e2e.cases.case import Case, Client
from e2e.cases.conftest import open_case
from e2e.cases.kube import Kube, wait
from e2e.cases.place import Store

pytestmark = pytest.mark.core
HTTP, GRPC, ADMIN = 8080, 8081, 8082
IDLE = "import time; time.sleep(3600)"
LISTEN = """
import socket
server = socket.create_server(("", 9000))
while True:
    server.accept()[0].close()
"""


@pytest.fixture
def shop(kube: Kube, store: Store, prefix: str) -> Iterator[Case]:
    """Another namespace, which wants to call."""
    opened = open_case(kube, store, prefix, "another-namespace")
    yield opened
    kube.delete("Namespace", opened.namespace)


def test_another_namespace_connects_once_allow_from_names_it(case: Case, shop: Case) -> None:
    case.serve()
    address = case.service_address()
    neighbour, stranger = case.start_client("neighbour", IDLE), shop.start_client("stranger", IDLE)
    for port in (HTTP, GRPC):
        wait(f"the own namespace reaches {port}", partial(neighbour.connects, address, port), within=15)
        assert not stranger.connects(address, port)

    (pod,) = case.pods()
    case.change({"security": {"networkPolicy": {"allowFrom": [{"namespace": shop.namespace}]}}})
    for port in (HTTP, GRPC):
        wait(f"the named namespace reaches {port}", partial(stranger.connects, address, port), within=15)
    assert neighbour.connects(address, HTTP)
    assert [pod["metadata"]["uid"]] == [one["metadata"]["uid"] for one in case.pods()], "nothing was restarted"

    for client in (neighbour, stranger):
        assert client.connects(pod["status"]["podIP"], HTTP)
        assert not client.connects(pod["status"]["podIP"], ADMIN)

    case.change({"security": {"networkPolicy": None}})
    wait("the door is closed again", lambda: not stranger.connects(address, HTTP), within=15)
    case.wait_ready(within=15)


def test_a_serving_pod_reaches_its_store_and_no_other_pod(case: Case) -> None:
    """The node itself, and so the API server of a cluster of one node, is never closed: that is how NetworkPolicies are defined."""
    neighbour = case.start_client("neighbour", LISTEN)
    case.serve(security={"authentication": {"mode": "None"}})
    (pod,) = case.pods()
    inside = Client(case.kube, case.namespace, pod["metadata"]["name"])
    store = urlsplit(case.store.endpoint)
    assert inside.connects(str(store.hostname), store.port or 80), "the store is what it needs"
    listening = case.kube.find("Pod", "neighbour", case.namespace)["status"]["podIP"]
    wait("the neighbour listens", partial(neighbour.connects, listening, 9000), within=15)
    assert not inside.connects(listening, 9000), "another pod of its own namespace"
    case.change({"security": {"networkPolicy": {"egress": {"allowTo": [{"cidr": f"{listening}/32", "port": 9000}]}}}})
    wait("what allowTo names is reached", partial(inside.connects, listening, 9000), within=15)
