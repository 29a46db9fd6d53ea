"""The process from outside: ready line, predictions, drain, exit codes, and the reason of every failure to load.

Everything here is the contract between the runtime and what surrounds it: a person at a laptop, the kubelet, the operator.
"""

import contextlib
import hashlib
import http.client
import json
import re
import shlex
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelward_runtime.config import boot_id
from modelward_runtime.proto import inference_pb2, inference_pb2_grpc
from modelward_runtime.serve import ECHO
from modelward_runtime.store.verify import digest_of
from tests.onnx_models import WEIGHTS, linear, save, slow
from tests.ports import free_ports
from tests.processes import COMMAND, POLICY, Process, call, command, forward, rounds, run, serve

pytestmark = pytest.mark.process

ROWS = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]]
EXPECTED = [*WEIGHTS[0].tolist(), *(2 * WEIGHTS[3]).tolist()]
WORKS = (2, 8, 16)
"""Seconds for which a request is in flight: the first ones, unless this process stood still for longer than they take."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a linear model."""
    save(linear(), tmp_path / "iris/model.onnx")
    return tmp_path / "iris"


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


def busy(process: Process) -> bool:
    return "modelward_in_flight 1.0" in process.get("/metrics")[1]


# ── modelward serve ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_serve_says_when_it_is_ready_and_what_to_try(model: Path, tmp_path: Path) -> None:
    with serve(model, tmp_path / "p") as process:
        assert process.child.stdout is not None
        line = process.child.stdout.readline()
        http_port, grpc_port, admin_port = process.ports
        assert line.startswith(
            f"iris is ready: REST http://127.0.0.1:{http_port}/v2/models/iris  gRPC 127.0.0.1:{grpc_port}  "
        )
        assert f"admin http://127.0.0.1:{admin_port}" in line
        curl, silent, url, option, body = shlex.split(line.partition("try: ")[2])
        assert ("curl", "-s", "-d") == (curl, silent, option)  # the bare machine has no curl: we do what it would
        with urllib.request.urlopen(url, body.encode(), timeout=20) as tried:
            assert json.load(tried)["outputs"][0]["data"] == [0.0, 0.0, 0.0]
        status, _, answer = process.infer("iris", ROWS)
        assert (200, EXPECTED) == (status, answer["outputs"][0]["data"])
        process.signal()
        assert process.exit_code() == 0
        assert process.child.stdout.read() == "", "one line, no more"


def sees_it_drain(process: Process) -> bool:
    """Say whether it told that it drains, and lives; it may have ended before anybody looked."""
    while process.child.poll() is None:
        with contextlib.suppress(OSError):
            if process.get("/readyz") == (503, "Draining\n"):
                return process.child.poll() is None
        time.sleep(0.02)
    return False


def test_serve_finishes_the_request_in_flight_and_exits_0(tmp_path: Path) -> None:
    for seconds in WORKS:
        with serve(save(slow(), tmp_path / "slow.onnx"), tmp_path / f"p{seconds}") as process:
            process.until_ready()
            work = rounds(process, seconds)
            thread, answers = in_background(partial(process.infer, "slow", [[work, 2.0, 3.0, 4.0]]))
            process.until(lambda: busy(process) or answers)  # noqa: B023  waited for here
            process.signal()
            was_seen = sees_it_drain(process)
            assert process.exit_code() == 0
            thread.join()
            status, headers, answer = answers[0]
            assert (200, [work, 2.0, 3.0, 4.0]) == (status, answer["outputs"][0]["data"])
            if was_seen and headers.get("connection") == "close":
                return
    raise AssertionError("no request was in flight while it drained and told its caller to leave")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with serve(save(slow(), tmp_path / "slow.onnx"), tmp_path / "p") as process:
        process.until_ready()
        thread, _ = in_background(lambda: _ignore(lambda: process.infer("slow", [[1e5, 2.0, 3.0, 4.0]])))
        process.until(lambda: busy(process))
        process.signal()
        process.until(lambda: process.get("/readyz")[0] == 503)
        time.sleep(ECHO)
        process.signal(signal.SIGINT)
        assert process.exit_code(30) == 143
        thread.join()


def test_one_wish_delivered_twice_drains(model: Path, tmp_path: Path) -> None:
    """`timeout` and `uv run` each pass a signal on. Both lie there when it looks, however long we take to send them."""
    with serve(model, tmp_path / "p") as process:
        process.until_ready()
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            process.signal(number)
        assert process.exit_code() == 0


def test_a_taken_port_is_named(model: Path, tmp_path: Path) -> None:
    with serve(model, tmp_path / "first") as first:
        first.until_ready()
        taken = str(first.ports[0])
        with serve(model, tmp_path / "second", "--http-port", taken) as second:
            assert second.exit_code() == 1
            assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in second.log()
        with serve(model, tmp_path / "third", "--grpc-port", str(first.ports[1])) as third:
            assert third.exit_code() == 1
            assert f"cannot listen on 127.0.0.1:{first.ports[1]}" in third.log()


