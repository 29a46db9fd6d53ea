"""Real metrics-server and real KEDA for the cases of `SUITE=scaling`, on the node beside the object store, as `vault.py` runs Vault.

Both are API servers of their own to which the cluster's hands on what it does not know itself (an APIService each). That goes before they
do: while one is registered and gone, the cluster deletes no namespace.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from e2e.cases.authority import Authority
from e2e.cases.kube import Kube, wait
from e2e.cluster.binaries import binary, module_source

METRICS_PORT: Final = 4443
EXTERNAL_PORT: Final = 6444
KEDA_PORT: Final = 9666
KEDA_PROBE: Final = "127.0.0.1:9682"
KEDA_NAMESPACE: Final = "keda"
VERSION: Final = "v1beta1"
"""Of both APIs of numbers."""
CRDS: Final = "config/crd/bases"


@contextmanager
def metrics_server(folder: Path, host: str, kubeconfig: str, kube: Kube) -> Iterator[None]:
    """Serve what pods use of CPU and memory, measured anew every 15 s, as by its own manifest."""
    command = [
        str(binary("metrics-server")),
        f"--secure-port={METRICS_PORT}",
        f"--cert-dir={folder}",
        "--metric-resolution=15s",  # as in its own manifest
        "--kubelet-preferred-address-types=InternalIP",
        "--kubelet-insecure-tls",  # the node's certificate is of the cluster's own CA
        *_kubeconfigs(kubeconfig, "kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"),
    ]
    service = ("kube-system", "metrics-server")
    with (
        _process(folder, "metrics-server", command),
        _served(kube, "metrics.k8s.io", service, host, METRICS_PORT, folder / "metrics-server.log"),
    ):
        yield


@contextmanager
def keda(folder: Path, host: str, kubeconfig: str, kube: Kube) -> Iterator[None]:
    """Install KEDA's kinds and run its operator, and the adapter that the HPA controller asks for its triggers' numbers."""
    crds = module_source("keda", "github.com/kedacore/keda/v2") / CRDS
    kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds), within=120)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KEDA_NAMESPACE}})
    _certify(folder, host)
    environment = {
        "KUBECONFIG": kubeconfig,
        "POD_NAMESPACE": KEDA_NAMESPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": KEDA_NAMESPACE,
        "WATCH_NAMESPACE": "",
    }
    operator = [
        str(binary("keda-operator")),
        "--enable-prometheus-metrics=false",
        f"--health-probe-bind-address={KEDA_PROBE}",
        f"--metrics-service-bind-address={host}:{KEDA_PORT}",
        f"--cert-dir={folder}",
        "--zap-log-level=info",
    ]
    adapter = [
        str(binary("keda-adapter")),
        f"--secure-port={EXTERNAL_PORT}",
        "--port=9681",
        f"--metrics-service-address={host}:{KEDA_PORT}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        *_kubeconfigs(kubeconfig, "authentication-kubeconfig", "authorization-kubeconfig", "lister-kubeconfig"),
    ]
    with _process(folder, "keda-operator", operator, environment) as process:
        wait("KEDA is ready", lambda: _keda_ready(process), within=60)
        with _process(folder, "keda-adapter", adapter, environment):
            service = (KEDA_NAMESPACE, "keda-metrics-apiserver")
            with _served(kube, "external.metrics.k8s.io", service, host, EXTERNAL_PORT, folder / "keda-adapter.log"):
                yield
                wait("no ScaledObject is left", lambda: not kube.list("ScaledObject"), within=90)
    kube.kubectl("delete", "-f", str(crds), "--ignore-not-found", within=120)


def _keda_ready(process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, f"KEDA ended right after its start: {process.args!r}"
    return httpx.get(f"http://{KEDA_PROBE}/readyz", timeout=5, trust_env=False).status_code == 200


def _kubeconfigs(kubeconfig: str, *flags: str) -> list[str]:
    return [f"--{flag}={kubeconfig}" for flag in flags]


def _certify(folder: Path, host: str) -> None:
    """The files by which KEDA's two programs know each other."""
    authority = Authority(folder)
    certificate, key = authority.issue(host)
    certificate.rename(folder / "tls.crt")
    key.rename(folder / "tls.key")


@contextmanager
def _process(
    folder: Path, name: str, command: list[str], environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            yield process
            assert process.poll() is None, f"{name} ended; see {log.name}"
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def _served(kube: Kube, group: str, service: tuple[str, str], host: str, port: int, log: Path) -> Iterator[None]:
    """Register an API that is served on the node, and wait until the cluster reaches it."""
    namespace, name = service
    kube.apply(*_registration(group, namespace, name, host, port))

    def availability() -> dict[str, str]:
        found = json.loads(kube.kubectl("get", "apiservice", f"{VERSION}.{group}", "-o", "json"))
        conditions = found.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == "Available"), {})

    def told() -> str:
        return f"{availability()}; its log ends with: {log.read_text()[-2000:]}"

    try:
        wait(f"{group} is served", lambda: availability().get("status") == "True", within=90, last=told)
        yield
    finally:
        kube.kubectl("delete", "apiservice", f"{VERSION}.{group}", "--ignore-not-found")
        kube.delete("Service", name, namespace)
        kube.delete("EndpointSlice", name, namespace)


def _registration(group: str, namespace: str, name: str, host: str, port: int) -> list[dict[str, Any]]:
    meta = {"name": name, "namespace": namespace}
    ports = [{"name": "https", "port": 443, "targetPort": port, "protocol": "TCP"}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": meta | {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{VERSION}.{group}"},
            "spec": {
                "service": {"namespace": namespace, "name": name},
                "group": group,
                "version": VERSION,
                "insecureSkipTLSVerify": True,  # as both projects' own manifests have it
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]
