"""Installs ModelWard's Helm chart and waits until the operator is available: the last step of `up`, on any cluster."""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.paths import CHART, OPERATOR_NAMESPACE
from e2e.cluster.progress import Screen

RELEASE = "modelward"
HINT = f"e2e/cluster/shell kubectl -n {OPERATOR_NAMESPACE} describe pods"


@dataclass(frozen=True)
class Target:
    """A cluster to install on: how to run kubectl and helm against it."""

    kubectl: tuple[str, ...]
    helm: tuple[str, ...]
    log: Path
    flags: tuple[str, ...] = ()  # more of helm's own, for install


def install(target: Target, values: dict[str, str], screen: Screen) -> None:
    """`helm upgrade --install`, unless just this chart with just these values is there already; then wait."""
    if not (CHART / "Chart.yaml").exists():
        screen.say(f"– no chart at {CHART} yet: the operator is not installed")
        return
    with screen.step("ModelWard: operator and custom resources", target.log) as step:
        mark = fingerprint(CHART, values)
        if installed(target) != mark:
            step.detail = "helm upgrade --install"
            _upgrade(target, values, mark)
        try:
            step.wait(lambda: _available(target), limit=180, doing="waiting for the operator's pods", hint=HINT)
        except StepFailed:
            _collect(target)
            raise
        step.detail = ""


def fingerprint(chart: Path, values: dict[str, str]) -> str:
    """Changes when a file of the chart or a value does."""
    summary = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for file in sorted(path for path in chart.rglob("*") if path.is_file()):
        summary.update(str(file.relative_to(chart)).encode() + b"\0" + file.read_bytes())
    return summary.hexdigest()[:16]


def installed(target: Target) -> str:
    """The fingerprint that was noted as the release's description; empty when it is not deployed."""
    done = _run(target.helm, "status", RELEASE, f"--namespace={OPERATOR_NAMESPACE}", "--output=json")
    if done.returncode != 0:
        return ""
    info = json.loads(done.stdout).get("info", {})
    return str(info.get("description", "")) if info.get("status") == "deployed" else ""


def _upgrade(target: Target, values: dict[str, str], mark: str) -> None:
    command = ["upgrade", "--install", RELEASE, str(CHART), f"--namespace={OPERATOR_NAMESPACE}", "--create-namespace"]
    command += [f"--set={key}={value}" for key, value in values.items()]
    done = _run(target.helm, *command, *target.flags, f"--description={mark}", "--timeout=120s")
    target.log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise StepFailed(
            "helm could not install the chart", log=target.log, hint="helm template helm/modelward shows what it makes"
        )


def _available(target: Target) -> bool:
    done = _run(target.kubectl, f"--namespace={OPERATOR_NAMESPACE}", "get", "deployments", "--output=json")
    deployments = json.loads(done.stdout)["items"] if done.returncode == 0 else []
    return bool(deployments) and all(_rolled_out(item) for item in deployments)


def _rolled_out(deployment: dict[str, dict[str, int]]) -> bool:
    wanted, status = deployment["spec"].get("replicas", 1), deployment["status"]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = (status.get("replicas", 0), status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    return seen and counts == (wanted, wanted, wanted)


def _collect(target: Target) -> None:
    """Put into the log what explains an operator that does not come up: events, pods, their last words."""
    questions = (
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("get", "pods", "--output=wide"),
        ("logs", f"deployment/{RELEASE}-operator", "--all-pods", "--all-containers", "--prefix", "--tail=15"),
    )
    answers = [_run(target.kubectl, f"--namespace={OPERATOR_NAMESPACE}", *question) for question in questions]
    target.log.write_text("\n".join(done.stdout + done.stderr for done in answers))


def _run(tool: tuple[str, ...], *arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run([*tool, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{tool[0]} is not on your PATH: install it and try again") from error


# ── the user's own cluster ────────────────────────────────────────────────────────────────────────────────────────


def install_on_current(screen: Screen) -> None:
    """CLUSTER=current: build nothing, name the context, install the chart with the images that the user gives."""
    context = _run(("kubectl",), "config", "current-context").stdout.strip()
    if not context:
        raise ClusterError("CLUSTER=current, but kubectl has no current context")
    images = {
        "operator.image": os.environ.get("OPERATOR_IMAGE", ""),
        "runtime.image": os.environ.get("RUNTIME_IMAGE", ""),
    }
    if not all(images.values()):
        raise ClusterError("CLUSTER=current builds no images: set OPERATOR_IMAGE and RUNTIME_IMAGE to ones it can pull")
    screen.say(f"cluster: the current context of your kubeconfig, {context}")
    log = Path(os.environ.get("TMPDIR", "/tmp")) / "modelward-helm.log"
    install(Target(("kubectl", f"--context={context}"), ("helm", f"--kube-context={context}"), log), images, screen)


def remove_from_current(screen: Screen) -> None:
    """CLUSTER=current make down: uninstall the release, nothing else."""
    context = _run(("kubectl",), "config", "current-context").stdout.strip()
    with screen.step(f"uninstall ModelWard from {context}"):
        done = _run(
            ("helm", f"--kube-context={context}"),
            "uninstall",
            RELEASE,
            f"--namespace={OPERATOR_NAMESPACE}",
            "--ignore-not-found",
        )
        if done.returncode != 0:
            raise ClusterError(done.stderr.strip())
