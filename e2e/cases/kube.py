"""The cluster as the cases see it: kubectl for what a user types, plain HTTP for what is polled.

`kubectl proxy` carries the polls, so that every kubeconfig works and a wait costs the machine next to nothing. Used by
`case.py`; it knows nothing about ModelWard.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

Object = dict[str, Any]
T = TypeVar("T")
_PATHS = {
    "ModelDeployment": "apis/modelward.dev/v1alpha1/{}modeldeployments",
    "CostBudget": "apis/modelward.dev/v1alpha1/{}costbudgets",
    "CostLedger": "apis/modelward.dev/v1alpha1/{}costledgers",
    "ModelPolicy": "apis/modelward.dev/v1alpha1/{}modelpolicies",
    "PriceBook": "apis/modelward.dev/v1alpha1/{}pricebooks",
    "PrivacyPolicy": "apis/modelward.dev/v1alpha1/{}privacypolicies",
    "Deployment": "apis/apps/v1/{}deployments",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/{}horizontalpodautoscalers",
    "ScaledObject": "apis/keda.sh/v1alpha1/{}scaledobjects",
    "GitRepository": "apis/source.toolkit.fluxcd.io/v1/{}gitrepositories",
    "Kustomization": "apis/kustomize.toolkit.fluxcd.io/v1/{}kustomizations",
    "NetworkPolicy": "apis/networking.k8s.io/v1/{}networkpolicies",
    "PodDisruptionBudget": "apis/policy/v1/{}poddisruptionbudgets",
    "EndpointSlice": "apis/discovery.k8s.io/v1/{}endpointslices",
    "ConfigMap": "api/v1/{}configmaps",
    "Event": "api/v1/{}events",
    "Namespace": "api/v1/{}namespaces",
    "Node": "api/v1/{}nodes",
    "PersistentVolume": "api/v1/{}persistentvolumes",
    "Pod": "api/v1/{}pods",
    "Secret": "api/v1/{}secrets",
    "Service": "api/v1/{}services",
    "ServiceAccount": "api/v1/{}serviceaccounts",
}


class Refused(AssertionError):
    """kubectl ended with an error; its text is the message."""


class Kube:
    """One cluster, reached through an open `kubectl proxy`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def kubectl(self, *arguments: str, given: str | None = None, within: float = 60) -> str:
        """Run kubectl as a user would; return its output."""
        done = subprocess.run(
            ["kubectl", *arguments], input=given, capture_output=True, text=True, timeout=within, check=False
        )
        if done.returncode:
            raise Refused(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *manifests: Object) -> None:
        """`kubectl apply -f -`, one call for all."""
        self.kubectl("apply", "-f", "-", given="\n---\n".join(json.dumps(manifest) for manifest in manifests))

    def find(self, kind: str, name: str, namespace: str = "") -> Object:
        """Return the live object, or an empty one."""
        return self._get(f"{_path(kind, namespace)}/{name}") or {}

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Return the live objects that the label selector selects."""
        items: list[Object] = self._get(_path(kind, namespace), {"labelSelector": selector}).get("items", [])
        return items

    def patch(self, kind: str, name: str, change: Object, namespace: str = "", subresource: str = "") -> None:
        """JSON merge patch."""
        path = f"{_path(kind, namespace)}/{name}" + (f"/{subresource}" if subresource else "")
        headers = {"Content-Type": "application/merge-patch+json"}
        self._http.patch(path, content=json.dumps(change), headers=headers).raise_for_status()

    def delete(self, kind: str, name: str, namespace: str = "", grace: int | None = None) -> None:
        """Ask for deletion in the background and return at once; an absent object is fine."""
        options = {"propagationPolicy": "Background"} | ({} if grace is None else {"gracePeriodSeconds": grace})
        answer = self._http.request("DELETE", f"{_path(kind, namespace)}/{name}", json=options)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def logs(self, pod: str, namespace: str, container: str = "", lines: int = 200, previous: bool = False) -> str:
        """Return the last lines of a container's log, or why there are none."""
        query = {"tailLines": str(lines), "container": container, "previous": str(previous).lower()}
        answer = self._http.get(
            f"{_path('Pod', namespace)}/{pod}/log", params={key: value for key, value in query.items() if value}
        )
        return answer.text

    def _get(self, path: str, query: dict[str, str] | None = None) -> Object:
        answer = self._http.get(path, params={key: value for key, value in (query or {}).items() if value})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        answer.raise_for_status()
        found: Object = answer.json()
        return found


def _path(kind: str, namespace: str) -> str:
    return "/" + _PATHS[kind].format(f"namespaces/{namespace}/" if namespace else "")


@contextmanager
def connect() -> Iterator[Kube]:
    """Keep a `kubectl proxy` on a free port of the loopback for as long as the tests run."""
    with subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            address = proxy.stdout.readline().strip().rpartition(" ")[2]
            assert address, "kubectl proxy did not start; is KUBECONFIG right?"
            with httpx.Client(base_url=f"http://{address}", timeout=20, trust_env=False) as http:
                yield Kube(http)
        finally:
            proxy.terminate()


def wait(what: str, probe: Callable[[], T | None], *, within: float, last: Callable[[], str] = str) -> T:
    """Poll until `probe` gives something true; else fail with what was awaited and what `last` saw.

    An API server that does not answer for a moment, or refuses what it may take later, is no answer yet.
    """
    begun = time.monotonic()
    while True:
        try:
            found = probe()
        except (httpx.HTTPError, Refused) as error:
            print(f"{what}: {error}")
            found = None
        if found:
            print(f"{time.monotonic() - begun:5.1f} s: {what}")
            return found
        if time.monotonic() > begun + within:
            raise AssertionError(f"not within {within:g} s: {what}. Last seen: {last() or 'nothing'}")
        time.sleep(0.1)
