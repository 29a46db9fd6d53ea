"""What was measured, by version: as packages and go.mod files have it."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from e2e.cluster.binaries import KUBERNETES_VERSION, module_of

PACKAGES: Final = ("kopf", "kubernetes", "aiohttp", "pydantic")


def found() -> dict[str, str]:
    """Versions by name."""
    said = {"python": platform.python_version(), "kubernetes (server)": KUBERNETES_VERSION}
    said |= {name: version(name) for name in PACKAGES}
    said["etcd"] = _required(module_of("etcd").folder / "go.mod", "go.etcd.io/etcd/server/v3")
    said["commit"] = _commit()
    return said


def _required(file: Path, module: str) -> str:
    match = re.search(rf"^\s*(?:require )?{re.escape(module)} v(\S+)", file.read_text(), re.MULTILINE)
    return match[1] if match else "unknown"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or "unknown"
