"""The operators: real processes that find the API server as a pod does, through a proxy each, and can be killed, frozen, started anew."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from e2e.chaos.proxy import Proxy

HOME: Final = "modelward-system"
"""The operators' own namespace, where their Lease lies."""
_PLACE: Final = "/run/secrets/kubernetes.io"
_MOUNT: Final = f'mount -t tmpfs none /run && mkdir -p {_PLACE} && ln -s "$0" {_PLACE}/serviceaccount && exec "$@"'
"""A pod's place for its token, in a mount namespace of the process's own."""
_CLOCK: Final = Path(__file__).with_name("clock.c")


def build_clock(folder: Path) -> Path:
    """What is loaded into an operator so that its clock can be set: see clock.c. Needs gcc."""
    made = folder / "clock.so"
    command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(made), str(_CLOCK)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return made


class Operator:
    """One replica, which is started anew when it ends, as the kubelet does. Its log goes on over its starts."""

    def __init__(self, name: str, folder: Path, proxy: Proxy, authority: bytes, clock: Path) -> None:
        self.name = name
        self.proxy = proxy
        self.starts = 0
        self.environment: dict[str, str] = {}
        """What the next start gets more."""
        self.sources: Path | None = None
        """Where the next start's code is, if it is another version's."""
        self._folder = folder / name
        (self._folder / "account").mkdir(parents=True)
        (self._folder / "account" / "ca.crt").write_bytes(authority)
        (self._folder / "account" / "namespace").write_text(HOME)
        self._clock = clock
        self.set_clock(0)
        self._log = (self._folder / "log").open("ab")
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.rotate()

    def rotate(self) -> None:
        """A new token in its file, and no other is taken."""
        token = uuid.uuid4().hex
        new = self._folder / "account" / "token.new"
        new.write_text(token)
        new.rename(self._folder / "account" / "token")
        self.proxy.tokens = {token}

    def expire(self) -> None:
        """Its token is taken no more, and no other is there."""
        self.proxy.tokens = set()

    def set_clock(self, seconds: int) -> None:
        """Its clock on the wall is so far off, from now on and at its next starts; the monotonic one goes on."""
        path = self._folder / "clock"
        with path.open("r+b" if path.exists() else "wb") as file:  # in place: it is mapped
            file.write(struct.pack("=q", seconds))

    async def start(self) -> None:
        """Start it, and see to it that it is there."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it gracefully, and do not start it again."""
        if self._keeper:
            self._keeper.cancel()
        await self.end(signal.SIGTERM)

    async def end(self, how: int) -> None:
        """End the process; the keeper starts it anew."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def freeze(self) -> None:
        """It stands still, and its connections stay open."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)

    def faults(self) -> list[dict[str, Any]]:
        """The log's lines that say that something is wrong with the operator itself."""
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        parsed = [_line(line) for line in lines]
        return [line for line in parsed if line["level"] in {"ERROR", "CRITICAL"} and not _is_expected(line)]

    async def _launch(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.proxy.port),
            "RUNTIME_IMAGE": "registry.example/runtime:1",
            "POD_NAMESPACE": HOME,
            "POD_NAME": self.name,
            "HEALTH_PORT": "0",
            "METRICS_PORT": "0",
            "LD_PRELOAD": str(self._clock),
            "CHAOS_CLOCK": str(self._folder / "clock"),
            **({"PYTHONPATH": str(self.sources / "operator" / "src")} if self.sources else {}),
            **self.environment,
        }
        command = [sys.executable, "-m", "modelward_operator.cli", "run"]
        inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, str(self._folder / "account")]
        self._process = await asyncio.create_subprocess_exec(
            *inside, *command, env=environment, stdout=self._log, stderr=self._log
        )
        self.starts += 1

    async def _keep(self) -> None:
        while True:
            assert self._process
            await self._process.wait()
            await asyncio.sleep(1)
            await self._launch()


def _line(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = {"level": "ERROR", "message": text}
    return found if isinstance(found, dict) else {"level": "ERROR", "message": text}


def _is_expected(line: Mapping[str, Any]) -> bool:
    """It ends because it may not lead any more, which is what it shall do."""
    return "lease" in str(line.get("message", "")).lower()
