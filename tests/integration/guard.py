"""The chart's ValidatingAdmissionPolicies in force on a real API server, people with rights to try them, and how to wait for them."""

import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.integration.apiserver import ApiServer
from tests.integration.rest import Json, Refused, apply

MANIFESTS = Path(__file__).parents[2] / "helm" / "manifests" / "modelward.yaml"
PATIENCE = 20.0
"""Seconds for the API server to hear of a policy of its own."""
RBAC = "rbac.authorization.k8s.io"
MERGE = {"Content-Type": "application/merge-patch+json"}


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
    return server


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
