"""The control plane that faults are done to: a real API server and etcd on loopback, each of which can be killed, frozen and started again.

Used by `run.py`. The flags are the integration ring's.
"""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.integration import apiserver


class ControlPlane:
    """Both programs; `server` says where the API server is, which stays the same over its restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = apiserver.Programs(folder)
        self.server = self._programs.server

    def kill_api_server(self) -> None:
        """As `kill -9` does."""
        self._programs.api.kill()
        self._programs.api.wait()

    def start_api_server(self) -> None:
        """Start it anew over the same etcd; returns when it is ready."""
        self._programs.start_api()

    @contextlib.contextmanager
    def frozen_etcd(self) -> Iterator[None]:
        """etcd stands still until the block ends: writes and consistent reads hang."""
        self._programs.etcd.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._programs.etcd.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End both."""
        with contextlib.suppress(ProcessLookupError, subprocess.SubprocessError):
            self._programs.etcd.send_signal(signal.SIGCONT)
        self._programs.close()
