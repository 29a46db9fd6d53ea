"""A real kube-apiserver and etcd on free loopback ports, for one file of tests: no kubelet, no controllers, nothing else.

What controllers would do (Deployment status, pods, garbage collection) tests do by hand, where they need it. The two programs are the
embedded cluster's own builds.
"""

import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.cluster.binaries import binary
from tests.ports import free_ports

TOKEN = "integration"  # the server lives for one file of tests, on loopback
PATIENCE = 120.0  # seconds; a busy machine takes its time


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    folder: Path
    pids: tuple[int, ...]

    @property
    def audit_log(self) -> Path:
        """Who did what, one JSON object a line; only of a server that was started with `audited`."""
        return self.folder / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """A cluster administrator's kubeconfig."""
        return self.kubeconfig_of("kubeconfig")

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one of the `users` that it was started with: administrators too, whose token is their name."""
        return self.folder / user


class Programs:
    """The two programs, which can be killed and started again by who has them."""

    def __init__(
        self,
        folder: Path,
        *,
        audited: bool = False,
        users: Iterable[str] = (),
        flags: Iterable[str] = (),
        before: Sequence[str] = (),
        data: Path | None = None,
    ) -> None:
        """Start both; raises with the end of the log when one does not come up.

        `flags` are more of kube-apiserver's; `before` is put before both commands, as taskset is. `data` is what another etcd has left.
        """
        if data:
            subprocess.run(["cp", "-r", "--sparse=always", str(data), str(folder / "etcd")], check=True)
        self._folder, self._users = folder, tuple(users)
        etcd_port, peer_port, self._port = free_ports(3)
        command = _api_command(folder, etcd_port, self._port, self._users)
        self._command = [*before, *command, *(_audit(folder) if audited else ()), *flags]
        self.etcd = _start(folder / "etcd.log", [*before, *_etcd_command(folder, etcd_port, peer_port)])
        try:
            self.start_api()
        except BaseException:
            _stop(self.etcd)
            raise

    @property
    def server(self) -> ApiServer:
        """Where it is."""
        return ApiServer(f"https://127.0.0.1:{self._port}", self._folder, (self.etcd.pid, self.api.pid))

    def start_api(self) -> None:
        """Start the API server, and return when it is ready."""
        self.api = _start(self._folder / "kube-apiserver.log", self._command)
        try:
            url = f"https://127.0.0.1:{self._port}"
            _wait_ready(url, self._folder, (self.etcd, self.api))
            _write_kubeconfig(self._folder / "kubeconfig", url, TOKEN)
            for user in self._users:
                _write_kubeconfig(self._folder / user, url, user)
        except BaseException:
            _stop(self.api)
            raise

    def close(self) -> None:
        """End both."""
        _stop(self.api)
        _stop(self.etcd)


@contextmanager
def api_server(
    folder: Path,
    *,
    audited: bool = False,
    users: Iterable[str] = (),
    flags: Iterable[str] = (),
    before: Sequence[str] = (),
    data: Path | None = None,
) -> Iterator[ApiServer]:
    """Run both until the block ends, as `Programs` says; raises with the end of the log when one does not come up."""
    programs = Programs(folder, audited=audited, users=users, flags=flags, before=before, data=data)
    try:
        yield programs.server
    finally:
        programs.close()


def _etcd_command(folder: Path, etcd_port: int, peer_port: int) -> list[str]:
    return [
        str(binary("etcd")),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{etcd_port}",
        f"--advertise-client-urls=http://127.0.0.1:{etcd_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
        "--unsafe-no-fsync=true",
    ]


def _api_command(folder: Path, etcd_port: int, api_port: int, users: Iterable[str]) -> list[str]:
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens = folder / "tokens.csv"
    admins = {TOKEN: "admin", **{user: user for user in users}}
    tokens.write_text("".join(f"{token},{user},{user},system:masters\n" for token, user in admins.items()))
    return [
        str(binary("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={api_port}",
        f"--cert-dir={folder / 'certificates'}",
        "--service-cluster-ip-range=10.0.0.0/16",
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


def _audit(folder: Path) -> list[str]:
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
    policy["omitStages"] = ["RequestReceived"]
    (folder / "audit-policy.yaml").write_text(yaml.safe_dump(policy))
    return [f"--audit-policy-file={folder / 'audit-policy.yaml'}", f"--audit-log-path={folder / 'audit.log'}"]


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


def _write_kubeconfig(path: Path, url: str, token: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
