"""The door, the bounds of the queue, and what is lost when something ends: one answer at most, and it may be asked for again."""

import http.client
import json
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.activators import Pod, Stage, activator_of, call, token_review
from tests.callers import request
from tests.contract.test_activator_rest import INFER, JSON
from tests.onnx_models import save, slow
from tests.ports import free_ports

pytestmark = pytest.mark.process
Answer = tuple[int, dict[str, str], bytes]


def rest(port: int, token: str = "") -> Answer:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    status, told, body = call("POST", "127.0.0.1", port, INFER, JSON, headers)
    return status, dict(told), body


def rpc(port: int, token: str = "", timeout: float = 120) -> tuple[str, str, dict[str, Any]]:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request("m"), metadata=metadata, timeout=timeout)
        except grpc.RpcError as error:
            return error.code().name, error.details() or "", dict(error.trailing_metadata() or ())
    return "OK", "", {}


def test_only_who_may_predict_wakes_a_model(on: Stage) -> None:
    on.api.users |= {"good": "system:serviceaccount:shop:caller", "poor": "system:serviceaccount:shop:stranger"}
    on.api.permitted.add(("system:serviceaccount:shop:caller", "m"))
    on.route(access=token_review())
    cursor = on.demand()["cursor"]
    for token, status, code in (
        ("", 401, "UNAUTHENTICATED"),
        ("bad", 401, "UNAUTHENTICATED"),
        ("poor", 403, "PERMISSION_DENIED"),
    ):
        assert status == rest(on.ports[0], token)[0]
        assert code == rpc(on.ports[1], token)[0]
    assert cursor == on.demand()["cursor"], "nobody was let in"
    with ThreadPoolExecutor(2) as pool:
        calls: list[Future[Any]] = [pool.submit(rest, on.ports[0], "good"), pool.submit(rpc, on.ports[1], "good")]
        on.until_held(2)
        assert cursor < on.demand()["cursor"]
        on.begin_pod()
        assert (200, "OK") == (calls[0].result(120)[0], calls[1].result(120)[0])


def test_a_stranger_is_refused_before_the_body_is_read(on: Stage) -> None:
    on.route(access=token_review())
    with socket.create_connection(("127.0.0.1", on.ports[0]), 30) as caller:
        caller.sendall(f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: 1000\r\n\r\n".encode())
        assert caller.recv(1 << 16).startswith(b"HTTP/1.1 401 ")


def test_nobody_gets_in_while_nobody_can_be_asked(on: Stage) -> None:
    on.route(access=token_review())
    on.api.is_away = True
    assert 503 == rest(on.ports[0], "good")[0]
    on.api.is_away = False


def test_a_full_queue_says_when_to_come_back(on: Stage) -> None:
    on.route(maxHeld=2)
    with ThreadPoolExecutor(2) as pool:
        held: list[Future[Any]] = [pool.submit(rest, on.ports[0]), pool.submit(rpc, on.ports[1])]
        on.until_held(2)
        status, told, body = rest(on.ports[0])
        assert (429, "1") == (status, told["retry-after"])
        assert "the model is starting and 2 requests wait for it already, retry in 1 s" == json.loads(body)["error"]
        code, words, trailing = rpc(on.ports[1])
        assert ("RESOURCE_EXHAUSTED", "1000") == (code, trailing["grpc-retry-pushback-ms"])
        assert json.loads(body)["error"] == words
        on.begin_pod()
        assert (200, "OK") == (held[0].result(120)[0], held[1].result(120)[0])


def test_a_hold_ends_with_a_retryable_error(on: Stage) -> None:
    on.route(holdSeconds=1)
    began = time.monotonic()
    status, told, body = rest(on.ports[0])
    assert (503, "1") == (status, told["retry-after"])
    assert "the model did not start within 1 s, try again" == json.loads(body)["error"]
    assert ("UNAVAILABLE", "the model did not start within 1 s, try again") == rpc(on.ports[1])[:2]
    assert 2 <= time.monotonic() - began < 30
    assert 0 == on.held()


def test_who_may_not_wake_is_told_why_also_when_it_is_held_already(on: Stage) -> None:
    refusal = {"reason": "BudgetExceeded", "message": "500 of 500 USD are spent"}
    with ThreadPoolExecutor(2) as pool:
        held: list[Future[Any]] = [pool.submit(rest, on.ports[0]), pool.submit(rpc, on.ports[1])]
        on.until_held(2)
        cursor = on.route(wake=False, refusal=refusal) and on.demand()["cursor"]
        answers = [held[0].result(30), rest(on.ports[0])]
        for status, told, body in answers:
            assert (503, "30") == (status, told["retry-after"])
            expected = "the model may not be started: BudgetExceeded: 500 of 500 USD are spent"
            assert expected == json.loads(body)["error"]
        assert "UNAVAILABLE" == held[1].result(30)[0] == rpc(on.ports[1])[0]
        assert cursor == on.demand()["cursor"]


@pytest.mark.parametrize("size", [100, 150_000], ids=["a small body", "a body that is not read whole"])
def test_who_hangs_up_leaves_the_queue(on: Stage, size: int) -> None:
    with socket.create_connection(("127.0.0.1", on.ports[0]), 30) as caller:
        head = f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: {size}\r\n\r\n".encode()
        caller.sendall(head + b"x" * size)
        on.until_held(1)
    on.until_held(0)
    future = rpc_future(on)
    on.until_held(1)
    future.cancel()
    on.until_held(0)


def rpc_future(on: Stage) -> Any:
    channel = on.stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}"))
    return pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(request("m"), timeout=120)


