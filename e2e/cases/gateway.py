"""A real Traefik for the cases of `SUITE=exposure`: the Gateway API's kinds, a class, a Gateway, and the pod that serves it and Ingresses.

It runs in a namespace of its own, on the serving image's file system with its program from the node, so that it is subject to network
policies as any gateway is.
"""

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from e2e.cases.authority import Authority
from e2e.cases.case import pod_ready
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import namespace
from e2e.cases.place import runtime_image
from e2e.cluster.binaries import binary, module_source

NAMESPACE: Final = "modelward-gateways"
NAME: Final = "public"
PLAIN: Final = 8000
SECURE: Final = 8443
"""Ports of Traefik's, which the listeners must have as well."""
DOMAIN: Final = "models.example"
GROUP: Final = "gateway.networking.k8s.io"


@dataclass(frozen=True)
class Gateway:
    """A gateway that serves."""

    address: str
    trust: Path
    """The authority of its certificate, for every name of DOMAIN."""

    def parent(self, listener: str) -> Object:
        """Return a parentRef to one of its listeners: `plain`, `secure`, or `closed`, which takes no routes of other namespaces."""
        return {"name": NAME, "namespace": NAMESPACE, "sectionName": listener}


@contextlib.contextmanager
def traefik(folder: Path, kube: Kube) -> Iterator[Gateway]:
    """Install the Gateway API and run Traefik until the block ends; all of it is taken away again."""
    crds = module_source("gateway-api", "sigs.k8s.io/gateway-api") / "config/crd/standard"
    kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds), within=120)
    try:
        kube.apply(
            namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "privileged"})
        )  # for the program on the node
        authority = Authority(folder)
        kube.apply(*_rights(), *_entrance(authority))
        kube.apply(_pod())
        told = lambda: kube.logs("traefik", NAMESPACE)  # noqa: E731
        wait("Traefik is ready", lambda: pod_ready(kube.find("Pod", "traefik", NAMESPACE)), within=120, last=told)
        yield Gateway(str(kube.find("Pod", "traefik", NAMESPACE)["status"]["podIP"]), authority.file)
    finally:
        kube.delete("Namespace", NAMESPACE)
        for kind in ("gatewayclass", "ingressclass", "clusterrole", "clusterrolebinding"):
            kube.kubectl("delete", kind, "modelward-traefik", "--ignore-not-found")
        kube.kubectl("delete", "-f", str(crds), "--ignore-not-found", within=120)


def _entrance(authority: Authority) -> list[Object]:
    certificate, key = authority.issue_for(f"*.{DOMAIN}")
    pair = {"tls.crt": certificate, "tls.key": key}
    data = {name: base64.b64encode(file.read_bytes()).decode() for name, file in pair.items()}
    tls = {"certificateRefs": [{"name": "models"}]}
    open_ = {"namespaces": {"from": "All"}}
    listeners: list[Object] = [
        {"name": "plain", "port": PLAIN, "protocol": "HTTP", "allowedRoutes": open_},
        {"name": "secure", "port": SECURE, "protocol": "HTTPS", "tls": tls, "allowedRoutes": open_},
        {
            "name": "closed",
            "port": PLAIN,
            "protocol": "HTTP",
            "hostname": f"closed.{DOMAIN}",
            "allowedRoutes": {"namespaces": {"from": "Same"}},
        },
    ]
    cluster = {"name": "modelward-traefik"}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": _meta("models"), "type": "kubernetes.io/tls", "data": data},
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": cluster,
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": cluster,
            "spec": {"controller": "traefik.io/ingress-controller"},
        },
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Gateway",
            "metadata": _meta(NAME),
            "spec": {"gatewayClassName": "modelward-traefik", "listeners": listeners},
        },
    ]


def _rights() -> list[Object]:
    """What Traefik's own documentation grants it."""
    read = ["get", "list", "watch"]
    kinds = ["gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "backendtlspolicies"]
    rules: list[Object] = [
        {"apiGroups": [""], "resources": ["namespaces", "services", "secrets", "configmaps", "nodes"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "ingressclasses"], "verbs": read},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["update"]},
        {"apiGroups": [GROUP], "resources": kinds, "verbs": read},
        {"apiGroups": [GROUP], "resources": [f"{kind}/status" for kind in kinds], "verbs": ["update"]},
    ]
    rbac, role = "rbac.authorization.k8s.io", {"name": "modelward-traefik"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("traefik")},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": role, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": role,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", **role},
            "subjects": [{"kind": "ServiceAccount", "name": "traefik", "namespace": NAMESPACE}],
        },
    ]


def _pod() -> Object:
    program = binary("traefik")
    container: dict[str, Any] = {
        "name": "traefik",
        "image": runtime_image(),
        "command": [
            f"/opt/traefik/{program.name}",
            f"--entrypoints.plain.address=:{PLAIN}",
            f"--entrypoints.secure.address=:{SECURE}",
            "--providers.kubernetesgateway=true",
            "--providers.kubernetesgateway.statusaddress.ip=$(ADDRESS)",
            "--providers.kubernetesingress=true",
            "--providers.kubernetesingress.ingressclass=modelward-traefik",
            "--providers.kubernetesingress.ingressendpoint.ip=$(ADDRESS)",
            # A network policy says who may open a connection: with none kept open, each call shows what it says now.
            "--serverstransport.maxidleconnsperhost=-1",
            "--ping=true",
            "--ping.entrypoint=plain",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            "--log.level=INFO",
        ],
        "env": [{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "volumeMounts": [{"name": "program", "mountPath": "/opt/traefik", "readOnly": True}],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": PLAIN}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**_meta("traefik"), "labels": {"app": "traefik"}},
        "spec": {
            "serviceAccountName": "traefik",
            "containers": [container],
            "securityContext": {"runAsUser": 65532},
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "program", "hostPath": {"path": str(program.parent), "type": "Directory"}}],
        },
    }


def _meta(name: str) -> Object:
    return {"name": name, "namespace": NAMESPACE}
