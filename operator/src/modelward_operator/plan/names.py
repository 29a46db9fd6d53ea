"""Every name, label, annotation, port and path that the plan uses. Nothing is spelled twice.

Selectors use the two labels of `selector`, and no others, for ever: a selector is immutable.
"""

import hashlib
import json
import re
from typing import Any, Final

import msgspec

from modelward_operator.api.modeldeployment import GROUP, KIND, VERSION
from modelward_operator.facts import Given, Json

FIELD_MANAGER: Final = "modelward"
HANDOVER_MANAGER: Final = "modelward-handover"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "modelward"
APP_NAME: Final = "app.kubernetes.io/name"
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
IDENTITY: Final = f"{GROUP}/identity"
"""On the pod template: hash of the labels and annotations of the ServiceAccount, where the spec gives it any; some clouds read them only
when a pod is made."""
UPGRADED_FROM: Final = f"{GROUP}/upgraded-from"
"""On the Deployment: the serving image that an upgrade of the operator replaced, until the spec changes."""
HELD_REPLICAS: Final = f"{GROUP}/held-replicas"
"""On the Deployment: replicas to give back when a denial ends, where an external autoscaler owns the number."""
REPLICAS_OWNER: Final = f"{GROUP}/replicas-owner"
"""On the Deployment: `operator`, or `external` when spec.replicas is left to somebody else."""

CHANGE_CAUSE: Final = "kubernetes.io/change-cause"
"""Kubernetes' own, on a ModelDeployment: why it was changed, copied to the revision that comes of it."""

PAUSED_REPLICAS: Final = "autoscaling.keda.sh/paused-replicas"
"""KEDA's own, on the ScaledObject: it sets this number once and then leaves the Deployment alone, until the annotation goes."""

FORCE_ACTIVATION: Final = "autoscaling.keda.sh/force-activation"
"""KEDA's own, on the ScaledObject: as if a trigger were active."""

OPENED: Final = f"{GROUP}/opened-addresses"
"""On the NetworkPolicy: the addresses of host names that were opened, so that a lookup that fails closes nothing."""
ISSUED: Final = f"{GROUP}/issued-secret"
"""On the record of a certificate: UID of the Secret that holds it. Absent: the pass that made the record broke off."""

ACTIVATOR: Final = "modelward-activator"
"""The activator's Deployment, its ServiceAccount, and what the names of its routes and NetworkPolicies begin with."""
ACTIVATOR_PODS: Final = {"app.kubernetes.io/name": ACTIVATOR}
"""Selects its pods, in the operator's namespace."""
ACTIVATOR_PART: Final = f"{GROUP}/activator"
"""On what the operator writes for the activator: `routes` or `callers`."""
ACTIVATOR_PORTS: Final = f"{GROUP}/activator-ports"
"""On the activator's EndpointSlice of a model: the ports that are this model's, HTTP and gRPC, for as long as it has the slice."""
JOINED: Final = f"{GROUP}/activator-joined"
"""On the same slice: since when the activator's pods in it have been in the Service."""
SERVICE_NAME: Final = "kubernetes.io/service-name"
SLICE_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 8081
ADMIN_PORT: Final = 8082

CONTAINER: Final = "runtime"
BOOT_DIR: Final = "/etc/modelward/boot"
POLICY_DIR: Final = "/etc/modelward/policy"
CA_DIR: Final = "/etc/modelward/ca"
REGISTRY_DIR: Final = "/etc/modelward/registry"
SOURCE_DIR: Final = "/etc/modelward/source"
"""Who we are to a web server or to Google Cloud Storage."""
KEK_DIR: Final = "/etc/modelward/kek"
TRUST_DIR: Final = "/etc/modelward/trust"
VAULT_CA_DIR: Final = "/etc/modelward/vault-ca"
TLS_DIR: Final = "/etc/modelward/tls"
JWKS_CA_DIR: Final = "/etc/modelward/jwks-ca"
API_DIR: Final = "/var/run/secrets/modelward/api"
EKS_POD_IDENTITY: Final = "http://169.254.170.23"
"""The agent on the node that gives a pod the credentials of its ServiceAccount, and no other's."""
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

MAX_QUEUE: Final = 1024

CHILD_KINDS: Final = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "NetworkPolicy",
    "Service",
    "EndpointSlice",
    "PodDisruptionBudget",
    "Deployment",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "BackendTLSPolicy",
    "HTTPRoute",
    "GRPCRoute",
    "Ingress",
)
"""Kinds that the plan may hold; RBAC, watches and pruning follow this list."""


_HASHED: Final = re.compile(r"-(boot|tls)-[0-9a-f]{10}", re.ASCII)


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


def activator_slice_name(name: str) -> str:
    """Return the name of the EndpointSlice that puts the activator's pods into the Service."""
    return f"{name}-activator"


def spend_role_name(name: str) -> str:
    """Return the name of the Role, and of its RoleBinding, that lets the pods spend from their policy's privacy budget."""
    return f"{name}-spend"


def boot_config_name(name: str, content_hash: str) -> str:
    """Return the name of the immutable boot ConfigMap of that content."""
    return f"{name}-boot-{content_hash[:10]}"


def revision_name(name: str, number: int) -> str:
    """Return the name of the ControllerRevision of that number."""
    return f"{name}-rev-{number}"


def may_be_child(kind: str, name: str, model: str) -> bool:
    """True for a name that the plan may give a child of that kind. What only has our labels, a copy for one, has another."""
    named = {
        "Role": {predict_role_name(model), spend_role_name(model)},
        "RoleBinding": {predict_role_name(model), spend_role_name(model), review_binding_name(model)},
        "ConfigMap": {policy_config_name(model), tls_name(model)},
        "EndpointSlice": {activator_slice_name(model)},
    }
    if kind == "ConfigMap" and _HASHED.fullmatch(name.removeprefix(model)):
        return name.startswith(model)
    return kind in CHILD_KINDS and name in named.get(kind, {model})


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_encode: Final = msgspec.json.Encoder(order="sorted").encode


def fingerprint(value: object) -> str:
    """Return the SHA-256 of `value`'s canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def fingerprint_of_object(value: object) -> str:
    """Return what `fingerprint` returns, of (a part of) a Kubernetes object: sooner, since all numbers in those are whole.

    How a fraction is written is where the two encoders differ.
    """
    return hashlib.sha256(_encode(value)).hexdigest()


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text."""
    return _CANONICAL.encode(value)


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
            "labels": {**selector(given.key.name), APP_NAME: given.key.name},
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
