"""A few plain requests to the API server, as an administrator or as somebody else: for tests of manifests, which need no client."""

import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tests.integration.apiserver import TOKEN, ApiServer

PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "CostBudget": "costbudgets",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Deployment": "deployments",
    "EndpointSlice": "endpointslices",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "ModelDeployment": "modeldeployments",
    "ModelPolicy": "modelpolicies",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "PriceBook": "pricebooks",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "PrivacyLedger": "privacyledgers",
    "PrivacyPolicy": "privacypolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PrometheusRule": "prometheusrules",
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
    "PriceBook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
Json = dict[str, Any]
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
RBAC = "rbac.authorization.k8s.io"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
PATIENCE = 60.0
"""Seconds for the API server to hear of a right that it has stored itself."""


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
    """Server-side apply with strict fields, into `namespace` unless the object names its own; raises Refused.

    Who is bound to a role has its rights when this returns: RBAC is read from watches, so that for a moment nobody would have them.
    """
    kind, meta = item["kind"], item["metadata"]
    path = f"/apis/{item['apiVersion']}" if "/" in item["apiVersion"] else f"/api/{item['apiVersion']}"
    path += "" if kind in OF_THE_CLUSTER else f"/namespaces/{meta.get('namespace', namespace)}"
    query = {"fieldManager": "test", "fieldValidation": "Strict", "force": "true"}
    query |= {"dryRun": "All"} if dry_run else {}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    path += f"/{PLURALS[kind]}/{meta['name']}?{urllib.parse.urlencode(query)}"
    made = request(server, "PATCH", path, item, headers=headers)
    if kind.endswith("RoleBinding") and not dry_run:
        _until_known(server, made)
    return made


def _until_known(server: ApiServer, binding: Json) -> None:
    """Wait until RBAC knows the binding and its role: until its first subject may do what each of the role's rules says last."""
    role, namespace = binding["roleRef"], binding["metadata"].get("namespace", "")
    path = f"/namespaces/{namespace}" if role["kind"] == "Role" else ""
    try:
        found = request(server, "GET", f"/apis/{RBAC}/v1{path}/{PLURALS[role['kind']]}/{role['name']}")
    except Refused:
        return  # a binding may come before its role, and gives nobody anything until then
    who, limit = _subject(binding["subjects"][0]), time.monotonic() + PATIENCE
    for asked in (what for rule in found.get("rules") or () for what in _asked(rule, namespace)):
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {**who, **asked}}
        while not request(server, "POST", REVIEWS, review)["status"]["allowed"]:
            assert time.monotonic() < limit, f"{who} may not {asked}"
            time.sleep(0.02)


def _subject(subject: Json) -> Json:
    if subject["kind"] == "Group":
        return {"user": "anybody", "groups": [subject["name"]]}
    prefix = f"system:serviceaccount:{subject['namespace']}:" if subject["kind"] == "ServiceAccount" else ""
    return {"user": prefix + subject["name"]}


def _asked(rule: Json, namespace: str) -> Iterator[Json]:
    """What the rule's last words permit, as a review asks for it."""
    if urls := rule.get("nonResourceURLs"):
        if not namespace:  # a RoleBinding gives nobody a path
            yield {"nonResourceAttributes": {"path": urls[-1], "verb": rule["verbs"][-1]}}
        return
    resource, _, subresource = rule["resources"][-1].partition("/")
    what = {"group": rule["apiGroups"][-1], "resource": resource, "subresource": subresource}
    name = (rule.get("resourceNames") or [""])[-1]
    yield {"resourceAttributes": {**what, "verb": rule["verbs"][-1], "namespace": namespace, "name": name}}
