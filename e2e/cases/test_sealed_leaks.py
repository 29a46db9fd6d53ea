"""The weights of a sealed model lie in no file: neither below the pod's mounts, nor in the node's storage, caches and logs.

A marker of 64 bytes is planted in the weights and looked for while the model serves. That the search finds what is there, the same model
in the plain shows. It looks below the embedded cluster's own folders, so it is skipped where `CLUSTER=current`.
"""

import os
import secrets
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from e2e.cases import manifests
from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.conftest import upload
from e2e.cases.sealing import Workshop, security
from e2e.cluster.paths import RUN, STATE, cache

pytestmark = [
    pytest.mark.core,
    pytest.mark.skipif(
        os.environ.get("CLUSTER") == "current", reason="a node of somebody else's is not ours to search"
    ),
]
OBJECTS = STATE / "object-store"


@pytest.fixture
def marker() -> str:
    """64 bytes that stand nowhere else: as float32 they are finite numbers."""
    return secrets.token_hex(32)


def marked(marker: str) -> onnx.ModelProto:
    """y = x + 1, with the marker 64 times in weights that take part in it: 0 × their sum."""
    weights = np.frombuffer((marker * 64).encode(), np.float32)
    initialisers = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([0], np.float32), "zero"),
        numpy_helper.from_array(np.array([1], np.float32), "one"),
    ]
    nodes = [
        helper.make_node("Mul", ["weights", "zero"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["x", "nothing"], ["x0"]),
        helper.make_node("Add", ["x0", "one"], ["y"]),
    ]
    shape: list[str | int | None] = ["rows", 4]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "marked", ends[:1], ends[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def files_with(marker: str, since: float) -> set[Path]:
    """Every file of the node that holds the marker, as the node's own mounts show them: pods' volumes, snapshots, logs.

    Of the cache, which holds gigabytes of former days, only what was changed since then.
    """
    search = ["grep", "-laFs", "-e", marker]
    node = [*search, "-r", "--exclude-dir=proc", *map(str, (STATE, RUN, Path("/var/lib/kubelet")))]
    cached = ["find", str(cache()), "-type", "f", "-newerct", f"@{since:.0f}", "-exec", *search, "{}", "+"]
    return {Path(line) for command in (node, cached) for line in _on_node(command).splitlines()}


def _on_node(command: list[str]) -> str:
    shell = [f"--target={os.environ['MODELWARD_CLUSTER_PID']}", "--mount", "--"]
    done = subprocess.run(["nsenter", *shell, *command], capture_output=True, text=True, timeout=240, check=False)
    return done.stdout


def test_no_file_holds_the_weights_of_a_sealed_model(case: Case, marker: str, tmp_path: Path) -> None:
    began = time.time() - 60  # a file's time is the kernel's, a moment behind
    workshop = Workshop(tmp_path)
    model = tmp_path / "marked" / "model.onnx"
    model.parent.mkdir()
    onnx.save(marked(marker), str(model))
    sealed = workshop.seal(model, case.namespace)
    where = f"{case.prefix}/{case.namespace}"
    upload(sealed, f"{where}/sealed/")
    case.apply(workshop.key_secret("k1"), workshop.trust_map())
    case.apply(manifests.model_deployment(f"{where}/sealed/", manifests.storage(case.store), security=security()))
    case.wait_ready()
    assert add(case.service_address()) == 1
    assert files_with(marker, began) == set()

    upload(model.parent, f"{where}/plain/")
    case.serve(f"{case.namespace}/plain/", name="plain")
    found = files_with(marker, began)
    assert {file for file in found if file.is_relative_to(OBJECTS)}, "the search finds the plain model in the store"
    assert {file for file in found if not file.is_relative_to(OBJECTS)}, "and where its pod has put it"
