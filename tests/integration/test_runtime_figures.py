"""What the runtime promises in numbers: memory beside the model, and silence towards the world, for long enough to tell."""

import json
import platform
import re
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import onnx_models, processes
from tests.audit_logs import write_keys
from tests.integration.registry import registry
from tests.onnx_models import save, value
from tests.processes import POLICY, Process, run
from tests.unit.test_engine_telemetry import SERVE
from tests.unit.test_engine_telemetry import run as trapped
from tests.waiting import wait_for

LOADS = 4  # of which one must leave probes alone
LONG = 25  # seconds; ONNX Runtime's first upload comes after some ten


def dense(megabytes: int) -> onnx.ModelProto:
    """y[N, 64] = x[N, 64] through a matrix of so many megabytes and back."""
    width = megabytes * (1 << 20) // 4 // 64 // 2
    weights = [
        numpy_helper.from_array(np.ones((64, width), np.float32), "up"),
        numpy_helper.from_array(np.ones((width, 64), np.float32), "down"),
    ]
    nodes = [helper.make_node("MatMul", ["x", "up"], ["h"]), helper.make_node("MatMul", ["h", "down"], ["y"])]
    ends = [value(name, TensorProto.FLOAT, ["N", 64]) for name in ("x", "y")]
    return onnx_models.model(nodes, ends[:1], ends[1:], weights)


def resident(pid: int) -> float:
    """Megabytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_memory_is_under_150_mb_beside_the_model(tmp_path: Path) -> None:
    for megabytes in (1, 200):
        file = save(dense(megabytes), tmp_path / f"{megabytes}/model.onnx")
        with run(tmp_path / f"p{megabytes}", {"directory": str(file.parent)}) as process:
            process.until_ready()
            for _ in range(50):
                assert process.infer("m", [[1.0] * 64] * 4)[0] == 200
            used = resident(process.child.pid)
        assert used < 150 + megabytes, f"{used:.0f} MB with a model of {megabytes} MB"


def waits_until_ready(process: Process) -> list[float]:
    """Ask without pause, from when the port is open; seconds that each answer took without those in which a processor was waited for."""
    waits: list[float] = []
    told: list[int] = [0]
    while told[-1] != 200:
        assert process.child.poll() is None
        for path in ("/livez", "/metrics", "/readyz"):
            with suppress(ConnectionRefusedError):
                waits.append(wait_for(lambda: told.append(process.get(path)[0]), process.child.pid).ours)  # noqa: B023  called at once
        assert told[-1] in {0, 200, 503}
    return waits


def governed(home: Path) -> str:
    """A policy.json that most of the runtime is imported for."""
    write_keys(home)
    sinks = {name: {"type": "File", "directory": str(home / name)} for name in ("audit", "payloads")}
    rules = {"policy": "p", "policyGeneration": 1, "output": {"tensors": [{"name": "y", "decimals": 2}]}}
    audit = {"sink": sinks["audit"], "signingKeyFile": str(home / "audit.pem")}
    logging = {"mode": "Redacted", "sink": sinks["payloads"]}
    return json.dumps({**POLICY, "privacy": rules, "audit": audit, "logging": logging})


@pytest.mark.parametrize("source", ["a volume", "a registry", "a volume, under a policy"])
def test_probes_and_metrics_answer_within_100_ms_while_a_large_model_comes_and_loads(
    tmp_path: Path, source: str
) -> None:
    """From the first moment: ONNX Runtime held Python's lock while it made a session, once (onnxruntime#27063), and imports hold it too.

    Of several loads the one that disturbed them least counts: what a load costs by itself it costs each time, a busy machine now and then.
    """
    file = save(dense(400), tmp_path / "large/model.onnx")
    where: dict[str, Any] = {"directory": str(file.parent)}
    with ExitStack() as stack:
        if source == "a registry":
            store = stack.enter_context(registry(tmp_path / "registry"))
            store.push("m", "1", {"model.onnx": file.read_bytes()})
            where = {"uri": "oci://r.example/m:1", "oci": {"endpoint": store.endpoint}}
        policy = governed(tmp_path) if source.endswith("policy") else None
        longest: list[float] = []
        while not longest or (min(longest) >= 0.1 and len(longest) < LOADS):
            with run(tmp_path / f"p{len(longest)}", where, policy=policy) as process:
                waits = waits_until_ready(process)
            assert len(waits) > 20
            longest.append(max(waits))
    assert min(longest) < 0.1, ", ".join(f"{one:.3f} s" for one in longest)


BLOCK = """
import ctypes, sys, time
from pathlib import Path
from modelward_runtime import cli, engine, policy
kind, asked, open_, refresh, done = sys.argv.pop(1), Path(sys.argv.pop(1)), engine.load, policy.PolicyFile.refresh, []
def hold():
    ctypes.PyDLL(None).usleep(2_000_000)  # a PyDLL keeps Python's lock; a caller that gets no processor may miss less of it
def burn():
    until = time.thread_time() + 0.5
    while time.thread_time() < until:
        pass
def slow_load(*words, **more):  # on a thread
    while not (asked.exists() and (done or kind == "lock")):
        time.sleep(0.01)
    if kind == "lock":
        hold()
    return open_(*words, **more)
def slow_refresh(*words, **more):  # on the event loop, once a second
    if kind == "loop" and asked.exists() and not done:
        burn()
        done.append(True)
    return refresh(*words, **more)
engine.load, policy.PolicyFile.refresh = slow_load, slow_refresh
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", ["lock", "loop"])
def test_a_load_that_kept_probes_waiting_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The control of the test above: Python's lock is kept by another thread, or the event loop's own has something to do."""
    script, is_asked = tmp_path / "modelward", tmp_path / "asked"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.argv[1:1] = {[kind, str(is_asked)]!r}\n{BLOCK}")
    script.chmod(0o755)
    monkeypatch.setattr(processes, "COMMAND", script)
    file = save(onnx_models.linear(), tmp_path / "m/model.onnx")
    with run(tmp_path / "p", {"directory": str(file.parent)}) as process:
        process.until(lambda: process.get("/livez")[0] == 200)
        is_asked.touch()
        waits = waits_until_ready(process)
    assert max(waits) > 0.1


def test_a_process_left_alone_opens_no_socket(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    file = save(onnx_models.linear(), tmp_path / "m/model.onnx")
    served = trapped(SERVE, home, str(file), str(LONG))
    assert (0, "quiet\n") == (served.returncode, served.stdout), served.stderr


def test_the_trap_would_have_caught_onnxruntimes_telemetry(tmp_path: Path) -> None:
    """The control: the same, with telemetry left on. When this fails, a new ONNX Runtime has become quiet by itself."""
    if platform.machine() != "x86_64":
        return
    plain = "import onnxruntime, sys, time\nonnxruntime.InferenceSession(sys.argv[1])\ntime.sleep(float(sys.argv[2]))\n"
    file = save(onnx_models.linear(), tmp_path / "m/model.onnx")
    assert trapped(plain, tmp_path, str(file), str(2 * LONG)).returncode == -signal.SIGSYS