def test_port_0_is_any_free_port(model: Path, tmp_path: Path) -> None:
    with serve(
        model, tmp_path / "p", "--http-port", "0", "--grpc-port", "0", "--admin-port", "0", "--name", "x"
    ) as process:
        assert process.child.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/v2/models/x", process.child.stdout.readline())
        assert found
        assert call(int(found[1]), "GET", "/v2/health/ready")[0] == 200


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serve(tmp_path / "nowhere", tmp_path / "p") as process:
        assert process.exit_code() == 78
        assert f"{tmp_path / 'nowhere'} does not exist" in process.log()


def test_digest_prints_what_to_declare(model: Path) -> None:
    told = subprocess.run([COMMAND, "digest", model], capture_output=True, text=True, check=True)
    assert f"{digest_of(model)}\n" == told.stdout
    missing = subprocess.run([COMMAND, "digest", "/nowhere"], capture_output=True, text=True, check=False)
    assert (1, "modelward digest: /nowhere: No such file or directory\n") == (missing.returncode, missing.stderr)


# ── modelward run: ready, report, policy, drain ───────────────────────────────────────────────────────────────────────


def test_run_reports_what_it_serves(model: Path, tmp_path: Path) -> None:
    source = {"directory": str(model), "digest": digest_of(model)}
    with run(tmp_path / "p", source, batching={"maxBatchSize": 4, "maxDelayMicroseconds": 0}) as process:
        process.until_ready()
        report = process.report()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report.pop("startedAt"))
        assert {"fetch", "verify", "load", "warmUp"} == set(report.pop("stageSeconds"))
        size = (model / "model.onnx").stat().st_size
        described = {"name": "m", "version": "7", "uri": "pvc://claim/m", "verified": True, "cached": False}
        expected = {
            "apiVersion": "runtime/v1",
            "kind": "Report",
            "boot": boot_id((process.folder / "boot.json").read_bytes()),
            "state": "Ready",
            "model": {**described, "digest": digest_of(model), "sizeBytes": size},
            "executionProvider": "CPUExecutionProvider",
            "policyGeneration": POLICY["generation"],
            "policyDigest": hashlib.sha256((process.folder / "policy.json").read_bytes()).hexdigest(),
            "policyFailure": None,
            "access": {"authentication": "None", "tls": None},
            "failure": None,
            "audit": None,
        }
        assert expected == report
        assert process.infer("m", ROWS)[0] == 200
        assert [200, 200, 200] == [process.get(path)[0] for path in ("/livez", "/startupz", "/readyz")]
        assert 'modelward_requests_total{code="200",transport="rest"} 1.0' in process.get("/metrics")[1]
        assert process.get("/nothing")[0] == 404
        assert call(process.ports[2], "POST", "/report")[0] == 405


def test_run_logs_json_without_payloads(model: Path, tmp_path: Path) -> None:
    with run(tmp_path / "p", {"directory": str(model)}) as process:
        process.until_ready()
        process.infer("m", [[123456789.0, 0.0, 0.0, 0.0]])
        process.signal()
        assert process.exit_code() == 0
        lines = [json.loads(line) for line in process.log().splitlines()]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
        assert {"ready", "request", "draining", "drained"} <= {line["message"] for line in lines}
        assert "123456789" not in process.log()


def test_policy_is_live_and_a_bad_one_leaves_the_last_good_one(model: Path, tmp_path: Path) -> None:
    with run(tmp_path / "p", {"directory": str(model)}) as process:
        process.until_ready()
        process.set_policy(json.dumps({**POLICY, "generation": "000000000002"}))
        process.until_report(lambda report: report["policyGeneration"] == "000000000002")
        process.set_policy(json.dumps({**POLICY, "generation": "000000000003", "redact": True}))
        report = process.until_report(lambda report: report["policyFailure"])
        assert report["policyGeneration"] == "000000000002"
        assert "unknown field `redact`" in report["policyFailure"]
        assert process.get("/readyz")[0] == 200
        (process.folder / "policy.json").unlink()
        process.until_report(lambda report: "No such file" in report["policyFailure"])
        process.set_policy(json.dumps({**POLICY, "generation": "000000000004"}))
        report = process.until_report(lambda report: report["policyGeneration"] == "000000000004")
        assert report["policyFailure"] is None


