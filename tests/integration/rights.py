"""The operator's own rights on a test's API server: the chart's RBAC."""

from pathlib import Path

import yaml

from tests.integration.apiserver import ApiServer
from tests.integration.rest import apply
from tests.integration.rig import INSTALLATION

MANIFESTS = Path(__file__).parents[2] / "helm" / "manifests" / "modelward.yaml"
RBAC = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def grant_chart(server: ApiServer) -> ApiServer:
    """Give the operator's ServiceAccount what the chart gives it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": INSTALLATION.namespace}}
    apply(server, body, dry_run=False)
    for item in yaml.safe_load_all(MANIFESTS.read_text()):
        if item and item["kind"] in RBAC:
            apply(server, item, dry_run=False)
    return server
