"""schemathesis, which nobody here wrote, takes a real server's OpenAPI document at its word: each operation, right and wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tests.kubernetes_watch import watched_api
from tests.onnx_models import model, save, value
from tests.processes import run

pytestmark = pytest.mark.process

EDGE = [("x", TensorProto.FLOAT, [1, 2]), ("n", TensorProto.UINT8, [2]), ("s", TensorProto.STRING, [1])]
EDGE += [("l", TensorProto.INT64, []), ("b", TensorProto.BFLOAT16, [2, 1])]
LEFT_OUT = "use_after_free,ensure_resource_availability,object_level_authorization"  # nothing is made or kept here


def test_the_server_is_as_its_document_says(tmp_path: Path) -> None:
    """Schema and status of each answer, refusal of what the schema refuses, acceptance of what it accepts, methods, and the door."""
    nodes = [
        helper.make_node("Identity", [name], [f"{name}_same"]) for name, kind, _ in EDGE if kind != TensorProto.BFLOAT16
    ]
    nodes.append(helper.make_node("Cast", ["b"], ["b_same"], to=TensorProto.FLOAT))
    kinds = {TensorProto.BFLOAT16: TensorProto.FLOAT}
    outputs = [value(f"{name}_same", kinds.get(kind, kind), shape) for name, kind, shape in EDGE]
    save(model(nodes, [value(*one) for one in EDGE], outputs), tmp_path / "model/model.onnx")
    with watched_api(tmp_path / "api") as api:
        api.users["known"], api.permitted = "ann", {("ann", "m")}
        place = {"server": api.url, "tokenFile": str(api.folder / "token"), "caFile": str(api.folder / "ca.crt")}
        access = {
            "authentication": {"mode": "TokenReview", "audience": "modelward.dev", **place},
            "authorization": {"namespace": "risk", "name": "m"},
        }
        with run(tmp_path, {"directory": str(tmp_path / "model")}, access=access) as process:
            process.until_ready()
            told = _schemathesis(tmp_path, f"http://127.0.0.1:{process.ports[0]}/v2/models/m/openapi.json")
            assert process.child.poll() is None
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-2000:]
    assert "Operations:       11 selected / 11 total" in told.stdout
    assert "no failures" in told.stdout.lower() or "11 passed" in told.stdout


def _schemathesis(folder: Path, url: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("st")), "--no-color", "run", url, "-H", "Authorization: Bearer known"]
    command += ["--seed", "7", "-n", "25", "--phases", "coverage,fuzzing", "--exclude-checks", LEFT_OUT]
    command += ["--generation-database", "none", "--request-timeout", "10", "--warnings", "off"]
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "PYTHONPATH": str(here.parents[1]),
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
