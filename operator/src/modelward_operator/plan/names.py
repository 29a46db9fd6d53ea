"""Every name, label, annotation, port and path that the plan uses. Nothing is spelled twice.

Selectors use the two labels of `selector`, and no others, for ever: a selector is immutable.
"""

import hashlib
import json
from typing import Any, Final

from modelward_operator.api.modeldeployment import GROUP, KIND, VERSION
from modelward_operator.facts import Given, Json

FIELD_MANAGER: Final = "modelward"
HANDOVER_MANAGER: Final = "modelward-handover"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "modelward"
MODEL_LABEL: Final = f"{GROUP}/model"
TENANT_LABEL: Final = f"{GROUP}/tenant"
"""On a Namespace: the tenant that sealed models of it are bound to. The chart's admission policy lets only administrators set it."""
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"

APPLIED: Final = f"{GROUP}/applied"
"""On every child: hash of what was applied, so that a field which leaves the plan is seen to be gone."""
REVISION: Final = f"{GROUP}/revision"
"""On the pod template: hash of the template. Pods that carry the planned one are of the current revision."""
TEMPLATE_INPUTS: Final = f"{GROUP}/template-inputs"
"""On the Deployment: hash of the spec that made the template, so that an operator upgrade keeps the runtime image."""
HELD_REPLICAS: Final = f"{GROUP}/held-replicas"
"""On the Deployment: replicas to give back when a denial ends, where an external autoscaler owns the number."""
REPLICAS_OWNER: Final = f"{GROUP}/replicas-owner"
"""On the Deployment: `operator`, or `external` when spec.replicas is left to somebody else."""

OPENED: Final = f"{GROUP}/opened-addresses"
"""On the NetworkPolicy: the addresses of host names that were opened, so that a lookup that fails closes nothing."""
ISSUED: Final = f"{GROUP}/issued-secret"
"""On the record of a certificate: UID of the Secret that holds it. Absent: the pass that made the record broke off."""

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 8081
ADMIN_PORT: Final = 8082

CONTAINER: Final = "runtime"
BOOT_DIR: Final = "/etc/modelward/boot"
POLICY_DIR: Final = "/etc/modelward/policy"
CA_DIR: Final = "/etc/modelward/ca"
REGISTRY_DIR: Final = "/etc/modelward/registry"
KEK_DIR: Final = "/etc/modelward/kek"
TRUST_DIR: Final = "/etc/modelward/trust"
VAULT_CA_DIR: Final = "/etc/modelward/vault-ca"
TLS_DIR: Final = "/etc/modelward/tls"
JWKS_CA_DIR: Final = "/etc/modelward/jwks-ca"
API_DIR: Final = "/var/run/secrets/modelward/api"
API_SERVER: Final = "https://kubernetes.default.svc"
API_TOKEN_SECONDS: Final = 3607
"""Of the token for the API server; the kubelet renews it in time. As the kubelet's own default, which webhooks know."""
REVIEW_ROLE: Final = "modelward-runtime-access-review"
"""ClusterRole of the chart: whoever is bound to it in a namespace may ask there what others may do."""
PRIVACY_DIR: Final = "/etc/modelward/privacy"
AUDIT_KEY_DIR: Final = "/etc/modelward/audit"
AUDIT_HASH_DIR: Final = "/etc/modelward/audit-hash"
SINK_CA_DIRS: Final = {"audit": "/etc/modelward/audit-ca", "logging": "/etc/modelward/logging-ca"}
SINK_DIRS: Final = {"audit": "/var/log/modelward/audit", "logging": "/var/log/modelward/requests"}
"""Where a sink of type File writes, by the section of policy.json."""
VAULT_TOKEN_DIR: Final = "/var/run/secrets/modelward/vault"  # noqa: S105  a folder, not a secret
VAULT_TOKEN_SECONDS: Final = 600
"""The shortest life that the API server gives a token; the kubelet renews it in time."""
EPSILON_DIR: Final = "/etc/modelward/epsilon"
MODEL_DIR: Final = "/mnt/model"
CACHE_DIR: Final = "/var/lib/modelward"
SHARED_CACHE_DIR: Final = "/var/cache/modelward"
USER_ID: Final = 65532

DRAIN_SECONDS: Final = 5
REQUEST_TIMEOUT_SECONDS: Final = 30
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
MAX_QUEUE: Final = 1024

CHILD_KINDS: Final = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "NetworkPolicy",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
)
"""Kinds that the plan may hold; RBAC, watches and pruning follow this list."""


def tenant(given: Given) -> str:
    """Return the tenant that the namespace belongs to: the cluster's word, never the model's."""
    return given.around.labels.get(TENANT_LABEL) or given.key.namespace


def policy_config_name(name: str) -> str:
    """Return the name of the live policy ConfigMap."""
    return f"{name}-policy"


def predict_role_name(name: str) -> str:
    """Return the name of the Role, and of its RoleBinding, that lets `allowedSubjects` call the model."""
    return f"{name}-predict"


def review_binding_name(name: str) -> str:
    """Return the name of the RoleBinding that lets the pods ask who may call."""
    return f"{name}-access-review"


def tls_name(name: str) -> str:
    """Return the name of the Secret with the managed certificate, and of the ConfigMap with the CA that clients trust."""
    return f"{name}-tls"


def spend_role_name(name: str) -> str:
    """Return the name of the Role, and of its RoleBinding, that lets the pods spend from their policy's privacy budget."""
    return f"{name}-spend"


def boot_config_name(name: str, content_hash: str) -> str:
    """Return the name of the immutable boot ConfigMap of that content."""
    return f"{name}-boot-{content_hash[:10]}"


def fingerprint(value: object) -> str:
    """Return the SHA-256 of `value`'s canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def selector(name: str) -> dict[str, str]:
    """Return the two labels that select the pods of a model."""
    return {MANAGED_BY: MANAGER, MODEL_LABEL: name}


def child(given: Given, api_version: str, kind: str, name: str, **body: object) -> dict[str, Any]:
    """Return a child object with its name, labels and controller reference, and `body` for the rest."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": given.key.namespace,
            "labels": {**selector(given.key.name), "app.kubernetes.io/name": given.key.name},
            "ownerReferences": [owner_reference(given)],
        },
        **body,
    }


def owner_reference(given: Given) -> Json:
    """Return the controller reference to the ModelDeployment; garbage collection needs nothing else."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": given.key.name,
        "uid": given.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
