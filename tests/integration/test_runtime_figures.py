"""What the runtime promises in numbers: memory beside the model, and silence towards the world, for long enough to tell."""

import platform
import re
import signal
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import onnx_models
from tests.onnx_models import save, value
from tests.processes import run
from tests.unit.test_engine_telemetry import SERVE
from tests.unit.test_engine_telemetry import run as trapped

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
