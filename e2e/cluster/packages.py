"""Installs the Debian packages that the cluster runs on: only those missing, and without starting their services.

A package's own service (containerd, docker-registry) must neither start now nor at the next boot: the cluster starts
these programs itself, with configuration, state and network of its own.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.alone import alone
from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.paths import cache
from e2e.cluster.progress import Screen

PACKAGES = (
    "containerd",  # runs the pods
    "runc",  # what containerd runs them with
    "containernetworking-plugins",  # gives pods their interface and address
    "iptables",  # kube-proxy's Services
    "conntrack",  # kube-proxy forgets stale UDP flows
    "nftables",  # the enforcer of NetworkPolicy
    "iproute2",  # bridges and routes
    "util-linux",  # nsenter, unshare
    "curl",  # probes, and whoever works in `shell`
    "openssl",  # the cluster's certificates
    "docker-registry",  # the registry that the node pulls from
    "buildah",  # builds images without Docker
    "mmdebstrap",  # the base image
    "prometheus",  # checks the chart's alert rules and dashboard
    "ca-certificates",  # pip inside image builds
    "gcc",  # the pause program
    "libc6-dev",
    "wrk",  # load over REST, for the benchmark of the serving runtime
)
SERVICES = {
    "containerd": "containerd.service",
    "docker-registry": "docker-registry.service",
    "prometheus": "prometheus.service",
}
POLICY = Path("/usr/sbin/policy-rc.d")  # Debian asks this program before it starts a service
OURS = "#!/bin/sh\n# made by e2e/cluster/packages.py while it installs packages, and removed by it\nexit 101\n"


def missing(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Those of `packages` that dpkg does not hold as installed."""
    question = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages]
    answer = subprocess.run(question, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def install(screen: Screen, packages: Sequence[str] = PACKAGES) -> None:
    """Install what is missing of `packages`; does nothing, at once, when nothing is."""
    if shutil.which("dpkg-query") is None:
        raise ClusterError("the embedded cluster needs Debian 12; on another system use CLUSTER=current make up")
    clear(screen)
    if not missing(packages):
        return
    with alone("packages", screen):
        _install(screen, packages)


def clear(screen: Screen) -> None:
    """Remove the policy that a killed installation left behind: no service of the machine could be started any more."""
    if _is_ours():
        with alone("packages", screen):  # or it belongs to one that goes on
            if _is_ours():
                POLICY.unlink()


def _is_ours() -> bool:
    return POLICY.exists() and POLICY.read_text(errors="replace") == OURS


def _install(screen: Screen, packages: Sequence[str]) -> None:
    if not (wanted := missing(packages)):  # another one did it meanwhile
        return
    log = cache() / "logs" / "packages.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with screen.step(f"install Debian packages ({', '.join(wanted)})", log), log.open("w") as out, _no_services():
        if not _apt(["install", "--no-install-recommends", *wanted], out.fileno()):
            _run(["dpkg", "--configure", "-a"], out.fileno())  # an earlier installation was killed
            _apt(["update"], out.fileno())  # the lists were absent or too old
            if not _apt(["install", "--no-install-recommends", *wanted], out.fileno()):
                raise StepFailed(
                    "apt-get could not install the packages", log=log, hint="is the Debian mirror reachable?"
                )
        _disable([SERVICES[package] for package in wanted if package in SERVICES])


def _apt(arguments: list[str], out: int) -> bool:
    return _run(["apt-get", "--yes", "--option=DPkg::Lock::Timeout=120", *arguments], out)


def _run(command: list[str], out: int) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, check=False)
    return done.returncode == 0


def _disable(services: list[str]) -> None:
    if services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "--no-reload", "disable", *services], capture_output=True, check=False)


@contextmanager
def _no_services() -> Iterator[None]:
    """Forbid service starts while packages are installed, unless the machine has a policy of its own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(OURS)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
