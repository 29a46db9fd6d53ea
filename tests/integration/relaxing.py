"""Namespaces in each of which one person holds the right to relax. Used by test_relax.py and test_budget_relax.py."""

from typing import Any

from tests.integration.apiserver import ApiServer
from tests.integration.guard import MERGE
from tests.integration.rest import RBAC, Json, apply, request

API = "/apis/modelward.dev/v1alpha1/namespaces"
WRITE = ["get", "list", "create", "update", "patch", "delete", "deletecollection"]
NAMESPACE_CONTROLLER = {"Impersonate-User": "system:serviceaccount:kube-system:namespace-controller"}
NOT_THERE = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
"""An owner that no longer is, or never was: what it owns, the garbage collector deletes."""
_PLURALS = {
    "CostBudget": "costbudgets",
    "ModelDeployment": "modeldeployments",
    "PrivacyPolicy": "privacypolicies",
}


class Place:
    """One namespace; `officer` is bound to the chart's `modelward-relax` in it, and nowhere else. Without one, nobody is."""

    def __init__(self, server: ApiServer, name: str, officer: Json | None = None) -> None:
        self.server, self.name = server, name
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        request(server, "POST", "/api/v1/namespaces", namespace)
        if officer:
            self._bind(officer["Impersonate-User"])

    def make(self, body: Json, who: Json | None = None) -> Json:
        """Create an object of ours."""
        return request(self.server, "POST", f"{API}/{self.name}/{_PLURALS[body['kind']]}", body, headers=who or {})

    def change(self, what: str, spec: Any, who: Json) -> Json:
        """Merge-patch a spec and change nothing."""
        return self.patch(what, {"spec": spec}, who, "?dryRun=All")

    def patch(self, what: str, body: Json, who: Json, query: str = "") -> Json:
        path = f"{API}/{self.name}/{what}{query}"
        return request(self.server, "PATCH", path, body, headers={**who, **MERGE})

    def delete(self, what: str, who: Json, query: str = "") -> Json:
        return request(self.server, "DELETE", f"{API}/{self.name}/{what}{query}", headers=who)

    def _bind(self, user: str) -> None:
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "officer"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "modelward-relax"},
            "subjects": [{"kind": "User", "name": user, "apiGroup": RBAC}],
        }
        apply(self.server, binding, namespace=self.name, dry_run=False)
