"""Renders every configuration file of the cluster: pure functions from addresses and paths to text, and one that writes.

Where a file differs from Kubernetes' defaults, the line says why.
"""

import base64
import json
from pathlib import Path
from typing import Any

from e2e.cluster.certificates import certificate, key
from e2e.cluster.paths import (
    API_URL,
    CGROUP,
    CLUSTER_DOMAIN,
    CONFIGURATION,
    DNS_ADDRESS,
    KUBECONFIG,
    LOGS,
    NODE_ADDRESS,
    NODE_NAME,
    POD_BRIDGE,
    POD_RANGE,
    REGISTRY,
    REGISTRY_PORT,
    RUN,
    STATE,
)
from e2e.cluster.paths import cache as cache_folder

CONTAINERD_SOCKET = RUN / "containerd" / "containerd.sock"
CLIENTS = ("admin", "controller-manager", "scheduler", "proxy", "kubelet")


def kubeconfig(client: str) -> Path:
    """Where a component's kubeconfig is; the administrator's is the one users see."""
    return KUBECONFIG if client == "admin" else CONFIGURATION / f"{client}.kubeconfig"


def render_kubeconfig(authority: bytes, client_certificate: bytes, client_key: bytes) -> str:
    """A kubeconfig with everything inside it, so that it can be copied."""

    def inline(data: bytes) -> str:
        return base64.b64encode(data).decode()

    user = {"client-certificate-data": inline(client_certificate), "client-key-data": inline(client_key)}
    cluster = {"server": API_URL, "certificate-authority-data": inline(authority)}
    return as_json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "modelward", "cluster": cluster}],
            "users": [{"name": "modelward", "user": user}],
            "contexts": [{"name": "modelward", "context": {"cluster": "modelward", "user": "modelward"}}],
            "current-context": "modelward",
        }
    )


def render_audit_policy() -> str:
    """Who did what, without bodies: tests count writes by it. Reads of leases and health checks are noise."""
    quiet: list[dict[str, Any]] = [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*", "/api*"]},
        {"level": "None", "userGroups": ["system:nodes"], "verbs": ["get", "list", "watch"]},
        {"level": "None", "users": ["system:kube-scheduler", "system:kube-proxy"], "verbs": ["get", "list", "watch"]},
    ]
    return as_json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "omitManagedFields": True,
            "rules": [*quiet, {"level": "Metadata"}],
        }
    )


def render_kubelet(cgroup_v2: bool) -> str:
    """The kubelet's configuration."""
    return as_json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(certificate("ca"))},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(certificate("kubelet-server")),
            "tlsPrivateKeyFile": str(key("kubelet-server")),
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "cgroupDriver": "cgroupfs",  # the machine may have no systemd to ask
            "cgroupRoot": f"/{CGROUP}",  # all pods below one cgroup, which `down` removes
            "failCgroupV1": cgroup_v2,  # 1.35 refuses cgroup v1 unless told otherwise
            "failSwapOn": False,
            "maxPods": 250,
            "podLogsDir": str(LOGS / "pods"),
            "resolvConf": str(CONFIGURATION / "resolv.conf"),
            "volumePluginDir": str(STATE / "volume-plugins"),
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "nodeStatusUpdateFrequency": "2s",  # a node is Ready, and a change of it visible, within seconds
            "syncFrequency": "10s",  # a changed ConfigMap reaches a running pod within about 10 s
            "enforceNodeAllocatable": ["pods"],
            "oomScoreAdj": 0,  # lowering it needs CAP_SYS_RESOURCE, which the machine may lack
            # The machine's disk is the developer's own and may be nearly full: only memory pressure evicts, and
            # images are never collected behind a test's back.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        }
    )


def render_proxy() -> str:
    """kube-proxy's configuration."""
    return as_json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": POD_RANGE,
            "hostnameOverride": NODE_NAME,
            "clientConnection": {"kubeconfig": str(kubeconfig("proxy")), "qps": 100, "burst": 200},
            "iptables": {
                "minSyncPeriod": "100ms",
                "syncPeriod": "30s",
            },  # endpoints follow pods without a second's delay
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "oomScoreAdj": 0,
        }
    )


def render_containerd(pause_image: str) -> str:
    """containerd's configuration: everything below our own folders, nothing of the system's service."""
    return f"""version = 2
root = "{STATE}/containerd"
state = "{RUN}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE no sandbox would start
  netns_mounts_under_state_dir = true
  disable_apparmor = true  # its profile would be loaded into the machine's kernel, and stay
  max_concurrent_downloads = 4
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{CONFIGURATION}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{CONFIGURATION}/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def render_registry_host() -> str:
    """Tells containerd that the cluster's registry speaks plain HTTP."""
    return f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n'


def render_registry() -> str:
    """The registry's configuration; its blobs are in the cache, so images are pushed once and not once per boot."""
    return as_json(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(cache_folder() / "registry")}, "delete": {"enabled": True}},
            "http": {"addr": f"{NODE_ADDRESS}:{REGISTRY_PORT}"},
        }
    )


def render_cni() -> str:
    """One bridge for all pods; hairpin, so that a pod reaches itself through its Service."""
    return as_json(
        {
            "cniVersion": "0.4.0",
            "name": "modelward",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": POD_BRIDGE,
                    "isDefaultGateway": True,
                    "hairpinMode": True,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(STATE / "cni" / "addresses"),
                        "ranges": [[{"subnet": POD_RANGE}]],
                    },
                }
            ],
        }
    )


def as_json(value: object) -> str:
    """JSON, which every YAML reader takes."""
    return json.dumps(value, indent=1) + "\n"


def write(pause_image: str) -> None:
    """Write all configuration files; the same content again leaves a file as it is."""
    cgroup_v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    files = {
        CONFIGURATION / "audit-policy.json": render_audit_policy(),
        CONFIGURATION / "kubelet.json": render_kubelet(cgroup_v2),
        CONFIGURATION / "proxy.json": render_proxy(),
        CONFIGURATION / "containerd.toml": render_containerd(pause_image),
        CONFIGURATION / "registries" / REGISTRY / "hosts.toml": render_registry_host(),
        CONFIGURATION / "registry.json": render_registry(),
        CONFIGURATION / "cni" / "10-modelward.conflist": render_cni(),
    }
    for client in CLIENTS:
        parts = (certificate("ca"), certificate(client), key(client))
        files[kubeconfig(client)] = render_kubeconfig(*(part.read_bytes() for part in parts))
    for path, text in files.items():
        _write(path, text)


def write_names() -> None:
    """The names the cluster sees instead of the machine's: its node's, and a resolver that refuses at once.

    Nothing outside can be reached from here, so a name of the outside must fail fast instead of timing out.
    """
    _write(CONFIGURATION / "hosts", f"127.0.0.1 localhost\n{NODE_ADDRESS} {NODE_NAME}\n")
    _write(CONFIGURATION / "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.rename(path)
