"""A real Flux on the node: source-controller and kustomize-controller, for as long as the cases need them.

They run as processes beside the API server, as an administrator; what they fetch and serve to each other stays on the loopback.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from e2e.cases.gitserver import Repository
from e2e.cases.kube import Kube, Object, wait
from e2e.cluster.binaries import binary, module_source

SOURCE: Final = "flux-source", "github.com/fluxcd/source-controller"
KUSTOMIZE: Final = "flux-kustomize", "github.com/fluxcd/kustomize-controller"
ARTIFACTS: Final = "127.0.0.1:9790"
EVERY: Final = "3s"
REQUESTED: Final = "reconcile.fluxcd.io/requestedAt"
MANAGER: Final = "kustomize-controller"


@contextmanager
def flux(folder: Path, kubeconfig: str, kube: Kube) -> Iterator[None]:
    """Install Flux's kinds and run its two controllers."""
    crds = [module_source(*module) / "config/crd/bases" for module in (SOURCE, KUSTOMIZE)]
    for folder_of in crds:
        kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder_of), within=120)
    storage = folder / "artifacts"
    storage.mkdir()
    source = [f"--storage-path={storage}", f"--storage-addr={ARTIFACTS}", f"--storage-adv-addr={ARTIFACTS}"]
    try:
        with ExitStack() as stack:
            for name, port, options in (
                ("source-controller", 9791, source),
                ("kustomize-controller", 9793, ["--no-remote-bases"]),
            ):
                command = [str(binary(name)), f"--metrics-addr=127.0.0.1:{port}", f"--health-addr=127.0.0.1:{port + 1}"]
                stack.enter_context(_process(folder, name, [*command, *options], kubeconfig))
            yield
    finally:
        for folder_of in crds:
            kube.kubectl("delete", "-f", str(folder_of), "--ignore-not-found", within=120)


@contextmanager
def _process(folder: Path, name: str, command: list[str], kubeconfig: str) -> Iterator[None]:
    environment = {"KUBECONFIG": kubeconfig, "RUNTIME_NAMESPACE": "default", "HOME": str(folder), "TMPDIR": str(folder)}
    environment["PATH"] = os.environ["PATH"]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            yield
            assert process.poll() is None, f"{name} ended: {(folder / f'{name}.log').read_text()[-2000:]}"
        finally:
            process.terminate()
            process.wait(20)


@dataclass(frozen=True)
class Delivery:
    """One GitRepository and one Kustomization that follow one repository into one namespace."""

    kube: Kube
    namespace: str
    repository: Repository
    name: str = "models"

    def begin(self, **spec: Any) -> None:
        """Apply both, as operator/tasks/gitops.md has them but for the intervals."""
        self.kube.apply(*self.objects(**spec))

    def objects(self, **spec: Any) -> tuple[Object, Object]:
        meta = {"name": self.name, "namespace": self.namespace}
        source = {"interval": EVERY, "url": self.repository.url, "ref": {"branch": "main"}}
        delivery = {
            "interval": EVERY,
            "retryInterval": EVERY,
            "timeout": "5m",
            "path": "./",
            "prune": True,
            "wait": True,
            "sourceRef": {"kind": "GitRepository", "name": self.name},
            **spec,
        }
        return (
            {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": meta, "spec": source},
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": meta,
                "spec": delivery,
            },
        )

    def live(self, kind: str = "Kustomization") -> Object:
        return self.kube.find(kind, self.name, self.namespace)

    def ready(self, revision: str = "") -> Mapping[str, str]:
        """The condition Ready about the present spec, and this revision where one is named; else an empty one."""
        status = self.live().get("status", {})
        if revision and revision not in status.get("lastAttemptedRevision", ""):
            return {}
        generation = self.live().get("metadata", {}).get("generation")
        found = (c for c in status.get("conditions", ()) if c["type"] == "Ready")
        return next((c for c in found if c.get("observedGeneration") == generation), {})

    def wait_ready(self, status: str, revision: str = "", within: float = 120) -> Mapping[str, str]:
        """Wait for Ready to be `status`."""
        return wait(
            f"Kustomization {self.name}: Ready={status} of {revision[:7]}",
            lambda: found if (found := self.ready(revision)).get("status") == status else None,
            within=within,
            last=self.told,
        )

    def reconcile(self) -> None:
        """Have it look once more now, and wait until it has."""
        mark = secrets.token_hex(4)
        self.kube.patch("Kustomization", self.name, {"metadata": {"annotations": {REQUESTED: mark}}}, self.namespace)
        wait(
            "Flux has looked once more",
            lambda: self.live().get("status", {}).get("lastHandledReconcileAt") == mark and self.ready(),
            within=60,
            last=self.told,
        )

    def told(self) -> str:
        """Write what both say, as a person would read it."""
        lines = []
        for kind in ("GitRepository", "Kustomization"):
            conditions = self.live(kind).get("status", {}).get("conditions", ())
            lines += [f"{kind} {c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions]
        return "; ".join(lines)

    def end(self) -> None:
        """Delete both, and with prune what they have applied; waits, for Flux's finalizers."""
        for kind in ("Kustomization", "GitRepository"):
            self.kube.delete(kind, self.name, self.namespace)
        wait("Flux has let go", lambda: not self.live() and not self.live("GitRepository"), within=60, last=self.told)
