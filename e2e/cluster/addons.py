"""What is put into the running cluster: DNS, storage class, the operator's namespace, the bucket; and `shell`'s environment."""

import hashlib
import shlex
import subprocess

from e2e.cluster import components, processes
from e2e.cluster.binaries import binary
from e2e.cluster.certificates import certificate
from e2e.cluster.components import kubectl
from e2e.cluster.failures import StepFailed
from e2e.cluster.images import Image
from e2e.cluster.paths import (
    AUDIT_LOG,
    ENVIRONMENT,
    HERE,
    KUBECONFIG,
    REGISTRY,
    RUN,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_HTTPS_ENDPOINT,
    S3_REGION,
    STATE,
)
from e2e.cluster.progress import Screen

MANIFESTS = HERE / "manifests"


def environment(images: dict[str, Image]) -> dict[str, str]:
    """What `shell` sets for the commands it runs."""
    credentials = components.s3_credentials()
    pid = processes.init_pid()
    variables = {
        "MODELWARD_CLUSTER_PID": str(pid),
        "MODELWARD_CLUSTER_START": processes.start_time_of(pid),
        "MODELWARD_CLUSTER_PATH": f"{binary('kubectl').parent}:{binary('helm').parent}",
        "KUBECONFIG": str(KUBECONFIG),
        "KUBECACHEDIR": str(STATE / "tools" / "kubectl"),  # nothing of this cluster in the user's own caches
        "HELM_CACHE_HOME": str(STATE / "tools" / "helm"),
        "HELM_CONFIG_HOME": str(STATE / "tools" / "helm"),
        "HELM_DATA_HOME": str(STATE / "tools" / "helm"),
        "MODELWARD_REGISTRY": REGISTRY,
        "MODELWARD_AUDIT_LOG": str(AUDIT_LOG),
        "S3_ENDPOINT": S3_ENDPOINT,
        "S3_HTTPS_ENDPOINT": S3_HTTPS_ENDPOINT,
        "S3_CA_FILE": str(certificate("s3-ca")),
        "AWS_ACCESS_KEY_ID": credentials["access_key"],
        "AWS_SECRET_ACCESS_KEY": credentials["secret_key"],
        "AWS_REGION": S3_REGION,
    }
    for name in ("base", "operator", "runtime"):
        if name in images:
            variables[f"MODELWARD_{name.upper()}_IMAGE"] = images[name].reference
    return variables


def write_environment(images: dict[str, Image]) -> None:
    """Write it where the shell script reads it; it holds the object store's key, so only root may."""
    lines = [f"export {key}={shlex.quote(value)}" for key, value in environment(images).items()]
    unfinished = ENVIRONMENT.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text("\n".join(lines) + "\n")
    unfinished.rename(ENVIRONMENT)


def make_bucket() -> None:
    """Create the bucket `models`; a bucket that is there is left as it is."""
    command = [str(HERE / "shell"), "python3", str(HERE / "s3.py"), "make-bucket", S3_BUCKET]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepFailed(
            f"the bucket {S3_BUCKET} could not be made: {done.stderr.strip()}", log=components.LOG_OBJECT_STORE
        )


def apply(images: dict[str, Image], screen: Screen) -> None:
    """Apply the manifests and wait until cluster DNS answers."""
    rendered = RUN / "manifests.yaml"
    rendered.write_text(_render(images))
    with screen.step("cluster DNS") as step:
        done = kubectl("apply", "--server-side", f"--filename={rendered}")
        if done.returncode != 0:
            raise StepFailed(f"kubectl apply failed: {done.stderr.strip()}")
        step.wait(_dns_available, limit=120, doing="waiting for its pod", hint=_pod_hint("kube-system"))


def in_place(images: dict[str, Image]) -> bool:
    """Whether the manifests that are applied are the ones we would apply, and DNS answers."""
    rendered = RUN / "manifests.yaml"
    return rendered.exists() and rendered.read_text() == _render(images) and _dns_available()


def _render(images: dict[str, Image]) -> str:
    text = "\n---\n".join((MANIFESTS / name).read_text() for name in ("cluster.yaml", "coredns.yaml"))
    corefile = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text.replace("COREDNS_IMAGE", images["coredns"].reference).replace("COREFILE_HASH", corefile)


def _dns_available() -> bool:
    path = "{.status.availableReplicas}"
    return kubectl("--namespace=kube-system", "get", "deployment", "coredns", f"--output=jsonpath={path}").stdout == "1"


def _pod_hint(namespace: str) -> str:
    return f"e2e/cluster/shell kubectl -n {namespace} describe pods"
