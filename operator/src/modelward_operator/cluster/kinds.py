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
    page: int = 500
    """Objects of a listing that are asked for at once: what users write may be a megabyte each."""

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
NAMESPACE: Final = Resource("Namespace", "", "v1", "namespaces")
POD: Final = Resource("Pod", "", "v1", "pods")
REPLICA_SET: Final = Resource("ReplicaSet", "apps", "v1", "replicasets")
DEPLOYMENT: Final = Resource("Deployment", "apps", "v1", "deployments")
EVENT: Final = Resource("Event", "", "v1", "events")
CONFIG_MAP: Final = Resource("ConfigMap", "", "v1", "configmaps", page=25)
"""Also what a trusted signer's public key is read from."""
SECRET: Final = Resource("Secret", "", "v1", "secrets")
"""Made for managed certificates, and never read; but for the CA's own, in the operator's namespace."""
SERVICE: Final = Resource("Service", "", "v1", "services")
ENDPOINT_SLICE: Final = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
LEASE: Final = Resource("Lease", "coordination.k8s.io", "v1", "leases")

CHILDREN: Final = (
    Resource("ServiceAccount", "", "v1", "serviceaccounts"),
    Resource("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    Resource("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
    CONFIG_MAP,
    Resource("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    SERVICE,
    Resource("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
    DEPLOYMENT,
)
"""What the operator writes for a model, and watches to repair."""

OBSERVED: Final = (REPLICA_SET, POD)
"""What the children's controllers make, watched to tell the status."""

SURROUNDINGS: Final = (NAMESPACE, POLICY)
"""What lies around a model and bears on it. Of the cluster, so watched only where the operator serves every namespace."""

LEDGER: Final = Resource("PrivacyLedger", "modelward.dev", "v1alpha1", "privacyledgers")
"""What was spent of a privacy budget: made once, and then the pods' to write. Neither watched nor owned."""

NAMED: Final = (PRIVACY,)
"""What users write and models of the same namespace name: watched wherever the operator serves."""

BY_KIND: Final = {r.kind: r for r in (MODEL, *CHILDREN, *OBSERVED, *SURROUNDINGS, *NAMED, LEDGER, EVENT, LEASE)}
