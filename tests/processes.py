"""Starts the real `modelward` command on loopback ports, for the rings that look at it from outside."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_ports

COMMAND = Path(sys.executable).with_name("modelward")
NOBODY = 65534
"""Group of a command that runs `apart`: what the kernel takes from a process's own user and group it gives to root's."""
PATIENCE = 120.0
"""Seconds for what comes within a few: a start is Python's imports, which a machine with other things to do may take a minute for."""
POLICY = {"apiVersion": "runtime/v1", "kind": "Policy", "generation": "000000000001"}


@dataclass
class Process:
    """A running command, where it listens and where it leaves its last words."""

    child: "subprocess.Popen[str]"
    ports: tuple[int, int, int]  # REST, gRPC, admin
    folder: Path

    def get(self, path: str, *, admin: bool = True) -> tuple[int, str]:
        """Status and body of a GET on the admin port, or on the REST port."""
        status, _, body = call(self.ports[2 if admin else 0], "GET", path)
        return status, body

    def infer(self, name: str, rows: list[list[float]]) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and JSON of one prediction for input x."""
        tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": rows}
        body = json.dumps({"inputs": [tensor]}).encode()
        status, headers, answer = call(self.ports[0], "POST", f"/v2/models/{name}/infer", body)
        return status, headers, json.loads(answer)

    def report(self) -> Any:
        """GET /report."""
        return json.loads(self.get("/report")[1])

    def until_report(self, true: Callable[[Any], Any], seconds: float = PATIENCE) -> Any:
        """Wait for a report of which something is true, and return that one: the next may say something else already."""
        seen: list[Any] = []

        def is_so() -> bool:
            seen.append(self.report())
            return bool(true(seen[-1]))

        self.until(is_so, seconds)
        return seen[-1]

    def until_failing(self, reason: str = "", words: str = "") -> Any:
        """Wait until it reports a failure with this reason and these words, and return that. A load clears it at each of its steps."""

        def fails(report: Any) -> bool:
            failure = report["failure"] or {}
            return bool(failure) and reason in ("", failure["reason"]) and words in failure["message"]

        return self.until_report(fails)["failure"]

    def is_closed(self) -> bool:
        """May nobody but root look into its memory? Its /proc/PID/mem is then not its own user's and group's. For who runs `apart`."""
        return owner_of(self.child.pid) == (0, 0)

    def set_policy(self, content: str) -> None:
        """Put another policy.json in place, whole, as the kubelet does."""
        (self.folder / "policy.new").write_text(content)
        (self.folder / "policy.new").rename(self.folder / "policy.json")

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.child.send_signal(number)

    def exit_code(self, seconds: float = PATIENCE) -> int:
        """Wait for the end."""
        return self.child.wait(seconds)

    def termination(self) -> Any:
        """The JSON in the termination log."""
        return json.loads((self.folder / "termination-log").read_text())

    def log(self) -> str:
        """Everything on stderr so far."""
        return (self.folder / "stderr").read_text()

    def until_ready(self, seconds: float = PATIENCE) -> None:
        """Wait for /readyz; AssertionError with the log when the process ends instead."""
        self.until(lambda: self.get("/readyz")[0] == 200, seconds)

    def until(self, condition: Any, seconds: float = PATIENCE) -> None:
        """Wait until a condition on the running process holds; a closed port counts as not yet."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.child.poll() is None, f"ended with {self.child.poll()}: {self.log()}"
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {self.log()}")


def owner_of(pid: int) -> tuple[int, int]:
    """Whose a process's memory is: user and group."""
    memory = Path(f"/proc/{pid}/mem").stat()
    return memory.st_uid, memory.st_gid


def call(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], str]:
    """One HTTP request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


class Forwarder:
    """A port that passes each new connection on to `target` as it is then: what a Service is to its clients."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self._connect, args=(near,)))
                self.threads[-1].start()

    def _connect(self, near: socket.socket) -> None:
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", self.target)) as far:
            back = threading.Thread(target=_pass_on, args=(far, near))
            back.start()
            _pass_on(near, far)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def forward(target: int) -> Iterator[Forwarder]:
    """A `Forwarder` while the block runs; its clients must have left by the end."""
    forwarder = Forwarder(target)
    try:
        yield forwarder
    finally:
        forwarder.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; `close` alone would not
        for thread in forwarder.threads:
            thread.join(30)
        forwarder.listener.close()


@contextmanager
def command(
    folder: Path, arguments: list[str], ports: tuple[int, ...], environment: Mapping[str, str], *, apart: bool = False
) -> Iterator[Process]:
    """The command, ended when the test ends. `apart`: in a group of its own, see `is_closed`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stderr").open("w") as stderr:
        child = subprocess.Popen(
            [str(COMMAND), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "MODELWARD_CACHE_DIR": str(folder / "cache"), **environment},
            group=NOBODY if apart and os.geteuid() == 0 else None,
        )
    try:
        yield Process(child, (ports[0], ports[1], ports[2]), folder)
    finally:
        child.kill()
        child.communicate()


@contextmanager
def serve(path: Path, folder: Path, *options: str, apart: bool = False) -> Iterator[Process]:
    """`modelward serve PATH`."""
    http_port, grpc_port, admin_port = ports = free_ports(3)
    arguments = ["serve", str(path), "--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    with command(folder, [*arguments, "--admin-port", str(admin_port), *options], ports, {}, apart=apart) as process:
        yield process


@contextmanager
def run(
    folder: Path,
    source: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    policy: str | None = None,
    apart: bool = False,
    **parts: Mapping[str, Any],
) -> Iterator[Process]:
    """`modelward run` with a boot.json of this model and these other parts, and a policy.json."""
    http_port, grpc_port, admin_port = ports = free_ports(3)
    folder.mkdir(parents=True, exist_ok=True)
    server = {"httpPort": http_port, "grpcPort": grpc_port, "adminPort": admin_port, "drainSeconds": 0}
    boot = {
        "apiVersion": "runtime/v1",
        "kind": "Boot",
        "model": {"name": "m", "version": "7", "uri": "pvc://claim/m", **source},
        **parts,
        "server": {**server, **parts.get("server", {})},
    }
    (folder / "boot.json").write_text(json.dumps(boot))
    (folder / "policy.json").write_text(json.dumps(POLICY) if policy is None else policy)
    (folder / "termination-log").touch()
    arguments = ["run", "--boot", str(folder / "boot.json"), "--policy", str(folder / "policy.json")]
    arguments += ["--termination-log", str(folder / "termination-log")]
    with command(folder, arguments, ports, environment or {}, apart=apart) as process:
        yield process


def rounds(process: Process, seconds: float, name: str = "slow") -> float:
    """How many rounds of `onnx_models.slow` take about so long in this very process: machines differ by tens, and so does their load.

    The fastest of three counts: what kept one of them up would make the work seem longer than it is.
    """
    tried, took = 1.0, 0.0
    while took < seconds / 10:
        tried *= 4
        took = min(_took(process, name, tried) for _ in range(3))
    return float(round(tried * seconds / took))


def _took(process: Process, name: str, work: float) -> float:
    """Seconds until the answer."""
    began = time.monotonic()
    assert process.infer(name, [[work, 0.0, 0.0, 0.0]])[0] == 200
    return time.monotonic() - began