def test_a_pod_that_refuses_is_passed_over_and_another_serves(on: Stage) -> None:
    dead = on.stranger()
    on.list_pod(dead, ready=True)  # as the kubelet said, seconds ago
    with ThreadPoolExecutor(2) as pool:
        calls: list[Future[Any]] = [pool.submit(rest, on.ports[0]), pool.submit(rpc, on.ports[1])]
        on.until_held(2)
        on.begin_pod()
        assert (200, "OK") == (calls[0].result(120)[0], calls[1].result(120)[0])


def test_a_pod_that_dies_takes_only_what_it_had(on: Stage) -> None:
    """The pod is a socket that takes the request, and then ends without a word."""
    pod = on.stranger()
    with socket.create_server((pod.address, on.pod_ports[0])) as server, ThreadPoolExecutor(1) as pool:
        on.list_pod(pod, ready=True)
        lost = pool.submit(rest, on.ports[0])
        taken, _ = server.accept()
        assert taken.recv(1 << 16).startswith(b"POST /v2/models/m/infer HTTP/1.1\r\n")
        taken.close()
        status, told, body = lost.result(30)
    assert (503, "1") == (status, told["retry-after"])
    assert "the pod that had the request ended before it answered, try again" == json.loads(body)["error"]
    with ThreadPoolExecutor(1) as pool:
        next_one = pool.submit(rest, on.ports[0])
        on.until_held(1)
        on.begin_pod()
        assert 200 == next_one.result(120)[0]


def test_a_killed_process_takes_only_what_it_had_over_both_transports(on: Stage) -> None:
    """A model that takes a minute, and a pod that is killed meanwhile."""
    save(slow(), on.model / "model.onnx")
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [60_000, 0, 0, 0]}
    body, message = json.dumps({"inputs": [tensor]}).encode(), request("m")
    message.inputs[0].contents.fp32_contents[0] = 60_000
    with ThreadPoolExecutor(2) as pool, grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}") as channel:
        lost = pool.submit(call, "POST", "127.0.0.1", on.ports[0], INFER, body)
        also = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(message, timeout=120)
        on.until_held(2)
        pod = on.begin_pod()
        on.activator.until(lambda: [one["forwarding"] for one in on.demand()["models"]] == [2], 30)
        pod.process.until(lambda: "modelward_in_flight 2.0" in pod_metrics(on, pod), 30)
        on.kill_pod(pod)
        status, _, told = lost.result(30)
        words = "the pod that had the request ended before it answered, try again"
        assert (503, words) == (status, json.loads(told)["error"])
        assert (grpc.StatusCode.UNAVAILABLE, words) == (also.code(), also.details())


def pod_metrics(on: Stage, pod: Pod) -> str:
    return call("GET", pod.address, on.pod_ports[2], "/metrics")[2].decode()


def test_an_answer_that_breaks_off_breaks_off_for_the_caller_too(on: Stage) -> None:
    pod = on.stranger()
    with socket.create_server((pod.address, on.pod_ports[0])) as server, ThreadPoolExecutor(1) as pool:
        on.list_pod(pod, ready=True)
        caller = pool.submit(rest, on.ports[0])
        taken, _ = server.accept()
        taken.recv(1 << 16)
        taken.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        taken.shutdown(socket.SHUT_WR)  # its end comes behind what was sent; closed, it might take that back
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            caller.result(30)
        taken.close()


def test_sigterm_lets_go_of_what_is_held_with_a_retryable_error(on: Stage) -> None:
    with ThreadPoolExecutor(3) as pool:
        held: list[Future[Any]] = [pool.submit(rest, on.ports[0]), pool.submit(rpc, on.ports[1])]
        on.until_held(2)
        on.activator.signal()
        on.activator.until(lambda: on.activator.get("/readyz") == (503, "draining\n"), 30)
        late = pool.submit(rest, on.ports[0])
        on.until_held(3)
        assert 0 == on.activator.exit_code(30)
        for status, told, body in (held[0].result(30), late.result(30)):
            assert (503, "1") == (status, told["retry-after"])
            assert "this activator is on its way out, try again" == json.loads(body)["error"]
        assert ("UNAVAILABLE", "this activator is on its way out, try again") == held[1].result(30)[:2]


