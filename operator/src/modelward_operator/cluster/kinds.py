"""Where each kind lives in the API: the one table of groups, versions and plurals.

The RBAC test compares the chart's ClusterRole with it. Called by client.py, store.py, watch.py. No I/O.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind's address in the API."""

    kind: str
    group: str
    version: str
    plural: str
    page: int = 100
    """Objects of a listing that are asked for at once: parsed, they take twenty times what is kept of them, and what users write may be a
    megabyte each."""
    is_optional: bool = False
    """True for a kind of others, whose CustomResourceDefinition may be absent, come and go."""

    @property
    def api_version(self) -> str:
        """The apiVersion that objects of this kind carry."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection, an object or a subresource; no name leads out of its place."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        parts += ["namespaces", _segment(namespace)] if namespace else []
        parts += [self.plural, *map(_segment, filter(None, (name, subresource)))]
        return "/".join(parts)


def _segment(name: str) -> str:
    """Return a name as one part of a path. Of `.` and `..`, which no object is called, one that no object is called either."""
    return quote(quote(name, safe="").replace(".", "%2E") if name in {".", ".."} else name, safe="")


MODEL: Final = Resource("ModelDeployment", "modelward.dev", "v1alpha1", "modeldeployments")
POLICY: Final = Resource("ModelPolicy", "modelward.dev", "v1alpha1", "modelpolicies")
PRIVACY: Final = Resource("PrivacyPolicy", "modelward.dev", "v1alpha1", "privacypolicies")
BUDGET: Final = Resource("CostBudget", "modelward.dev", "v1alpha1", "costbudgets")
PRICES: Final = Resource("PriceBook", "modelward.dev", "v1alpha1", "pricebooks")
NODE: Final = Resource("Node", "", "v1", "nodes")
"""Of which the labels and what it has for pods are kept: what it costs."""
NAMESPACE: Final = Resource("Namespace", "", "v1", "namespaces")
POD: Final = Resource("Pod", "", "v1", "pods")
REPLICA_SET: Final = Resource("ReplicaSet", "apps", "v1", "replicasets")
DEPLOYMENT: Final = Resource("Deployment", "apps", "v1", "deployments")
REVISION: Final = Resource("ControllerRevision", "apps", "v1", "controllerrevisions", page=25)
"""An entry of a model's history: made once, says the same for ever. Owned, and not watched: the status says which there are."""
EVENT: Final = Resource("Event", "", "v1", "events")
CONFIG_MAP: Final = Resource("ConfigMap", "", "v1", "configmaps", page=25)
"""Also what a trusted signer's public key is read from."""
SECRET: Final = Resource("Secret", "", "v1", "secrets")
"""Made for managed certificates, and never read; but for the CA's own, in the operator's namespace."""
SERVICE: Final = Resource("Service", "", "v1", "services")
ENDPOINT_SLICE: Final = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
NETWORK_POLICY: Final = Resource("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
LEASE: Final = Resource("Lease", "coordination.k8s.io", "v1", "leases")

HPA: Final = Resource("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers")
SCALED_OBJECT: Final = Resource("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects", is_optional=True)
"""KEDA's."""

GATEWAY_API: Final = "gateway.networking.k8s.io"
GATEWAY: Final = Resource("Gateway", GATEWAY_API, "v1", "gateways", is_optional=True)
"""Of others, to which routes attach: its listeners are read, never written."""
EXPOSING: Final = (
    Resource("BackendTLSPolicy", GATEWAY_API, "v1", "backendtlspolicies", is_optional=True),
    Resource("HTTPRoute", GATEWAY_API, "v1", "httproutes", is_optional=True),
    Resource("GRPCRoute", GATEWAY_API, "v1", "grpcroutes", is_optional=True),
    Resource("Ingress", "networking.k8s.io", "v1", "ingresses"),
)
"""How clients outside come to a model."""

CHILDREN: Final = (
    Resource("ServiceAccount", "", "v1", "serviceaccounts"),
    Resource("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    Resource("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
    CONFIG_MAP,
    NETWORK_POLICY,
    SERVICE,
    ENDPOINT_SLICE,
    Resource("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
    DEPLOYMENT,
    HPA,
    SCALED_OBJECT,
    *EXPOSING,
)
"""What the operator writes for a model, and watches to repair."""

OBSERVED: Final = (REPLICA_SET, POD)
"""What the children's controllers make, watched to tell the status."""

SURROUNDINGS: Final = (NAMESPACE, POLICY, NODE, PRICES)
"""What lies around a model and bears on it. Of the cluster, so watched only where the operator serves every namespace."""

LEDGER: Final = Resource("PrivacyLedger", "modelward.dev", "v1alpha1", "privacyledgers")
"""What was spent of a privacy budget: made once, and then the pods' to write. Neither watched nor owned."""

COSTS: Final = Resource("CostLedger", "modelward.dev", "v1alpha1", "costledgers", page=4)
"""What models have cost: read once, and then the leader's to write. Neither watched nor owned."""

NAMED: Final = (PRIVACY, BUDGET)
"""What users write for models of the same namespace, named by them (a PrivacyPolicy) or selecting them (a CostBudget): watched wherever the
operator serves."""

BY_KIND: Final = {
    r.kind: r
    for r in (MODEL, *CHILDREN, *OBSERVED, *SURROUNDINGS, *NAMED, GATEWAY, LEDGER, COSTS, REVISION, EVENT, LEASE)
}
