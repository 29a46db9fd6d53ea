"""What the activator forwards over HTTP is what the pod would have got and said, byte for byte; health is told without waking."""

import gzip
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.activators import Stage, call
from tests.onnx_models import WEIGHTS

pytestmark = pytest.mark.process
INFER = "/v2/models/m/infer"
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
TENSOR = {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": ROWS.ravel().tolist()}
JSON = json.dumps({"inputs": [TENSOR]}).encode()
HEAD = json.dumps(
    {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": ROWS.nbytes}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
).encode()
BINARY = {"inference-header-content-length": str(len(HEAD)), "content-type": "application/octet-stream"}

CALLS: list[tuple[str, str, str, Any, dict[str, str]]] = [
    ("JSON", "POST", INFER, JSON, {}),
    ("binary tensors both ways", "POST", INFER, HEAD + ROWS.tobytes(), BINARY),
    ("a packed body stays packed", "POST", INFER, gzip.compress(JSON, mtime=0), {"content-encoding": "gzip"}),
    ("a body in chunks", "POST", INFER, [JSON[:10], JSON[10:50], JSON[50:]], {}),
    ("what the pod does not understand", "POST", INFER, b"{", {}),
    ("a media type that it does not take", "POST", INFER, JSON, {"content-type": "text/html"}),
    ("metadata of the model", "GET", "/v2/models/m", None, {}),
    ("metadata of a version", "GET", "/v2/models/m/versions/1", None, {}),
    ("metadata, without the body", "HEAD", "/v2/models/m", None, {}),
    ("the server's metadata", "GET", "/v2", None, {}),
    ("a name in escapes, and a query", "GET", "/v2/models/%6d?a=b%20c", None, {}),
    ("the index", "POST", "/v2/repository/index", b"{}", {}),
    ("is the model ready", "GET", "/v2/models/m/ready", None, {}),
    ("another model", "GET", "/v2/models/other", None, {}),
    ("another version", "GET", "/v2/models/m/versions/9", None, {}),
    ("no such path", "GET", "/v2/nothing", None, {}),
    ("the wrong method", "GET", INFER, None, {}),
    ("a change of the repository", "POST", "/v2/repository/models/m/load", b"", {}),
    ("too much", "POST", INFER, None, {"content-length": str(1 << 40)}),
]


def test_every_call_is_answered_as_the_pod_answers_it(on: Stage) -> None:
    pod = on.begin_pod()
    pod.process.until(lambda: call("GET", pod.address, on.pod_ports[0], "/v2/health/ready")[0] == 200)
    on.list_pod(pod, ready=True)
    for reason, method, path, body, headers in CALLS:
        sent = {**headers, "transfer-encoding": "chunked"} if isinstance(body, list) else headers
        expected = call(method, pod.address, on.pod_ports[0], path, body, sent)
        assert expected == call(method, "127.0.0.1", on.ports[0], path, body, sent), reason


def test_a_large_body_passes_whole_in_both_directions(on: Stage) -> None:
    rows = np.random.default_rng(1).random((400_000, 4), np.float32)  # 6.4 MB up, 4.8 MB down
    head = HEAD.replace(b"[2, 4]", b"[400000, 4]").replace(b": 32}", b": %d}" % rows.nbytes)
    headers = {**BINARY, "inference-header-content-length": str(len(head))}
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(call, "POST", "127.0.0.1", on.ports[0], INFER, head + rows.tobytes(), headers)
        on.until_held(1)
        on.begin_pod()
        status, told, body = sent.result(120)
    assert 200 == status
    answer = np.frombuffer(body[int(dict(told)["inference-header-content-length"]) :], np.float32).reshape(-1, 3)
    np.testing.assert_allclose(answer, rows @ WEIGHTS, rtol=1e-4)


def test_health_is_told_without_waking_anybody(on: Stage) -> None:
    cursor = on.demand()["cursor"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2/models/m/versions/1/ready"):
        assert 200 == call("GET", "127.0.0.1", on.ports[0], path)[0], "a call that comes now is served"
        assert 200 == call("HEAD", "127.0.0.1", on.ports[0], path)[0]
    assert b'{"name":"m","ready":true}' == call("GET", "127.0.0.1", on.ports[0], "/v2/models/m/ready")[2]
    on.route(wake=False, refusal={"reason": "BudgetExceeded", "message": "spent"})
    assert 200 == call("GET", "127.0.0.1", on.ports[0], "/v2/health/live")[0]
    for path in ("/v2/health/ready", "/v2/models/m/ready"):
        status, _, body = call("GET", "127.0.0.1", on.ports[0], path)
        assert (503, False) == (status, json.loads(body)["ready"]), "it would not be"
    on.route()
    told = on.demand()
    assert ([], True) == (told["models"], told["cursor"] > cursor), "the cursor moved for routes alone"


@pytest.mark.parametrize(
    ("reason", "method", "path", "status"),
    [
        ("a path that no pod serves", "GET", "/favicon.ico", 404),
        ("another model's name", "POST", "/v2/models/other/infer", 404),
        ("a version that is not there", "GET", "/v2/models/m/versions/9", 404),
        ("a method that no pod takes", "GET", INFER, 405),
        ("what no pod ever allows", "POST", "/v2/repository/models/m/unload", 403),
    ],
)
def test_what_no_pod_would_serve_wakes_nobody(on: Stage, reason: str, method: str, path: str, status: int) -> None:
    cursor = on.demand()["cursor"]
    assert status == call(method, "127.0.0.1", on.ports[0], path)[0], reason
    assert cursor == on.demand()["cursor"]


def test_an_answer_sends_the_client_to_the_pods(on: Stage) -> None:
    pod = on.begin_pod()
    connection = http.client.HTTPConnection("127.0.0.1", on.ports[0], timeout=120)
    connection.request("POST", INFER, JSON)
    answer = connection.getresponse()
    answer.read()
    assert (200, "close") == (answer.status, answer.getheader("connection"))
    on.end_pod(pod)
    connection.request("GET", "/v2/health/ready")
    answer = connection.getresponse()
    answer.read()
    assert (200, None) == (answer.status, answer.getheader("connection")), "at zero there is nowhere else to go"
    connection.close()


def test_a_body_that_turns_out_too_large_is_refused(on: Stage) -> None:
    on.route(maxBodyBytes=1000)
    on.begin_pod()
    headers = {"transfer-encoding": "chunked"}
    status, _, body = call("POST", "127.0.0.1", on.ports[0], INFER, [b"x" * 400] * 10, headers)
    assert (413, "request body is over the limit of 1000 bytes") == (status, json.loads(body)["error"])


def test_an_answer_that_comes_before_the_body_is_read_reaches_the_caller(on: Stage) -> None:
    """The pod is a socket that reads a head, answers, and reads no more."""
    pod = on.stranger()
    with socket.create_server((pod.address, on.pod_ports[0])) as server, ThreadPoolExecutor(1) as pool:
        on.list_pod(pod, ready=True)
        sent = pool.submit(call, "POST", "127.0.0.1", on.ports[0], INFER, b"x" * (4 << 20))
        taken, _ = server.accept()
        with taken:
            taken.recv(1 << 16)
            taken.sendall(b"HTTP/1.1 415 Unsupported Media Type\r\ncontent-length: 2\r\n\r\nno")
            assert (415, b"no") == sent.result(30)[::2]


def test_expect_continue_is_answered_when_a_pod_takes_the_body(on: Stage) -> None:
    with socket.create_connection(("127.0.0.1", on.ports[0]), 30) as caller:
        head = f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(JSON)}\r\nExpect: 100-continue\r\n\r\n"
        caller.sendall(head.encode())
        on.until_held(1)
        caller.settimeout(0.3)
        with pytest.raises(TimeoutError):
            caller.recv(1)
        on.begin_pod()
        caller.settimeout(30)
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == caller.recv(25)
        caller.sendall(JSON)
        assert caller.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
