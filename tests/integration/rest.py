"""A few plain requests to the API server, as an administrator or as somebody else: for tests of manifests, which need no client."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.integration.apiserver import TOKEN, ApiServer

PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "ModelDeployment": "modeldeployments",
    "ModelPolicy": "modelpolicies",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "PrivacyLedger": "privacyledgers",
    "PrivacyPolicy": "privacypolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
OF_THE_CLUSTER = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ModelPolicy",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
Json = dict[str, Any]
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Refused(Exception):
    """The API server's own words."""


def request(
    server: ApiServer, method: str, path: str, body: Json | None = None, *, headers: Mapping[str, str] = NO_HEADERS
) -> Json:
    """Send one request and return the object in the answer; raises Refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = urllib.request.Request(
        server.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(sent, timeout=20, context=context) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(json.loads(error.read())["message"]) from error


def apply(server: ApiServer, item: Json, *, namespace: str = "default", dry_run: bool = True) -> Json:
    """Server-side apply with strict fields, into `namespace` unless the object names its own; raises Refused."""
    kind, meta = item["kind"], item["metadata"]
    path = f"/apis/{item['apiVersion']}" if "/" in item["apiVersion"] else f"/api/{item['apiVersion']}"
    path += "" if kind in OF_THE_CLUSTER else f"/namespaces/{meta.get('namespace', namespace)}"
    query = {"fieldManager": "test", "fieldValidation": "Strict", "force": "true"}
    query |= {"dryRun": "All"} if dry_run else {}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    path += f"/{PLURALS[kind]}/{meta['name']}?{urllib.parse.urlencode(query)}"
    return request(server, "PATCH", path, item, headers=headers)