def test_what_is_held_when_sigterm_comes_is_served_if_the_pod_comes_in_time(on: Stage) -> None:
    with ThreadPoolExecutor(2) as pool:
        held: list[Future[Any]] = [pool.submit(rest, on.ports[0]), pool.submit(rpc, on.ports[1])]
        on.until_held(2)
        pod = on.begin_pod(listed=False)  # how long it takes to start is the machine's
        pod.process.until(lambda: call("GET", pod.address, on.pod_ports[0], "/v2/health/ready")[0] == 200)
        on.activator.signal()
        on.list_pod(pod)
        assert (200, "OK") == (held[0].result(30)[0], held[1].result(30)[0])
        assert 0 == on.activator.exit_code(30)


def test_when_one_activator_dies_the_other_holds_what_it_held(on: Stage) -> None:
    """Both watch the same table; each has a node's worth of the ports, here an address."""
    own = ("--pod-admin-port", str(on.pod_ports[2]))
    with activator_of(on.api, on.folder / "other", *own, host="127.0.0.7"), ThreadPoolExecutor(20) as pool:
        ours = [pool.submit(rest, on.ports[0]) for _ in range(5)]
        theirs = [pool.submit(call, "POST", "127.0.0.7", on.ports[0], INFER, JSON) for _ in range(5)]
        on.until_held(5)
        on.activator.signal(signal.SIGKILL)
        assert ["reset"] * 5 == [failure(one) for one in ours], "what a client may send again"
        on.begin_pod()
        assert [200] * 5 == [one.result(120)[0] for one in theirs]


def failure(future: "Future[Answer]") -> str:
    """What a client that was cut off sees; http.client calls it by two names."""
    error = future.exception(30)
    return "reset" if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError) else repr(error)


def test_the_last_table_holds_while_the_api_is_away(on: Stage) -> None:
    pod = on.begin_pod()
    assert 200 == rest(on.ports[0])[0]
    on.api.is_away = True
    on.api.end_watches()
    time.sleep(1)
    assert (200, "ready\n") == on.activator.get("/readyz")
    assert 200 == rest(on.ports[0])[0]
    on.api.is_away = False
    on.end_pod(pod)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(rest, on.ports[0])
        on.until_held(1)
        on.begin_pod()
        assert 200 == held.result(120)[0], "the watch goes on"


@pytest.mark.parametrize("expired", [False, True], ids=["a watch ends", "the version is too old"])
def test_a_watch_that_ends_is_begun_anew(on: Stage, expired: bool) -> None:
    on.api.end_watches(expired=expired)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(rest, on.ports[0])
        on.until_held(1)
        on.begin_pod()
        assert 200 == held.result(120)[0]


def test_ports_come_and_go_with_their_routes(on: Stage) -> None:
    http_port, grpc_port = free_ports(2)
    on.route("n", (http_port, grpc_port))
    assert 200 == call("GET", "127.0.0.1", http_port, "/v2/health/live")[0]
    del on.routes["n"]
    on.write_routes()
    assert 200 == call("GET", "127.0.0.1", http_port, "/v2/health/live")[0], (
        "it may only be moving to another ConfigMap"
    )
    on.activator.until(lambda: is_closed(http_port) and is_closed(grpc_port), 15)
    assert 200 == call("GET", "127.0.0.1", on.ports[0], "/v2/health/live")[0]


def is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def test_a_port_that_is_taken_keeps_no_other_model_from_being_held(on: Stage) -> None:
    http_port, grpc_port, other_http, other_grpc = free_ports(4)
    with socket.create_server(("127.0.0.1", http_port)):
        on.routes["taken"] = {**on.routes["m"], "name": "taken", "ports": {"http": http_port, "grpc": grpc_port}}
        on.routes["free"] = {**on.routes["m"], "name": "free", "ports": {"http": other_http, "grpc": other_grpc}}
        on.write_routes(wait=False)
        on.activator.until(lambda: not is_closed(other_http), 15)
        assert {} == on.demand()["routes"], "the operator must not count on a model that has no port"
    on.activator.until(lambda: len(on.demand()["routes"]) == 1, 15)


def test_what_cannot_be_parsed_leaves_the_last_good_routes(on: Stage) -> None:
    good = on.demand()["routes"]
    on.write("{")
    on.activator.until(lambda: "modelward_activator_tables_invalid 1.0" in on.activator.get("/metrics")[1], 15)
    assert good == on.demand()["routes"]
    assert 200 == call("GET", "127.0.0.1", on.ports[0], "/v2/health/live")[0]
