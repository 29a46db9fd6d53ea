"""Clients that mean no good: none keeps an honest caller from being served, and none gets more than its share."""

import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from tests.activators import Stage, call
from tests.contract.test_activator_rest import INFER, JSON
from tests.ports import free_ports

pytestmark = pytest.mark.process
FLOOD = 300


@contextmanager
def connected(on: Stage, count: int, first_words: bytes = b"") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(stack.enter_context(socket.create_connection(("127.0.0.1", on.ports[0]), 20)))
            made[-1].sendall(first_words)
        yield made


def test_a_flood_beyond_the_queue_is_turned_away_and_the_held_are_served(on: Stage) -> None:
    on.route(maxHeld=10)
    with ThreadPoolExecutor(40) as pool:
        calls: list[Future[Any]] = [
            pool.submit(call, "POST", "127.0.0.1", on.ports[0], INFER, JSON) for _ in range(FLOOD)
        ]
        on.until_held(10)
        while sum(one.done() for one in calls) < FLOOD - 10:
            assert on.held() <= 10
            time.sleep(0.05)
        on.begin_pod()
        statuses = sorted(one.result(120)[0] for one in calls)
    assert [200] * 10 + [429] * (FLOOD - 10) == statuses


def test_the_slow_the_half_open_and_the_silent_keep_nobody_out(on: Stage) -> None:
    with connected(on, 100), connected(on, 50, b"POST /v2/models/m/inf"), connected(on, 20) as half:
        for one in half:
            one.shutdown(socket.SHUT_WR)
        with ThreadPoolExecutor(1) as pool:
            honest = pool.submit(call, "POST", "127.0.0.1", on.ports[0], INFER, JSON)
            on.until_held(1)
            on.begin_pod()
            assert 200 == honest.result(120)[0]


def test_a_body_that_drips_is_one_requests_trouble(on: Stage) -> None:
    pod = on.begin_pod()
    pod.process.until(lambda: call("GET", pod.address, on.pod_ports[0], "/v2/health/ready")[0] == 200)
    head = f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(JSON)}\r\n\r\n".encode()
    with connected(on, 20, head + JSON[:5]) as slow:
        assert 200 == call("POST", "127.0.0.1", on.ports[0], INFER, JSON)[0]
        for one in slow:
            one.sendall(JSON[5:])
        for one in slow:
            assert one.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("reason", "sent", "status"),
    [
        ("two lengths", b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (
            "a length and chunks",
            b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            400,
        ),
        ("a length that is none", b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: -1\r\n\r\n", 400),
        ("a line that is folded", b"POST %b HTTP/1.1\r\nHost: m\r\nx: a\r\n b: c\r\n\r\n", 400),
        ("a header with a space", b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length : 2\r\n\r\n{}", 400),
        ("HTTP/2 where HTTP/1 is spoken", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("a head without an end", b"GET /v2 HTTP/1.1\r\nx: " + b"a" * 70_000, 431),
        ("a body over the limit", b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: 99999999999\r\n\r\n", 413),
    ],
)
def test_what_is_no_request_is_refused_and_wakes_nobody(on: Stage, reason: str, sent: bytes, status: int) -> None:
    cursor = on.demand()["cursor"]
    with connected(on, 1, sent.replace(b"%b", INFER.encode())) as (one,):
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 %d " % status), reason
    assert cursor == on.demand()["cursor"]


def test_what_one_caller_sends_behind_its_request_reaches_no_pod_as_another(on: Stage) -> None:
    """A second request in the body's place would be answered on the same connection: the pod sees the first alone."""
    pod = on.stranger()
    smuggled = f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\nConnection: content-length, authorization\r\n"
    smuggled += "Authorization: Bearer mine\r\n\r\nhelloGET /v2/secret HTTP/1.1\r\nHost: m\r\n\r\n"
    with socket.create_server((pod.address, on.pod_ports[0])) as server:
        on.list_pod(pod, ready=True)
        with connected(on, 1, smuggled.encode()) as (caller,):
            taken, _ = server.accept()
            with taken:
                taken.settimeout(30)
                seen = b""
                while b"\r\n\r\nhello" not in seen:
                    seen += (part := taken.recv(1 << 16))
                    assert part, seen
                taken.settimeout(1)
                with suppress(TimeoutError):  # what comes behind it
                    while part := taken.recv(1 << 16):
                        seen += part
                assert (1, 0) == (seen.count(b"HTTP/1.1"), seen.count(b"secret"))
                assert seen.endswith(b"\r\n\r\nhello")
                assert b"authorization: Bearer mine\r\n" in seen
                assert b"content-length: 5\r\n" in seen
                taken.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmore"
                )
            answer = b""
            while part := caller.recv(1 << 16):
                answer += part
    assert answer.endswith(b"\r\n\r\nok"), "what a pod says behind its answer is nobody's"


def test_the_log_holds_no_token_and_no_payload(on: Stage) -> None:
    secret = "c2VjcmV0LXRva2Vu"
    headers = {"authorization": f"Bearer {secret}", "x-card": "4111111111111111"}
    on.begin_pod()
    for path in (INFER, "/v2/models/4111111111111111/infer", "/4111111111111111"):
        call("POST", "127.0.0.1", on.ports[0], path, JSON.replace(b"1.0", b"4111111111111111.0"), headers)
    connection = http.client.HTTPConnection("127.0.0.1", on.ports[0], timeout=20)
    connection.request("GET", f"/v2/{secret}", headers=headers)
    connection.getresponse().read()
    connection.close()
    log = on.activator.log()
    assert '"path":"{other}"' in log
    assert secret not in log
    assert "4111111111111111" not in log


@pytest.mark.parametrize("address", ["https://host:99999/keys", "https://[::1/keys", "https://[zz]/keys"])
def test_a_route_that_its_owner_wrote_so_that_it_cannot_be_had_is_no_other_models_harm(on: Stage, address: str) -> None:
    """The API admits any text after https://; an activator that ended with it would end all models at zero."""
    files = {"server": "https://k", "tokenFile": "/t", "caFile": "/c"}
    asked = {"mode": "JWT", "issuer": "i", "audiences": ["a"], "jwksUri": address, "algorithms": ["RS256"], **files}
    claims = {"usernameClaim": "sub", "usernamePrefix": "oidc:"}
    access = {"authentication": {**asked, **claims}, "authorization": {"namespace": "risk", "name": "broken"}}
    on.routes["broken"] = {
        **on.routes["m"],
        "name": "broken",
        "ports": dict(zip(("http", "grpc"), free_ports(2), strict=True)),
        "access": access,
    }
    other = free_ports(2)
    on.route("other", (other[0], other[1]))  # in the same ConfigMap, and the operator is told that it is open
    for port in (on.ports[0], other[0]):
        assert 200 == call("GET", "127.0.0.1", port, "/v2/health/live")[0]
    assert "modelward_activator_routes_closed 1.0" in on.activator.get("/metrics")[1]
    del on.routes["broken"]
    on.write_routes()
    on.activator.until(lambda: "modelward_activator_routes_closed 0.0" in on.activator.get("/metrics")[1], 15)
