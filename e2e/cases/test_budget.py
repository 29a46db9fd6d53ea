"""A privacy budget: what was answered is counted across pods and deletions, and at its end nobody is answered."""

import secrets

import httpx
import pytest

from e2e.cases.callers import token
from e2e.cases.case import Case
from e2e.cases.clients import HTTP
from e2e.cases.kube import wait
from e2e.cases.manifests import NAME
from e2e.cases.periods import lasting

pytestmark = pytest.mark.core
ROWS = 3


def ask(case: Case, bearer: str, rows: int = 1) -> httpx.Response:
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": [0.5] * 4 * rows}
    url = f"http://{case.service_address()}:{HTTP}/v2/models/{NAME}/infer"
    headers = {"authorization": f"Bearer {bearer}"}
    return httpx.post(url, json={"inputs": [tensor]}, headers=headers, timeout=30, trust_env=False)


def test_at_the_end_of_the_budget_nobody_is_answered_and_neither_pods_nor_policies_that_are_made_anew_help(
    case: Case,
) -> None:
    key = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "epsilon"}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    promise = {
        "name": "y",
        "mechanism": "Laplace",
        "lower": "0",
        "upper": "2",
        "epsilon": "1",
        "budget": {"epsilon": str(ROWS), "period": lasting(), "scope": "All"},
    }
    policy = {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "PrivacyPolicy",
        "metadata": {"name": "counted"},
        "spec": {"output": {"differentialPrivacy": promise}},
    }
    case.apply(key | {"stringData": {"key": secrets.token_hex(32)}}, account, policy)
    reader = {"kind": "ServiceAccount", "name": "reader", "namespace": case.namespace}
    security = {"authentication": {"mode": "TokenReview", "allowedSubjects": [reader]}}
    case.serve(security=security, privacy={"policyRef": {"name": "counted"}})
    bearer = token(case.kube, case.namespace, "reader")

    answered = ask(case, bearer, ROWS)
    assert answered.status_code == 200, answered.text
    values = answered.json()["outputs"][0]["data"]
    assert len(values) == 4 * ROWS
    assert all(0 <= value <= 2 for value in values)
    assert set(values) != {1.5}, "the model says 1.5 each time, and noise was added"

    refused = ask(case, bearer)
    assert (refused.status_code, "epsilon-spent" in refused.text) == (403, True), refused.text
    assert int(refused.headers["retry-after"]) > 0

    case.replace_pod()
    refused_again(case, bearer)

    case.kube.delete("ModelDeployment", NAME, case.namespace)
    case.kube.delete("PrivacyPolicy", "counted", case.namespace)
    case.wait_pods(0)
    case.apply(policy)
    case.serve(security=security, privacy={"policyRef": {"name": "counted"}})
    refused_again(case, bearer)


def refused_again(case: Case, bearer: str) -> None:
    """A pod may not answer at once after the one before it died; what it must never do is answer."""
    codes = []

    def refused() -> bool:
        try:
            codes.append(ask(case, bearer).status_code)
        except httpx.HTTPError:
            return False
        return codes[-1] == 403

    wait("the budget is still spent", refused, within=30)
    assert 200 not in codes
