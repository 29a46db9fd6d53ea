"""Rights that the operator works with, for `doctor` to ask about. tests/unit/test_chart_rbac.py holds them to the chart's rules.

Of each resource the verbs without which models stand still. Which Secrets, Roles or ledgers are meant, the chart's comments say.
"""

from typing import Final

_READ: Final = ("get", "list", "watch")
_WRITE: Final = (*_READ, "create", "patch", "delete")

Needs = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Group, resource (with its subresource) and verbs."""

NAMESPACED: Final[Needs] = (
    ("modelward.dev", "modeldeployments", (*_READ, "record")),
    ("modelward.dev", "privacypolicies", _READ),
    ("modelward.dev", "costbudgets", _READ),
    ("modelward.dev", "modeldeployments/status", ("patch",)),
    ("modelward.dev", "costbudgets/status", ("patch",)),
    ("modelward.dev", "modeldeployments/finalizers", ("update",)),
    ("modelward.dev", "modeldeployments/predict", ("create",)),
    ("modelward.dev", "privacyledgers", ("create", "get", "spend")),
    ("modelward.dev", "privacyledgers/status", ("update",)),
    ("", "configmaps", _WRITE),
    ("", "serviceaccounts", _WRITE),
    ("", "services", _WRITE),
    ("", "secrets", ("create",)),
    ("", "pods", _READ),
    ("", "events", ("list", "create")),
    ("apps", "deployments", _WRITE),
    ("apps", "replicasets", _READ),
    ("apps", "controllerrevisions", ("get", "list", "create", "patch", "delete")),
    ("networking.k8s.io", "networkpolicies", _WRITE),
    ("discovery.k8s.io", "endpointslices", _WRITE),
    ("policy", "poddisruptionbudgets", _WRITE),
    ("autoscaling", "horizontalpodautoscalers", _WRITE),
    ("keda.sh", "scaledobjects", _WRITE),
    ("networking.k8s.io", "ingresses", _WRITE),
    ("gateway.networking.k8s.io", "httproutes", _WRITE),
    ("gateway.networking.k8s.io", "grpcroutes", _WRITE),
    ("gateway.networking.k8s.io", "backendtlspolicies", _WRITE),
    ("gateway.networking.k8s.io", "gateways", _READ),
    ("rbac.authorization.k8s.io", "roles", _WRITE),
    ("rbac.authorization.k8s.io", "rolebindings", _WRITE),
)
"""In each namespace that it serves."""

CLUSTERWIDE: Final[Needs] = (
    ("modelward.dev", "modelpolicies", _READ),
    ("modelward.dev", "pricebooks", _READ),
    ("modelward.dev", "costledgers", ("list", "create", "update", "delete", "record")),
    ("", "nodes", _READ),
    ("", "namespaces", _READ),
)
"""Besides, where it serves every namespace."""
