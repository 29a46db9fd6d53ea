"""The audit log of the real process: killed at any moment, on a full disk, under another policy; and payloads that are nowhere."""

import http.client
import json
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest
from onnx import TensorProto, helper

from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.audit_logs import check, kinds, records, write_keys
from tests.onnx_models import linear, save, value
from tests.onnx_models import model as make_model
from tests.processes import COMMAND, Process, call, run

pytestmark = pytest.mark.process

MARKER = "planted-5e1f-Marker"
ROWS = [[1.0, 0.0, 0.0, 0.0]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    save(linear(), tmp_path / "m/model.onnx")
    write_keys(tmp_path)
    return tmp_path


def policy(home: Path, generation: str = "1", *, folder: str = "audit", **changes: Any) -> str:
    audit = {
        "sink": {"type": "File", "directory": str(home / folder)},
        "signingKeyFile": str(home / "audit.pem"),
        **changes,
    }
    return json.dumps({"apiVersion": "runtime/v1", "kind": "Policy", "generation": generation, "audit": audit})


def start(home: Path, said: str, name: str = "p") -> Any:
    return run(home / name, {"directory": str(home / "m"), "name": "m"}, policy=said)


def predictions(*folders: Path) -> list[dict[str, Any]]:
    return [record["data"] for record in records(*folders) if record["type"].endswith(".prediction")]


def whole(line: bytes) -> bool:
    with suppress(ValueError):
        return bool(json.loads(line))
    return False


def ask_until_it_dies(process: Process, answered: list[int], number: int) -> None:
    """Calls whose sizes tell them apart in the log."""
    with suppress(OSError, http.client.HTTPException):
        while True:
            rows = ROWS * (number % 50 + 1)
            status, _, _ = process.infer("m", rows)
            if status == 200:
                answered.append(number % 50)
            number += 4


@pytest.mark.parametrize("durability", ["Buffered", "Synchronous"])
def test_a_log_is_whole_after_kills_at_any_moment_and_each_start_continues_it(home: Path, durability: str) -> None:
    chance = random.Random(7)
    sink = {"type": "File", "directory": str(home / "audit"), "maxFileBytes": 16384}
    said = policy(home, durability=durability, required=True, checkpointRecords=20, sink=sink)
    answered: list[int] = []
    for number in range(3):
        with start(home, said, f"p{number}") as process:
            process.until_ready()
            threads = [threading.Thread(target=ask_until_it_dies, args=(process, answered, n)) for n in range(4)]
            for thread in threads:
                thread.start()
            enough = len(answered) + 20
            process.until(lambda: len(answered) > enough and len(signed(home / "audit")) > number)  # noqa: B023  waited for here
            time.sleep(chance.random() * 0.4)
            process.signal(signal.SIGKILL)
            process.exit_code()
            for thread in threads:
                thread.join()
        told = check(home / "audit")
        assert told.is_whole, told.findings
        assert number + 1 == len(told.chains)
        assert all(chain.unsigned < 40 for chain in told.chains), "the tail since the last checkpoint"
    geneses = [record for record in lines(home / "audit") if record["type"].endswith("genesis")]
    geneses.sort(
        key=lambda genesis: str(genesis["time"])  # names of files count seconds, in which a process may start twice
    )
    assert [0, 1, 2] == [len(genesis["data"]["found"]) for genesis in geneses]
    kept = sum(record["type"].endswith("prediction") for record in lines(home / "audit"))
    assert len(answered) > 50
    if durability == "Synchronous":
        assert kept >= len(answered), "no answer left before its record was on the disk"


def signed(folder: Path) -> set[str]:
    """The chains that have a signature on the disk."""
    return {record["source"] for record in lines(folder) if record["type"].endswith("checkpoint")}


def lines(folder: Path) -> list[dict[str, Any]]:
    """Whole records only: a kill may tear one."""
    return [
        json.loads(line) for file in sorted(folder.iterdir()) for line in file.read_bytes().splitlines() if whole(line)
    ]


def limit_files(process: Process, size: int) -> None:
    _, hard = resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_required_log_on_a_full_disk_stops_the_answers_and_heals(home: Path) -> None:
    with start(home, policy(home, durability="Synchronous", required=True)) as process:
        process.until_ready()
        assert 200 == process.infer("m", ROWS)[0]
        (file,) = (home / "audit").iterdir()
        limit_files(process, file.stat().st_size + 100)
        status, _, answer = process.infer("m", ROWS)
        assert (503, "the audit log takes no records") == (status, answer["error"])
        assert 503 == process.infer("m", ROWS)[0]
        status, why = process.get("/readyz")
        assert (503, True) == (status, why.startswith("the audit log cannot be written: "))
        assert "File too large" in process.report()["audit"]["failure"]
        assert 200 == process.get("/livez")[0]
        assert "modelward_audit_failing 1.0" in process.get("/metrics")[1]
        limit_files(process, resource.RLIM_INFINITY)
        process.until(lambda: process.get("/readyz")[0] == 200, 20)
        assert 200 == process.infer("m", ROWS)[0]
        assert process.report()["audit"]["failure"] == ""
        process.signal()
        assert process.exit_code() == 0
    assert check(home / "audit").is_whole
    found = kinds(records(home / "audit"))
    assert (3, 1, 1) == (found.count("prediction"), found.count("withheld"), found.count("lost"))


@pytest.mark.parametrize("durability", ["Buffered", "Synchronous"])
def test_a_caller_cannot_have_a_required_log_deleted_by_calling_often_enough(home: Path, durability: str) -> None:
    """The kubelet evicts a pod whose folder outgrows its limit, and deletes the folder: the pod stops before."""
    limit = 256 << 10
    sink = {"type": "File", "directory": str(home / "audit"), "maxFileBytes": 65536, "sizeLimitBytes": limit}
    with start(home, policy(home, durability=durability, required=True, sink=sink)) as process:
        process.until_ready()
        answered = 0
        with closing(http.client.HTTPConnection("127.0.0.1", process.ports[0], timeout=10)) as connection:
            while answered < 20_000:
                connection.request("POST", "/v2/models/m/infer", b"{", {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 503:
                    break
                assert 400 == answer.status, "a call that costs its caller nothing leaves a record too"
                answered += 1
        assert 503 == answer.status
        taken = sum(file.stat().st_blocks * 512 for file in (home / "audit").iterdir())
        assert limit * 0.7 < taken <= limit * 0.9
        status, why = process.get("/readyz")
        assert 503 == status
        assert f"{home / 'audit'}: " in why
        assert "copy the records and replace the pod" in why
        assert "copy the records" in process.report()["audit"]["failure"]
        assert 200 == process.get("/livez")[0], "who starts it anew gains nothing"
        process.signal()
        process.exit_code()
    told = check(home / "audit")
    assert told.is_whole, told.findings


def test_a_log_that_is_not_required_is_never_in_the_way(home: Path) -> None:
    with start(home, policy(home)) as process:
        process.until_ready()
        process.until(lambda: any((home / "audit").iterdir()))
        limit_files(process, 1)
        for _ in range(5):
            assert 200 == process.infer("m", ROWS)[0]
        process.until(lambda: "modelward_audit_failing 1.0" in process.get("/metrics")[1])
        assert 200 == process.get("/readyz")[0]
        limit_files(process, resource.RLIM_INFINITY)
        process.signal()
        assert process.exit_code() == 0
    assert 5 == len(predictions(home / "audit"))
    assert check(home / "audit").is_whole


def test_another_policy_moves_the_log_without_a_gap(home: Path) -> None:
    write_keys(home, "next")
    with start(home, policy(home)) as process:
        process.until_ready()
        for generation, folder, signer in (("2", "second", "audit"), ("3", "second", "next"), ("4", "audit", "audit")):
            assert 200 == process.infer("m", ROWS)[0]
            said = policy(home, generation, folder=folder, signingKeyFile=str(home / f"{signer}.pem"))
            process.set_policy(said)
            process.until(lambda generation=generation: process.report()["policyGeneration"] == generation)
        assert 200 == process.infer("m", ROWS)[0]
        process.signal()
        assert process.exit_code() == 0
    assert ["1", "2", "3", "4"] == sorted(
        data["policyGeneration"] for data in predictions(home / "audit", home / "second")
    )
    trust = [f"--trust={home / name}" for name in ("audit.pub.pem", "next.pub.pem")]
    told = subprocess.run(
        [COMMAND, "audit", "verify", home / "audit", home / "second", *trust],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, True) == (told.returncode, "in 1 chains, 4 files" in told.stdout), told.stdout
    alone = subprocess.run(
        [COMMAND, "audit", "verify", home / "audit", home / "second", trust[0]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (1, True) == (alone.returncode, "which --trust does not name" in alone.stdout)


def test_switched_off_and_on_again_it_is_another_chain(home: Path) -> None:
    with start(home, policy(home)) as process:
        process.until_ready()
        bare = {"apiVersion": "runtime/v1", "kind": "Policy", "generation": "2"}
        for said, generation in ((json.dumps(bare), "2"), (policy(home, "3"), "3")):
            process.set_policy(said)
            process.until(lambda generation=generation: process.report()["policyGeneration"] == generation)
            assert 200 == process.infer("m", ROWS)[0]
        process.signal()
        assert process.exit_code() == 0
    told = check(home / "audit")
    assert (True, [True, True]) == (told.is_whole, [chain.closed for chain in told.chains])
    assert ["3"] == [data["policyGeneration"] for data in predictions(home / "audit")]


def test_without_its_key_the_pod_waits_and_a_key_that_comes_heals_it(home: Path) -> None:
    key = (home / "audit.pem").rename(home / "hidden.pem")
    with start(home, policy(home)) as process:
        failure = process.until_failing()
        assert ("PolicyUnsatisfiable", False) == (failure["reason"], failure["permanent"])
        assert "audit.signingKeyFile" in failure["message"]
        time.sleep(0.5)
        assert 503 == process.get("/readyz")[0]
        key.rename(home / "audit.pem")
        process.until_ready()
        assert process.report()["failure"] is None
        process.set_policy(policy(home, "2", signingKeyFile=str(home / "gone.pem")))
        report = process.until_report(lambda report: report["policyFailure"])
        assert ("1", True) == (report["policyGeneration"], "gone.pem" in report["policyFailure"])
        assert 200 == process.infer("m", ROWS)[0]
        process.signal()
        assert process.exit_code() == 0
    assert ["1"] == [data["policyGeneration"] for data in predictions(home / "audit")]


# ── payloads ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def text_model() -> onnx.ModelProto:
    inputs, outputs = [value("x", TensorProto.STRING, ["n"])], [value("y", TensorProto.STRING, ["n"])]
    return make_model([helper.make_node("Identity", ["x"], ["y"])], inputs, outputs)


def bodies() -> list[bytes]:
    """Every place of a request where a caller may write what is nobody's business."""
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [MARKER]}
    good = {"id": MARKER, "parameters": {"note": MARKER}, "inputs": [tensor]}
    return [
        json.dumps(good).encode(),
        json.dumps({"inputs": [{**tensor, "shape": [2]}]}).encode(),
        json.dumps({"inputs": [{**tensor, "datatype": "FP32"}]}).encode(),
        json.dumps({"inputs": [{**tensor, "data": [MARKER, 1]}]}).encode(),
        MARKER.encode(),
        b'{"inputs": "' + MARKER.encode(),
    ]


def send_everything(process: Process) -> None:
    for body in bodies():
        call(process.ports[0], "POST", "/v2/models/m/infer?q=" + MARKER, body)
    with grpc.insecure_channel(f"127.0.0.1:{process.ports[1]}") as channel:
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(MARKER.encode())
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(pb.ModelInferRequest(model_name="m", id=MARKER, inputs=[tensor]))
        tensor.shape[0] = 2
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(pb.ModelInferRequest(model_name="m", id=MARKER, inputs=[tensor]))


MODES: list[tuple[str, dict[str, Any] | None, Callable[[str], bool]]] = [
    ("none", None, lambda name: False),
    ("metadata", {"mode": "Metadata"}, lambda name: False),
    ("redacted", {"mode": "Redacted"}, lambda name: "_payloads." in name),
]


@pytest.mark.parametrize(("name", "logging", "may_hold_it"), MODES, ids=[row[0] for row in MODES])
def test_what_callers_send_is_in_no_log(
    tmp_path: Path, name: str, logging: dict[str, Any] | None, may_hold_it: Callable[[str], bool]
) -> None:
    save(text_model(), tmp_path / "m/model.onnx")
    write_keys(tmp_path)
    (tmp_path / "hash").write_bytes(b"k" * 32)
    said = json.loads(policy(tmp_path, inputHashKeyFile=str(tmp_path / "hash"), durability="Synchronous"))
    if logging:
        said["logging"] = {**logging, "sink": {"type": "File", "directory": str(tmp_path / "audit")}}
    with run(
        tmp_path / "p",
        {"directory": str(tmp_path / "m"), "name": "m"},
        policy=json.dumps(said),
        environment={"LOG_LEVEL": "debug"},
    ) as process:
        process.until_ready()
        send_everything(process)
        told = process.get("/metrics")[1] + json.dumps(process.report())
        process.signal()
        assert process.exit_code() == 0
        assert process.child.stdout is not None
        told += process.log() + process.child.stdout.read()
    assert MARKER not in told, name
    files = {file.name: file.read_text() for file in (tmp_path / "audit").iterdir()}
    assert {file for file, text in files.items() if MARKER in text} == {file for file in files if may_hold_it(file)}
    assert len(bodies()) + 2 == len(
        predictions(*(tmp_path / "audit" / file for file in files if "_payloads." not in file))
    )
    assert bool(logging) == any("_payloads." in file for file in files)


def test_a_signal_ends_a_pod_that_still_waits_for_its_key(home: Path) -> None:
    (home / "audit.pem").unlink()
    with start(home, policy(home)) as process:
        process.until(lambda: process.get("/livez")[0] == 200)
        began = time.monotonic()
        process.signal()
        assert process.exit_code() == 0
        assert time.monotonic() - began < 25
