"""Where the embedded cluster keeps things, and the addresses it uses: one page of constants, no code that acts.

Everything that runs lives in namespaces of its own, so these addresses cannot clash with the machine's. What `down`
must remove is under STATE and RUN; what the next `up` may reuse (binaries, images, downloads) is under `cache()`.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = REPOSITORY / "e2e" / "cluster"

STATE = Path("/var/lib/modelward-cluster")  # data, certificates, configuration, logs: gone after `down`
RUN = Path("/run/modelward-cluster")  # sockets, process records, the environment of `shell`: gone after `down`
LOGS = STATE / "logs"
CERTIFICATES = STATE / "pki"
CONFIGURATION = STATE / "config"
AUDIT_LOG = LOGS / "audit.log"
ENVIRONMENT = RUN / "env"
KUBECONFIG = STATE / "kubeconfig"

# Paths that Kubernetes, containerd or CNI have written into their code. Inside the cluster's mount namespace each is
# a bind mount of a folder below STATE, so that the machine's own never see a file of ours.
CLAIMED = {
    Path("/var/lib/cni"): STATE / "cni" / "results",
    Path("/var/lib/kubelet"): STATE / "kubelet",
    Path("/var/log/containers"): STATE / "container-logs",
    Path("/tmp/hostpath_pv"): STATE / "volumes",
}

NODE_NAME = "modelward"
NODE_ADDRESS = "10.99.0.1"
NODE_BRIDGE = "mw-node"  # a bridge without ports: a device that only carries the node's address
POD_BRIDGE = "mw-pods"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
CGROUP = "modelward-cluster"

API_URL = f"https://{NODE_ADDRESS}:6443"
ETCD_URL = "http://127.0.0.1:2379"
REGISTRY_PORT = 5000
REGISTRY = f"{NODE_ADDRESS}:{REGISTRY_PORT}"
S3_PORT = 9000
S3_HTTPS_PORT = 9443
S3_ENDPOINT = f"http://{NODE_ADDRESS}:{S3_PORT}"
S3_HTTPS_ENDPOINT = f"https://{NODE_ADDRESS}:{S3_HTTPS_PORT}"
S3_REGION = "us-east-1"
S3_BUCKET = "models"

OPERATOR_NAMESPACE = "modelward-system"
CHART = REPOSITORY / "helm" / "modelward"


def cache() -> Path:
    """The folder that outlives clusters and clones: MODELWARD_CACHE, else the user's cache folder."""
    configured = os.environ.get("MODELWARD_CACHE")
    if configured:
        return Path(configured).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "modelward"