def test_a_drain_serves_on_unready_and_asks_clients_to_leave(model: Path, tmp_path: Path) -> None:
    with run(tmp_path / "p", {"directory": str(model)}, server={"drainSeconds": 5}) as process:
        process.until_ready()
        assert "connection" not in process.infer("m", ROWS)[1]
        began = time.monotonic()
        process.signal()
        process.until(lambda: process.get("/readyz") == (503, "Draining\n"))
        status, headers, _ = process.infer("m", ROWS)
        assert (200, "close") == (status, headers["connection"])
        assert process.get("/livez")[0] == 200
        assert process.get("/v2/health/ready", admin=False)[0] == 503
        assert process.exit_code() == 0
        assert time.monotonic() - began >= 5


def test_a_drain_fails_no_request_of_clients_that_heed_it(model: Path, tmp_path: Path) -> None:
    """Clients with connections kept open send without a pause and leave when an answer says so: no request is lost."""
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": ROWS}]})
    with run(tmp_path / "p", {"directory": str(model)}, server={"drainSeconds": 5}) as process:
        process.until_ready()

        def client() -> list[int]:
            answers, told = [], False
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", process.ports[0])) as connection:
                while not told:
                    connection.request("POST", "/v2/models/m/infer", body)
                    answer = connection.getresponse()
                    answer.read()
                    answers.append(answer.status)
                    told = answer.getheader("connection") == "close"
            return answers

        clients = [in_background(client) for _ in range(4)]
        time.sleep(0.3)
        process.signal()
        for thread, _ in clients:
            thread.join(30)
        assert process.exit_code() == 0
    assert all(answers and {200} == set(answers[0]) for _, answers in clients)


def predict_until(over: threading.Event, port: int, pause: float, versions: list[str]) -> None:
    """Calls one after the other on one gRPC channel, and one more at the end: adds the versions that answer."""
    tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0, 4.0])
    request = inference_pb2.ModelInferRequest(model_name="m", inputs=[tensor])
    own = [("grpc.use_local_subchannel_pool", 1)]  # or channels to one address would share a connection
    with grpc.insecure_channel(f"127.0.0.1:{port}", own) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        last = False
        while not last:
            last = over.wait(pause)
            versions.append(str(stub.ModelInfer(request, timeout=20).model_version))


def test_a_drain_fails_no_call_of_lasting_grpc_connections(model: Path, tmp_path: Path) -> None:
    """Clients that know nothing of a drain call on, through what a Service is to them: each moves and no call is lost."""
    source, server = {"directory": str(model)}, {"drainSeconds": 5}
    over, answers = threading.Event(), list[list[str]]([] for _ in range(4))
    with (
        run(tmp_path / "old", source, server=server) as old,
        run(tmp_path / "new", {**source, "version": "8"}) as new,
        forward(old.ports[1]) as service,
    ):
        old.until_ready()
        new.until_ready()
        clients = [
            in_background(partial(predict_until, over, service.port, pause, versions))[0]
            for versions, pause in zip(answers, (0.0, 0.0, 0.01, 0.01), strict=True)
        ]
        try:
            old.until(lambda: all(answers))
            service.target = new.ports[1]
            old.signal()
            assert old.exit_code() == 0
        finally:
            over.set()
            for thread in clients:
                thread.join(30)
    assert [(["7", "8"], "8")] * 4 == [(sorted(set(versions)), versions[-1]) for versions in answers]


def test_a_grpc_call_in_flight_ends_well(tmp_path: Path) -> None:
    for seconds in WORKS:
        with serve(save(slow(), tmp_path / "slow.onnx"), tmp_path / f"p{seconds}") as process:
            process.until_ready()
            tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
            tensor.contents.fp32_contents.extend([rounds(process, seconds), 2.0, 3.0, 4.0])
            request = inference_pb2.ModelInferRequest(model_name="slow", inputs=[tensor])
            with grpc.insecure_channel(f"127.0.0.1:{process.ports[1]}") as channel:
                stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
                thread, answers = in_background(partial(stub.ModelInfer, request, timeout=120))
                process.until(lambda: busy(process) or answers)  # noqa: B023  waited for here
                process.signal()
                was_seen = sees_it_drain(process)
                assert process.exit_code() == 0
                thread.join()
        assert answers[0].outputs[0].name == "y"
        if was_seen:
            return
    raise AssertionError("no call was in flight while it drained")


def test_a_drain_does_not_wait_for_idle_connections(model: Path, tmp_path: Path) -> None:
    with run(tmp_path / "p", {"directory": str(model)}) as process:
        process.until_ready()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", process.ports[0])) as idle:
            idle.request("GET", "/v2/health/live")
            assert idle.getresponse().status == 200
            began = time.monotonic()
            process.signal()
            assert process.exit_code() == 0
            assert time.monotonic() - began < 25, "less than the 30 s that a request in flight would have"


# ── modelward run: failures to load ───────────────────────────────────────────────────────────────────────────────────


def folder(root: Path, content: bytes) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "model.onnx").write_bytes(content)
    return root


