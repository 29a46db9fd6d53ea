"""The chart's ValidatingAdmissionPolicies in force on a real API server, people with rights to try them, and how to wait for them."""

import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.integration.apiserver import ApiServer
from tests.integration.rest import PLURALS, RBAC, Json, Refused, apply, request

MANIFESTS = Path(__file__).parents[2] / "helm" / "manifests" / "modelward.yaml"
PATIENCE = 60.0
"""Seconds for the API server to hear of a policy of its own."""
MERGE = {"Content-Type": "application/merge-patch+json"}
LAST_NAME = "written-last"
_HEAD: Json = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": LAST_NAME}}
_RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
LAST: tuple[Json, ...] = (
    {
        **_HEAD,
        "kind": "ValidatingAdmissionPolicy",
        "spec": {
            "matchConstraints": {"resourceRules": [{**_RULE, "resourceNames": [LAST_NAME]}]},
            "validations": [{"expression": "false", "message": LAST_NAME}],
        },
    },
    {
        **_HEAD,
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": LAST_NAME, "validationActions": ["Deny"]},
    },
)
"""A policy and its binding that refuse one ConfigMap and nothing else."""


def refusal(attempt: Callable[[], object]) -> str:
    """Return the API server's refusal, or an empty string."""
    try:
        attempt()
    except Refused as error:
        return str(error)
    return ""


def until_refused(attempt: Callable[[], object], words: str) -> str:
    """Try until the refusal says `words`; return it."""
    limit = time.monotonic() + PATIENCE
    while words not in (said := refusal(attempt)):
        assert time.monotonic() < limit, f"not refused with {words!r} but: {said!r}"
        time.sleep(0.1)
    return said


def guard(server: ApiServer) -> ApiServer:
    """Put the chart's admission policies in force, and its users' roles beside them."""
    for item in yaml.safe_load_all(MANIFESTS.read_text()):
        guards = item and item["kind"].startswith("ValidatingAdmissionPolicy")
        if guards or (item and item["kind"] == "ClusterRole" and item["metadata"]["name"] != "modelward-operator"):
            apply(server, item, dry_run=False)
    until_in_force(server)
    return server


def until_in_force(server: ApiServer) -> None:
    """Wait until every admission policy that was written is in force: one that is written last refuses.

    The API server hears of policies, and of bindings, in the order in which they were written, and takes all it has heard of at once.
    """
    for item in LAST:
        apply(server, item, dry_run=False)
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": LAST_NAME, "namespace": "default"}}
    until_refused(lambda: apply(server, probe), LAST_NAME)
    for item in LAST:
        request(server, "DELETE", f"/apis/{item['apiVersion']}/{PLURALS[item['kind']]}/{LAST_NAME}")


def allow(server: ApiServer, user: str, *rules: Json) -> Json:
    """Give a user rights in the whole cluster; return the headers with which an administrator acts as that user."""
    meta = {"name": f"test-{user}"}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": meta, "rules": list(rules)}
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": meta["name"]}
    subjects = [{"kind": "User", "name": user, "apiGroup": RBAC}]
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": meta,
        "roleRef": ref,
        "subjects": subjects,
    }
    apply(server, role, dry_run=False)
    apply(server, binding, dry_run=False)
    return {"Impersonate-User": user}
