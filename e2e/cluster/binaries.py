"""Builds the cluster's programs from Go modules, once per version, into a cache outside the clone.

A program's folder is named by a hash of its go.mod, go.sum and linker flags, and a file appears in it by rename: an
interrupted build leaves nothing that looks finished, and a new version never meets an old file.

The integration ring calls `binary("etcd")`, `binary("kube-apiserver")` and more; `up` calls `build`.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.alone import alone
from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.paths import HERE, cache
from e2e.cluster.progress import Screen, Step

KUBERNETES_VERSION = "1.35.4"


def _kubernetes_flags() -> str:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    package = "k8s.io/component-base/version"
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X {package}.{key}={value}" for key, value in values.items())


@dataclass(frozen=True)
class Module:
    """One go.mod under build/, the programs that come out of it, and the linker flags and build tags they want."""

    name: str
    programs: dict[str, str]  # program -> Go package
    flags: str = ""
    tags: str = ""

    @property
    def folder(self) -> Path:
        """Where go.mod and go.sum are."""
        return HERE / "build" / self.name

    def key(self) -> str:
        """Changes when anything that goes into the binary changes."""
        digest = hashlib.sha256((self.flags + self.tags).encode())
        for file in ("go.mod", "go.sum"):
            digest.update((self.folder / file).read_bytes())
        return digest.hexdigest()[:12]

    def target(self, program: str) -> Path:
        """Where the finished program is, or will be."""
        return cache() / "bin" / f"{self.name}-{self.key()}" / program


# In the order in which they are wanted: the integration ring waits for the first three.
MODULES = (
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kubectl",
                "kubelet",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-proxy",
            )
        },
        _kubernetes_flags(),
    ),
    Module("coredns", {"coredns": "github.com/coredns/coredns"}),
    Module("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),
    Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
)
PROGRAMS = {program: module for module in MODULES for program in module.programs}

# What single suites want: `up` does not build it.
EXTRAS = (
    # For the integration ring: the registry that most others are made of.
    Module("registry", {"registry": "github.com/distribution/distribution/v3/cmd/registry"}),
    # For the integration ring: the interpreter that Argo CD runs health.lua by.
    Module("glua", {"glua": "github.com/yuin/gopher-lua/cmd/glua"}),
    # For the integration ring: whether the workflows of .github are workflows.
    Module("actionlint", {"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"}),
    # For SUITE=keys. Without `minimal` it would carry the SDK of every cloud; Kubernetes auth comes as a plugin then. The newest
    # release that builds from published modules: later ones use parts of their sdk/ that no published version has.
    Module(
        "vault",
        {
            "vault": "github.com/hashicorp/vault",
            "vault-plugin-auth-kubernetes": "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes",
        },
        tags="minimal",
    ),
    # For SUITE=scaling: what the autoscalers of others need.
    Module("metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}),
    Module(
        "keda",
        {
            "keda-operator": "github.com/kedacore/keda/v2/cmd/operator",
            "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
        },
    ),
    # For SUITE=gitops. Two modules, because each wants versions of its own.
    Module("flux-source", {"source-controller": "github.com/fluxcd/source-controller"}),
    Module("flux-kustomize", {"kustomize-controller": "github.com/fluxcd/kustomize-controller"}),
    # For SUITE=exposure: a gateway. The newest release whose module is to be had.
    Module("traefik", {"traefik": "github.com/traefik/traefik/v3/cmd/traefik"}),
    # For SUITE=serving: load over gRPC, and load at a constant rate.
    Module("ghz", {"ghz": "github.com/bojand/ghz/cmd/ghz"}),
    Module("vegeta", {"vegeta": "github.com/tsenart/vegeta/v12"}),
    # For SUITE=operator: nodes and pods that are records only, and the controller of others that is measured beside ours.
    Module("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Module("kserve", {"kserve-manager": "github.com/kserve/kserve/cmd/manager"}),
)
_ALL = PROGRAMS | {program: module for module in EXTRAS for program in module.programs}


def module_of(program: str) -> Module:
    """The module that `program` is built from; an unknown name is the caller's mistake."""
    if program not in _ALL:
        raise ClusterError(f"there is no program {program!r}; there are: {', '.join(_ALL)}")
    return _ALL[program]


