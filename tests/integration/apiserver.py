"""A real kube-apiserver and etcd on free loopback ports, for one test session: no kubelet, no controllers, nothing else.

What controllers would do (Deployment status, pods, garbage collection) tests do by hand, where they need it. The two programs are the
embedded cluster's own builds.
"""

import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.cluster.binaries import binary
from tests.ports import free_ports

TOKEN = "integration"  # the server lives for one test session, on loopback
PATIENCE = 60.0


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    folder: Path
    pids: tuple[int, ...]

    @property
    def kubeconfig(self) -> Path:
        """A cluster administrator's kubeconfig."""
        return self.folder / "kubeconfig"


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Run both until the block ends; raises with the end of the log when one does not come up."""
    etcd_port, peer_port, api_port = free_ports(3)
    etcd = _start(
        folder / "etcd.log",
        [
            str(binary("etcd")),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync=true",
        ],
    )
    try:
        api = _start(folder / "kube-apiserver.log", _api_command(folder, etcd_port, api_port))
        try:
            url = f"https://127.0.0.1:{api_port}"
            _wait_ready(url, folder, (etcd, api))
            _write_kubeconfig(folder / "kubeconfig", url)
            yield ApiServer(url, folder, (etcd.pid, api.pid))
        finally:
            _stop(api)
    finally:
        _stop(etcd)


def _api_command(folder: Path, etcd_port: int, api_port: int) -> list[str]:
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
    return [
        str(binary("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={api_port}",
        f"--cert-dir={folder / 'certificates'}",
        "--service-cluster-ip-range=10.0.0.0/20",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",  # there is no controller that makes the default accounts
        "--shutdown-delay-duration=0s",
        "--max-requests-inflight=0",
        "--max-mutating-requests-inflight=0",
        "--enable-priority-and-fairness=false",
    ]


def _start(log: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "GOGC": "200"})


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_ready(url: str, folder: Path, processes: tuple["subprocess.Popen[bytes]", ...]) -> None:
    """Wait until it is ready and has made what every cluster has: it makes the namespace `default` a moment later."""
    limit = time.monotonic() + PATIENCE
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wanted = ["/readyz", "/api/v1/namespaces/default", "/api/v1/namespaces/default/services/kubernetes"]
    while time.monotonic() < limit and all(process.poll() is None for process in processes):
        request = urllib.request.Request(f"{url}{wanted[0]}", headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=2, context=context) as answer:
                if answer.status == 200:
                    wanted.pop(0)
            if not wanted:
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    tails = "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
    raise RuntimeError(f"the API server is not ready after {PATIENCE:.0f} s\n{tails}")


def _write_kubeconfig(path: Path, url: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
    }
    path.write_text(yaml.safe_dump(config))
