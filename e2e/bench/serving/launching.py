"""How each server is started: its command, surroundings and files. `servers.py` lists who is started; README.md says it in words.

Whatever a server writes goes into its own folder, which is its home folder as well.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from e2e.bench.serving.adapters.model import LARGEST_BATCH, LONGEST_WAIT, VARIABLE
from e2e.bench.serving.models import Made
from e2e.peers.environments import environment

ROOT: Final = Path(__file__).parents[3]
ADAPTERS: Final = "e2e.bench.serving.adapters"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and what a server serves."""

    made: Made
    folder: Path
    """Its own, empty."""
    rest: int
    grpc: int
    admin: int


@dataclass(frozen=True, slots=True)
class Setting:
    """How a server is set up: as it comes, or as its documentation advises, or that and with batching."""

    peer: str = ""
    """The environment that it runs in; empty: ours."""
    tuned: bool = False
    batching: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started."""

    command: Sequence[str]
    environment: Mapping[str, str]


Launcher = Callable[[Setting, Place], Launch]


def modelward(setting: Setting, place: Place) -> Launch:
    """`modelward run` as in a pod: boot.json and policy.json say everything."""
    batching = {"batching": {"maxBatchSize": LARGEST_BATCH, "maxDelayMicroseconds": 0}} if setting.batching else {}
    boot = {
        "apiVersion": "runtime/v1",
        "kind": "Boot",
        "model": {
            "name": place.made.name,
            "version": "1",
            "uri": "pvc://claim/m",
            "directory": str(place.made.path.parent),
        },
        "server": {"httpPort": place.rest, "grpcPort": place.grpc, "adminPort": place.admin, "drainSeconds": 0},
        **batching,
    }
    policy = {"apiVersion": "runtime/v1", "kind": "Policy", "generation": "1"}
    _write(place, "boot.json", boot)
    _write(place, "policy.json", policy)
    (place.folder / "ended").touch()
    command = [sys.executable, "-I", "-m", "modelward_runtime", "run", "--boot", "boot.json", "--policy", "policy.json"]
    as_the_image = {"MODELWARD_CACHE_DIR": str(place.folder / "cache"), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return Launch([*command, "--termination-log", str(place.folder / "ended")], as_the_image)


def adapter(module: str) -> Launcher:
    """A module of adapters/ that is a program."""

    def launch(setting: Setting, place: Place) -> Launch:
        python = environment(setting.peer) / "python"
        return Launch([str(python), "-m", f"{ADAPTERS}.{module}"], _surroundings(setting, place))

    return launch


def mlserver(setting: Setting, place: Place) -> Launch:
    """Settings as they come, but for addresses; tuned: no second process for the model, no debugging, no compression, no metrics."""
    ports = {"host": "127.0.0.1", "http_port": place.rest, "grpc_port": place.grpc, "metrics_port": place.admin}
    tuned = {"debug": False, "parallel_workers": 0, "gzip_enabled": False, "metrics_endpoint": None}
    batching = {"max_batch_size": LARGEST_BATCH, "max_batch_time": LONGEST_WAIT}
    model = {
        "name": place.made.name,
        "implementation": f"{ADAPTERS}.mlserver_runtime.OnnxRuntime",
        "parameters": {"uri": str(place.made.path)},
        **(batching if setting.batching else {}),
    }
    _write(place, "settings.json", {**ports, **(tuned if setting.tuned else {})})
    _write(place, "model-settings.json", model)
    return Launch([str(environment(setting.peer) / "mlserver"), "start", "."], _surroundings(setting, place))


def bentoml(setting: Setting, place: Place) -> Launch:
    """`bentoml serve`, which has the command line to itself."""
    program = str(environment(setting.peer) / "bentoml")
    command = [
        program,
        "serve",
        f"{ADAPTERS}.bentoml_service:Service",
        "--host",
        "127.0.0.1",
        "--port",
        str(place.rest),
    ]
    return Launch(command, _surroundings(setting, place) | {"BENTOML_DO_NOT_TRACK": "True"})


def ray(setting: Setting, place: Place) -> Launch:
    """A driver that starts Ray and a deployment; tuned: the switches of its guide to high throughput.

    Its folder is the run's, not the server's: it makes sockets below, and a socket's path is 107 bytes at most.
    """
    launch = adapter("ray_app")(setting, place)
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
    quiet["RAY_TMPDIR"] = str(place.folder.parents[1])
    tuned = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"} if setting.tuned else {}
    return Launch(launch.command, {**launch.environment, **quiet, **tuned})


def _surroundings(setting: Setting, place: Place) -> dict[str, str]:
    told: dict[str, Any] = {
        "model": str(place.made.path),
        "name": place.made.name,
        "shape": list(place.made.rows.shape[1:]),
        "rest": place.rest,
        "grpc": place.grpc,
        "admin": place.admin,
        "tuned": setting.tuned,
        "batching": setting.batching,
    }
    path = os.pathsep.join([str(environment(setting.peer)), os.environ.get("PATH", "")])
    temporary = str(place.folder.parents[1])  # of the run: a path of a socket below a server's own would be too long
    return {"PATH": path, "PYTHONPATH": str(ROOT), "TMPDIR": temporary, VARIABLE: json.dumps(told)}


def _write(place: Place, name: str, content: Mapping[str, Any]) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    (place.folder / name).write_text(json.dumps(content), encoding="utf-8")
