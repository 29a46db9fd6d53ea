"""KServe's controller as a contestant: its CRDs, its configuration with Deployments of its own (no Knative, Istio or Ingress), no webhooks.

A model is an InferenceService whose runtime is a ClusterServingRuntime, as its users write them. Left out are the admission webhooks, of
which nothing would be measured but their own time: what their defaulter would fill in, the manifest says. Its webhook server starts, and
wants a certificate. Its three children are a Deployment, a Service and a HorizontalPodAutoscaler.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.bench.operator.contestants import IMAGE, THREE, Contestant
from e2e.bench.operator.load import Json, Load
from e2e.cluster.binaries import binary, module_source

MODELS: Final = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"
HOME: Final = "kserve"
FILES: Final = "kserve-files"
"""Its own folder beside the users' kubeconfigs, of which one is called `kserve`."""
RUNTIMES: Final = "/apis/serving.kserve.io/v1alpha1/clusterservingruntimes"
RUNTIME: Final = "bench"
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MODULE: Final = "github.com/kserve/kserve"


def contestant(folder: Path, health_port: int, webhook_port: int) -> Contestant:
    """What is started; its certificate is looked for below TMPDIR."""
    command = (
        str(binary("kserve-manager")),
        "--metrics-addr=0",
        f"--health-probe-addr=127.0.0.1:{health_port}",
        f"--webhook-port={webhook_port}",
        "--zap-log-level=error",
    )
    environment = {"TMPDIR": str(folder / FILES), "POD_NAMESPACE": HOME}
    return Contestant(
        "kserve",
        "KServe's controller",
        command,
        3,
        environment,
        models=MODELS,
        others=tuple(THREE.values()),
        manifest=manifest,
        change=changed,
    )


async def install(load: Load, folder: Path) -> None:
    """Apply its CRDs and its configuration, and make a certificate. Without one kind that is not served yet it would not start."""
    crds = list(_crds())
    for crd in crds:
        await load.request("POST", CRDS, crd)
    async with asyncio.timeout(120):
        while not all([await _is_served(load, crd) for crd in crds]):  # noqa: ASYNC110  -- the API server announces nothing
            await asyncio.sleep(0.5)
    await load.request("POST", RUNTIMES, _runtime())
    await load.request("POST", "/api/v1/namespaces", {"metadata": {"name": HOME}})
    await load.request("POST", f"/api/v1/namespaces/{HOME}/configmaps", _configuration())
    _certificate(folder / FILES / "k8s-webhook-server" / "serving-certs")


async def _is_served(load: Load, crd: Json) -> bool:
    """Whether the discovery has every version of the kind: it comes later than the kind itself."""
    spec = crd["spec"]
    groups = await load.request("GET", "/apis")
    if spec["group"] not in {group["name"] for group in groups["groups"]}:
        return False
    for version in spec["versions"]:
        found = await load.request("GET", f"/apis/{spec['group']}/{version['name']}")
        if version["served"] and spec["names"]["plural"] not in {one["name"] for one in found.get("resources", ())}:
            return False
    return True


def _source() -> Path:
    return module_source("kserve", MODULE) / "config"


def _crds() -> Iterator[Json]:
    for file in sorted((_source() / "crd" / "full").rglob("serving.kserve.io_*.yaml")):
        crd = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)  # megabytes
        crd["spec"].pop("conversion", None)  # by a webhook, of kinds that nobody uses here
        yield crd


def _configuration() -> Json:
    live: Json = yaml.safe_load((_source() / "configmap" / "inferenceservice.yaml").read_text())
    data = live["data"]
    ingress = json.loads(data["ingress"])
    ingress |= {"disableIstioVirtualHost": True, "disableIngressCreation": True}
    data |= {"deploy": json.dumps({"defaultDeploymentMode": "Standard"}), "ingress": json.dumps(ingress)}
    name = {"name": "inferenceservice-config", "namespace": HOME}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": data}


def _certificate(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(folder / "tls.key")]
    said = ["-x509", "-days", "2", "-subj", "/CN=localhost", "-out", str(folder / "tls.crt")]
    subprocess.run(["openssl", "req", *key, *said], check=True, capture_output=True)


def _runtime() -> Json:
    """What an administrator sets up once for all models of a kind."""
    container = {
        "name": "kserve-container",
        "image": IMAGE,
        "args": ["serve", "/mnt/models"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
    }
    spec = {
        "supportedModelFormats": [{"name": "onnx", "version": "1", "autoSelect": True}],
        "protocolVersions": ["v2"],
        "containers": [container],
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": RUNTIME},
        "spec": spec,
    }


def manifest(namespace: str, name: str) -> dict[str, Any]:
    """An InferenceService that an HPA scales."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 3,
                "scaleMetric": "cpu",
                "scaleTarget": 70,
                "model": {
                    "modelFormat": {"name": "onnx"},
                    "runtime": RUNTIME,
                    "protocolVersion": "v2",
                    "storageUri": "pvc://models/fraud/7/",
                    **_resources("100m"),
                },
            }
        },
    }


def changed(number: int) -> dict[str, Any]:
    """A merge patch that changes the pod template; another one for each number."""
    return {"spec": {"predictor": {"model": _resources(f"{101 + number}m")}}}


def _resources(cpu: str) -> Json:
    return {"resources": {"requests": {"cpu": cpu, "memory": "256Mi"}}}