def binary(program: str) -> Path:
    """The built program; ClusterError names the command that builds it when it is not there."""
    path = module_of(program).target(program)
    if not path.exists():
        raise ClusterError(f"{program} is not built; run: python3 e2e/cluster build {program}")
    return path


def module_source(name: str, path: str) -> Path:
    """The source of one module that `name` is built from, where Go keeps it: it may come with manifests."""
    command = ["go", "mod", "download", "-json", path]
    environment = {**os.environ, "GOWORK": "off"}
    folder = HERE / "build" / name
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{path} could not be fetched: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def missing(programs: Iterable[str]) -> list[str]:
    """Those of `programs` that are not built yet."""
    return [program for program in programs if not module_of(program).target(program).exists()]


def build(programs: Iterable[str], screen: Screen) -> None:
    """Build what is missing of `programs`, one visible step each."""
    wanted = list(programs)
    if not missing(wanted):
        return
    _check_go([module_of(program) for program in missing(wanted)])
    with alone("build", screen):
        todo = missing(wanted)
        for number, program in enumerate(todo, 1):
            log = cache() / "logs" / f"build-{program}.log"
            with screen.step(f"build {program} ({number} of {len(todo)})", log) as step:
                _compile(program, step, log)


def _check_go(modules: Iterable[Module]) -> None:
    go = shutil.which("go")
    if go is None:
        raise ClusterError(
            "Go is not installed, and the cluster's programs are built with it: install Go and try again"
        )
    answer = subprocess.run([go, "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=True)
    version, toolchain = answer.stdout.splitlines()  # Go before 1.21 knows no toolchains and prints an empty line
    needed = max(_wanted_go(module) for module in modules)
    if _numbers(version.removeprefix("go")) < needed and toolchain in ("", "local"):
        wanted = ".".join(map(str, needed))
        raise ClusterError(
            f"{version} is too old: install Go {wanted}, or Go 1.21 or newer without GOTOOLCHAIN=local, which fetches it"
        )


def _wanted_go(module: Module) -> tuple[int, ...]:
    lines = (module.folder / "go.mod").read_text().splitlines()
    return next(_numbers(line.removeprefix("go ")) for line in lines if line.startswith("go "))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-", maxsplit=1)[0].split(".") if part.isdigit())


def _compile(program: str, step: Step, log: Path) -> None:
    module = module_of(program)
    target = module.target(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{program}.{os.getpid()}")
    command = [
        "nice",
        "-n",
        "5",
        "go",
        "build",
        "-v",
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
        "-o",
        str(unfinished),
    ]
    command += [f"-tags={module.tags}", "-ldflags", f"-s -w {module.flags}".strip(), module.programs[program]]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        with log.open("w") as out:
            child = subprocess.Popen(command, cwd=module.folder, env=environment, stdout=out, stderr=out)
            _watch(child, step, log)
        if child.returncode != 0:
            raise StepFailed(
                f"go build {program} failed", log=log, hint="is the Go module proxy reachable? then try again"
            )
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _watch(child: "subprocess.Popen[bytes]", step: Step, log: Path) -> None:
    try:
        while child.poll() is None:
            lines = log.read_text(errors="replace").splitlines()
            fetched = sum(line.startswith("go: downloading") for line in lines)
            compiled = len(lines) - fetched
            step.detail = f"{compiled} packages compiled" if compiled else f"{fetched} modules fetched"
            time.sleep(0.5)
    finally:
        child.terminate()  # only we may have been interrupted; one that has ended does not mind
        child.wait()
    step.detail = ""
