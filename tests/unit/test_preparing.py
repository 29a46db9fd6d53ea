"""Adopting a policy imports nothing on the event loop's thread: probes and requests would wait for it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.audit_logs import write_keys
from tests.onnx_models import linear, save
from tests.processes import POLICY
from tests.unit.test_epsilon_request import NUMBER

SCRIPT = """
import asyncio, json, sys, threading
from pathlib import Path
from modelward_runtime import engine
from modelward_runtime.config import parse_boot
from modelward_runtime.hardware import Hardware
from modelward_runtime.metrics import Metrics
from modelward_runtime.policy import PolicyFile
from modelward_runtime.ports import _rules_of
from modelward_runtime.privacy import rules
from modelward_runtime.recording import Recording
from modelward_runtime.report import Report
from modelward_runtime.threads import in_thread

file, imported, adopting = Path(sys.argv[1]), [], []

class Finder:
    def find_spec(self, name, path=None, target=None):
        if adopting and threading.current_thread() is threading.main_thread():
            imported.append(name)

async def main():
    boot = parse_boot(json.dumps(
        {"apiVersion": "runtime/v1", "kind": "Boot", "model": {"name": "m", "version": "1", "uri": "pvc://c/m"}}
    ).encode())
    report, metrics = Report(boot, "0"), Metrics()
    model = engine.load(Path(sys.argv[2]), "m", "1", hardware=Hardware(processors=1, quota=1.0))
    recording, policy = Recording(report, metrics), PolicyFile(file, report)

    def adopt(wanted):
        adopting.append(True)
        record = recording.prepare(wanted)
        _rules_of(wanted, model, None)
        record()
        adopting.clear()

    await policy.enforce(adopt, 0.01)
    await recording.close()

sys.meta_path.insert(0, Finder())
asyncio.run(asyncio.wait_for(main(), 200))
print(json.dumps(imported))
"""


STORE = {"type": "S3", "uri": "s3://logs/m/", "endpoint": "http://127.0.0.1:9", "region": "us-east-1"}
NAMED = {"policy": "p", "policyGeneration": 1}
POLICIES: dict[str, dict[str, Any]] = {
    "rules": {"privacy": {**NAMED, "output": {"tensors": [{"name": "y", "decimals": 2}]}}},
    "differential privacy": {"privacy": {**NAMED, "output": {"differentialPrivacy": NUMBER | {"name": "y"}}}},
    "audit": {"audit": {"sink": {"type": "File", "directory": "/HOME/audit"}, "signingKeyFile": "/HOME/audit.pem"}},
    "audit in a store": {"audit": {"sink": STORE, "signingKeyFile": "/HOME/audit.pem"}},
    "redacted payloads": {"logging": {"mode": "Redacted", "sink": {"type": "File", "directory": "/HOME/payloads"}}},
}


@pytest.mark.parametrize("named", POLICIES)
def test_what_a_policy_needs_is_imported_before_it_is_adopted(tmp_path: Path, named: str) -> None:
    write_keys(tmp_path)
    model, file = save(linear(), tmp_path / "model.onnx"), tmp_path / "policy.json"
    file.write_text(json.dumps({**POLICY, **POLICIES[named]}).replace("/HOME", str(tmp_path)))
    command = [sys.executable, "-c", SCRIPT, str(file), str(model)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == []
