"""The cluster's processes in the order in which they start: command line, and how to see that each is ready.

`WAVES` is the literal list that `up` walks: what stands in one wave starts together, the next waits for it to be ready.
"""

import json
import secrets
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from e2e.cluster import configuration, processes
from e2e.cluster.binaries import binary
from e2e.cluster.certificates import certificate, key
from e2e.cluster.paths import (
    AUDIT_LOG,
    CERTIFICATES,
    CLUSTER_DOMAIN,
    CONFIGURATION,
    ETCD_URL,
    HERE,
    KUBECONFIG,
    LOGS,
    NODE_ADDRESS,
    NODE_NAME,
    REGISTRY,
    S3_ENDPOINT,
    S3_HTTPS_ENDPOINT,
    S3_HTTPS_PORT,
    S3_PORT,
    S3_REGION,
    SERVICE_RANGE,
    STATE,
)
from e2e.cluster.processes import Unit

LOG_OBJECT_STORE = LOGS / "object-store.log"
OBJECTS = STATE / "object-store" / "data"
OBJECTS_METADATA = STATE / "object-store" / "metadata"
USERS = STATE / "object-store" / "users"  # with it an unknown access key is InvalidAccessKeyId, as on AWS
S3_CREDENTIALS = STATE / "s3-credentials.json"


@dataclass(frozen=True)
class Component:
    """How to start one process, how to see that it is ready, and how many seconds that may take."""

    unit: Callable[[], Unit]
    ready: Callable[[], bool]
    limit: float = 30


# ── readiness ─────────────────────────────────────────────────────────────────────────────────────────────────────


def inside(*command: str, limit: float = 10) -> "subprocess.CompletedProcess[str]":
    """Run a program in the cluster's network, with the machine's own files."""
    prefix = processes.entering(mounts=False)
    try:
        return subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {limit} s")


def kubectl(*arguments: str, limit: float = 30) -> "subprocess.CompletedProcess[str]":
    """Run kubectl as the cluster's administrator."""
    options = (f"--kubeconfig={KUBECONFIG}", f"--cache-dir={STATE / 'tools' / 'kubectl'}")
    return inside(str(binary("kubectl")), *options, *arguments, limit=limit)


def _answers(url: str) -> bool:
    """Whether an HTTP server there answers anything at all but a server error."""
    probe = [
        "curl",
        "--silent",
        "--insecure",
        "--max-time",
        "2",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        url,
    ]
    code = inside(*probe).stdout
    return code.isdigit() and 200 <= int(code) < 500


def _containerd_listens() -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(configuration.CONTAINERD_SOCKET)) == 0


def _api_ready() -> bool:
    return kubectl("get", "--raw=/readyz", limit=5).stdout == "ok"


def _node_ready() -> bool:
    path = "{.status.conditions[?(@.type=='Ready')].status}"
    return kubectl("get", "node", NODE_NAME, f"--output=jsonpath={path}", limit=5).stdout == "True"


def _policies_enforced() -> bool:
    return "isolations in force" in network_policy().log.read_text(errors="replace").rpartition("\n--- ")[2]


# ── command lines ─────────────────────────────────────────────────────────────────────────────────────────────────


def etcd() -> Unit:
    """The database. It does not wait for the disk: what a power cut would lose is a throw-away cluster."""
    options = {
        "name": NODE_NAME,
        "data-dir": str(STATE / "etcd"),
        "listen-client-urls": ETCD_URL,
        "advertise-client-urls": ETCD_URL,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "initial-advertise-peer-urls": "http://127.0.0.1:2380",
        "initial-cluster": f"{NODE_NAME}=http://127.0.0.1:2380",
        "log-level": "warn",
    }
    return Unit("etcd", (str(binary("etcd")), "--unsafe-no-fsync", *_flags(options)))


def containerd() -> Unit:
    """The container runtime, apart from the system's own."""
    config = CONFIGURATION / "containerd.toml"
    return Unit("containerd", ("containerd", "--config", str(config), "--log-level", "warn"), reads=(config,))


def registry() -> Unit:
    """The OCI registry that the node pulls from."""
    config = CONFIGURATION / "registry.json"
    environment = {"OTEL_TRACES_EXPORTER": "none"}
    return Unit("registry", ("docker-registry", "serve", str(config)), environment, (config,))


def object_store(*, tls: bool) -> Unit:
    """The S3 server, which checks signatures; two of them serve the same objects, one over TLS with a private CA."""
    credentials = s3_credentials()
    environment = {"ROOT_ACCESS_KEY": credentials["access_key"], "ROOT_SECRET_KEY": credentials["secret_key"]}
    port = S3_HTTPS_PORT if tls else S3_PORT
    transport = ("--cert", str(certificate("s3-server")), "--key", str(key("s3-server"))) if tls else ()
    options = (
        "--port",
        f"{NODE_ADDRESS}:{port}",
        "--region",
        S3_REGION,
        "--keep-alive",
        "--iam-dir",
        str(USERS),
        *transport,
    )
    name = "object-store-https" if tls else "object-store"
    command = (str(binary("versitygw")), *options, "posix", "--sidecar", str(OBJECTS_METADATA), str(OBJECTS))
    return Unit(name, command, environment)


def s3_credentials() -> dict[str, str]:
    """The object store's root credentials, drawn at random once per cluster."""
    if not S3_CREDENTIALS.exists():
        unfinished = S3_CREDENTIALS.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps({"access_key": secrets.token_hex(10), "secret_key": secrets.token_hex(20)}))
        unfinished.rename(S3_CREDENTIALS)
    return dict(json.loads(S3_CREDENTIALS.read_text()))


