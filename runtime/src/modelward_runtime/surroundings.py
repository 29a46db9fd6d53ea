"""What a process that serves one model is told about where it runs, and what it tells once it serves.

Made by `main.py` and `laptop.py`, used by `starting.py` and `serve.py`. It must stay light: what serves is not imported yet.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward_runtime.guard import Guard
from modelward_runtime.load import Patience

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel


class Ready(msgspec.Struct, frozen=True):
    """What is told once the model serves: the model, and the ports that were really bound."""

    model: "OnnxModel"
    http_port: int
    grpc_port: int
    admin_port: int


class Surroundings(msgspec.Struct, frozen=True):
    """What differs between a pod and a laptop. An empty `host` is every address; files may be absent."""

    cache: Path
    guard: Guard = Guard()
    host: str = ""
    policy_file: Path | None = None
    termination_log: Path | None = None
    patience: Patience = Patience()
    on_ready: Callable[[Ready], None] = lambda _: None
    reload: bool = False  # follow the model's path, and serve what comes to lie there
