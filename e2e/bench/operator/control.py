"""The control: an operator as kopf's own tutorial has it, for ModelDeployments, with the synchronous client.

Handlers for create, update and resume make a Deployment, a Service and a HorizontalPodAutoscaler and adopt them; what exists is patched.
It has no queue, no cache and no status of its own: what kopf writes to remember its progress is all there is. Run by `kopf run`.
"""

from typing import Any

import kopf
from kubernetes import client, config
from kubernetes.client.rest import ApiException

GROUP, VERSION, PLURAL = "modelward.dev", "v1alpha1", "modeldeployments"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False  # no Events: the others post none here either
    config.load_kube_config()


@kopf.on.create(GROUP, VERSION, PLURAL)
@kopf.on.update(GROUP, VERSION, PLURAL)
@kopf.on.resume(GROUP, VERSION, PLURAL)  # type: ignore[arg-type]  # handlers take what they need
def make(spec: kopf.Spec, name: str, namespace: str, **_: Any) -> None:
    apps, core, scaling = client.AppsV1Api(), client.CoreV1Api(), client.AutoscalingV2Api()
    for api, kind, body in (
        (core, "service", service(name)),
        (apps, "deployment", deployment(name, spec)),
        (scaling, "horizontal_pod_autoscaler", autoscaler(name, spec)),
    ):
        kopf.adopt(body)
        try:
            getattr(api, f"create_namespaced_{kind}")(namespace, body)
        except ApiException as error:
            if error.status != 409:
                raise
            getattr(api, f"patch_namespaced_{kind}")(name, namespace, body)


def service(name: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 8081}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def deployment(name: str, spec: kopf.Spec) -> dict[str, Any]:
    container = {
        "name": "runtime",
        "image": "registry.example/runtime:1",
        "args": ["serve", spec["model"]["uri"]],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 8081}],
        "resources": dict(spec.get("resources", {})),
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": "http"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    body = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


def autoscaler(name: str, spec: kopf.Spec) -> dict[str, Any]:
    scaling = spec["scaling"]
    aim = {"type": "Utilization", "averageUtilization": scaling["hpa"]["cpuUtilizationPercent"]}
    body = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": scaling.get("minReplicas", 1),
        "maxReplicas": scaling["maxReplicas"],
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": aim}}],
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": body,
    }
