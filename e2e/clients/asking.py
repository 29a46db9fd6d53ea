"""Asks a served model through the clients of other projects. Called by the cases."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from e2e.models.rows import as_tensors, from_tensors
from e2e.peers.environments import environment

PROGRAMS: Final = {"kserve": "kserve_sdk.py", "mlserver": "mlserver_codecs.py"}
"""The environment that has the client, and the program that uses it."""
SECONDS: Final = 120.0

Arrays = dict[str, NDArray[Any]]


def ask(project: str, rest: str, grpc: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Arrays]:
    """The outputs by each way that the project's client knows."""
    run = [str(environment(project) / "python"), str(Path(__file__).with_name(PROGRAMS[project])), rest, grpc, model]
    sent = json.dumps(as_tensors(inputs))
    done = subprocess.run(run, input=sent, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise AssertionError(f"{project}'s client failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {way: from_tensors(outputs) for way, outputs in found.items()}
