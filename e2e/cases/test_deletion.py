"""Deleting while the operator is down: owner references do the work, and no finalizer waits for anybody."""

from collections.abc import Iterator

import pytest

from e2e.cases.case import OPERATOR, OPERATOR_NAMESPACE, PATIENCE, Case
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import NAME

pytestmark = pytest.mark.core
CHILDREN = ("Deployment", "Service", "ServiceAccount", "NetworkPolicy", "ConfigMap", "Pod")


@pytest.fixture
def operator_replicas(kube: Kube) -> Iterator[int]:
    """How many operator pods there are, and will be again."""
    replicas = int(kube.find("Deployment", OPERATOR, OPERATOR_NAMESPACE)["spec"]["replicas"])
    yield replicas
    _scale_operator(kube, replicas)


def _scale_operator(kube: Kube, replicas: int) -> None:
    kube.patch("Deployment", OPERATOR, {"spec": {"replicas": replicas}}, OPERATOR_NAMESPACE)

    def settled() -> bool:
        status = kube.find("Deployment", OPERATOR, OPERATOR_NAMESPACE)["status"]
        pods = kube.list("Pod", OPERATOR_NAMESPACE, f"app.kubernetes.io/name={OPERATOR}")
        return bool(status.get("availableReplicas", 0) == replicas == len(pods))

    wait(f"{replicas} operator pods", settled, within=PATIENCE)


@pytest.mark.usefixtures("operator_replicas")
def test_models_and_namespaces_go_at_once_while_the_operator_is_down(case: Case, kube: Kube) -> None:
    case.serve()
    case.apply(case.model_service(name="second"))
    case.wait_ready("second")
    _scale_operator(kube, 0)

    case.kube.delete("ModelDeployment", NAME, case.namespace)
    wait("the ModelDeployment is gone", lambda: not case.model(), within=2)
    wait("its children are gone", lambda: not _left(case, NAME), within=PATIENCE, last=lambda: str(_left(case, NAME)))
    assert {kind for kind, _ in _left(case, "second")} == set(CHILDREN), "the other model's children stay"

    case.kube.delete("Namespace", case.namespace)
    # Kubernetes takes the pods first, and the rest only when it looks again after half of their grace period.
    wait("its pods are gone", lambda: not case.pods("second"), within=30)
    wait("the namespace is gone", lambda: not _namespace(case), within=60, last=lambda: str(_namespace(case)["status"]))


def _namespace(case: Case) -> Object:
    return case.kube.find("Namespace", case.namespace)


def _left(case: Case, model: str) -> list[tuple[str, str]]:
    selector = f"modelward.dev/model={model}"
    return [
        (kind, one["metadata"]["name"]) for kind in CHILDREN for one in case.kube.list(kind, case.namespace, selector)
    ]