def api_server() -> Unit:
    """kube-apiserver with RBAC, the default admission plugins (Pod Security among them) and an audit log."""
    options = {
        "advertise-address": NODE_ADDRESS,
        "etcd-servers": ETCD_URL,
        "service-cluster-ip-range": SERVICE_RANGE,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "client-ca-file": str(certificate("ca")),
        "tls-cert-file": str(certificate("apiserver")),
        "tls-private-key-file": str(key("apiserver")),
        "kubelet-certificate-authority": str(certificate("ca")),
        "kubelet-client-certificate": str(certificate("apiserver-kubelet-client")),
        "kubelet-client-key": str(key("apiserver-kubelet-client")),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "service-account-key-file": str(CERTIFICATES / "service-account.pub"),
        "service-account-signing-key-file": str(key("service-account")),
        "requestheader-client-ca-file": str(certificate("front-proxy-ca")),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(certificate("front-proxy-client")),
        "proxy-client-key-file": str(key("front-proxy-client")),
        "audit-policy-file": str(CONFIGURATION / "audit-policy.json"),
        "audit-log-path": str(AUDIT_LOG),
        "audit-log-maxsize": "200",
        "audit-log-maxbackup": "1",
        "profiling": "false",
    }
    reads = (CONFIGURATION / "audit-policy.json", certificate("apiserver"))
    return Unit("kube-apiserver", (str(binary("kube-apiserver")), *_flags(options)), reads=reads)


def controller_manager() -> Unit:
    """kube-controller-manager; its hostPath provisioner serves the storage class `standard`."""
    options = {
        "kubeconfig": str(configuration.kubeconfig("controller-manager")),
        "leader-elect": "false",  # there is one: nothing to wait for, nothing to lose when the machine is busy
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(key("service-account")),
        "root-ca-file": str(certificate("ca")),
        "cluster-signing-cert-file": str(certificate("ca")),
        "cluster-signing-key-file": str(key("ca")),
        "service-cluster-ip-range": SERVICE_RANGE,
        "allocate-node-cidrs": "false",
        "enable-hostpath-provisioner": "true",
        "flex-volume-plugin-dir": str(STATE / "volume-plugins"),
        "kube-api-qps": "200",
        "kube-api-burst": "400",
        "profiling": "false",
    }
    reads = (configuration.kubeconfig("controller-manager"),)
    return Unit("kube-controller-manager", (str(binary("kube-controller-manager")), *_flags(options)), reads=reads)


def scheduler() -> Unit:
    """kube-scheduler."""
    kubeconfig = configuration.kubeconfig("scheduler")
    options = {"kubeconfig": str(kubeconfig), "leader-elect": "false", "kube-api-qps": "200", "kube-api-burst": "400"}
    return Unit("kube-scheduler", (str(binary("kube-scheduler")), *_flags(options)), reads=(kubeconfig,))


def kubelet() -> Unit:
    """The node's agent."""
    config, kubeconfig = CONFIGURATION / "kubelet.json", configuration.kubeconfig("kubelet")
    options = {
        "config": str(config),
        "kubeconfig": str(kubeconfig),
        "hostname-override": NODE_NAME,
        "node-ip": NODE_ADDRESS,
        "root-dir": "/var/lib/kubelet",  # in the cluster's own mount namespace
    }
    return Unit("kubelet", (str(binary("kubelet")), *_flags(options)), reads=(config, kubeconfig))


def proxy() -> Unit:
    """kube-proxy, which makes Services work."""
    config, kubeconfig = CONFIGURATION / "proxy.json", configuration.kubeconfig("proxy")
    return Unit("kube-proxy", (str(binary("kube-proxy")), f"--config={config}"), reads=(config, kubeconfig))


def network_policy() -> Unit:
    """The stand-in that enforces NetworkPolicy, for tests only."""
    program = HERE / "netpol.py"
    command = (processes.PYTHON, str(program), "--kubeconfig", str(KUBECONFIG))
    return Unit("netpol", command, {"PYTHONDONTWRITEBYTECODE": "1"}, (*sorted(HERE.glob("netpol*.py")), KUBECONFIG))


def _flags(options: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in options.items())


# ── the list ──────────────────────────────────────────────────────────────────────────────────────────────────────

WAVES: tuple[tuple[Component, ...], ...] = (
    # what needs nobody
    (
        Component(etcd, partial(_answers, f"{ETCD_URL}/health")),
        Component(containerd, _containerd_listens),
        Component(registry, partial(_answers, f"http://{REGISTRY}/v2/")),
        Component(partial(object_store, tls=False), partial(_answers, S3_ENDPOINT)),
        Component(partial(object_store, tls=True), partial(_answers, S3_HTTPS_ENDPOINT)),
    ),
    # what needs etcd
    (Component(api_server, _api_ready, limit=120),),
    # what needs the API server
    (
        Component(kubelet, _node_ready, limit=120),
        Component(controller_manager, partial(_answers, "https://127.0.0.1:10257/healthz")),
        Component(scheduler, partial(_answers, "https://127.0.0.1:10259/healthz")),
        Component(proxy, partial(_answers, "http://127.0.0.1:10256/livez")),
    ),
)


def waves() -> tuple[tuple[Component, ...], ...]:
    """All waves; the enforcer of NetworkPolicy comes last, once its program is in the checkout."""
    program: Path = HERE / "netpol.py"
    if not program.exists():
        return WAVES
    return (*WAVES, (Component(network_policy, _policies_enforced),))