# Every other reason is in tests/unit/test_load.py, without a process of its own.
WHOLE = linear().SerializeToString()
ZEROS = "sha256:" + "0" * 64
Case = tuple[str, Callable[[Path], Path], dict[str, str], str, str, str]
FAILURES: list[Case] = [
    ("wrong digest", lambda p: folder(p, WHOLE), {"digest": ZEROS}, "verify", "DigestMismatch", f"declared is {ZEROS}"),
    ("nothing there", lambda p: p / "gone", {}, "fetch", "ModelNotFound", "gone does not exist"),
    ("truncated", lambda p: folder(p, WHOLE[:-9]), {}, "load", "InvalidModel", "was it cut?"),
    ("no model", lambda p: folder(p, b"<html>"), {}, "load", "InvalidModel", "it is HTML or XML"),
]


@pytest.mark.parametrize("case", FAILURES, ids=[case[0] for case in FAILURES])
def test_a_permanent_failure_says_why_and_exits_78(tmp_path: Path, case: Case) -> None:
    _, prepare, source, stage, reason, text = case
    path = prepare(tmp_path / "m")
    with run(tmp_path / "p", {"directory": str(path), **source}) as process:
        assert process.exit_code() == 78, process.log()
        failure = process.termination()
        assert (stage, reason, True) == (failure["stage"], failure["reason"], failure["permanent"])
        assert text in failure["message"]
        assert failure["uri"] == "pvc://claim/m"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", failure["time"])
        last = json.loads(process.log().splitlines()[-1])
        assert ("error", reason) == (last["level"], last["reason"])
        assert "Traceback" not in process.log()


def test_a_transient_failure_is_shown_and_tried_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    source = {"uri": "s3://b/m.onnx", "s3": {"endpoint": f"http://127.0.0.1:{port}"}}
    with run(tmp_path / "p", source) as process:
        report = process.until_report(lambda report: report["failure"])
        assert report["state"] == "Fetching"
        assert ("fetch", "SourceUnreachable", False) == tuple(
            report["failure"][k] for k in ("stage", "reason", "permanent")
        )
        assert "Connection refused" in report["failure"]["message"]
        assert process.get("/livez")[0] == 200
        for path in ("/startupz", "/readyz"):
            status, text = process.get(path)
            assert (503, True) == (status, text.startswith("Fetching: SourceUnreachable: "))
        process.until(lambda: process.infer("m", ROWS)[0] == 503)
        process.signal()
        assert process.exit_code(10) == 0, "nothing is in flight: a signal ends a load at once"


FILES = {"boot": "boot.json", "policy": "policy.json", "termination-log": "termination-log"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"apiVersion": "runtime/v1", "kind": "Boot"}', "Object missing required field `model`"),
        ("{", "Input data was truncated"),
        (
            '{"apiVersion": "runtime/v1", "kind": "Boot", "model": {"name": "m", "version": "1", "uri": "s3://b/m", "key": 1}}',
            "`key`",
        ),
    ],
)
def test_a_wrong_boot_file_exits_78_with_the_path(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "boot.json").write_text(content)
    (tmp_path / "termination-log").touch()
    arguments = [f"--{name}={tmp_path / file}" for name, file in FILES.items()]
    ended = subprocess.run([COMMAND, "run", *arguments], capture_output=True, text=True, check=False)
    failure = json.loads((tmp_path / "termination-log").read_text())
    assert (78, "ConfigInvalid", True) == (ended.returncode, failure["reason"], failure["permanent"])
    assert text in failure["message"]


def test_without_a_good_policy_nothing_is_served_until_one_arrives(model: Path, tmp_path: Path) -> None:
    with run(tmp_path / "p", {"directory": str(model)}, policy="{}") as process:
        failure = process.until_failing()
        assert ("PolicyUnsatisfiable", False) == (failure["reason"], failure["permanent"])
        assert "policy.json: Object missing required field `apiVersion`" in failure["message"]
        assert process.get("/readyz")[0] == 503
        process.set_policy(json.dumps(POLICY))
        process.until_ready()
        assert process.report()["failure"] is None


def test_run_leaves_no_core_and_cannot_be_looked_into(model: Path, tmp_path: Path) -> None:
    with run(tmp_path / "p", {"directory": str(model)}, apart=True) as process:
        process.until_ready()
        limits = Path(f"/proc/{process.child.pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits)
        assert process.is_closed()


def test_a_process_that_did_not_close_itself_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.processes.COMMAND", Path("/bin/sleep"))
    with command(tmp_path, ["60"], (0, 0, 0), {}, apart=True) as process:
        assert not process.is_closed()


def _ignore(work: Callable[[], Any]) -> None:
    with contextlib.suppress(OSError, ValueError):
        work()
