"""No pods while nobody calls: the next request is held, starts a pod and is answered by it, and is guarded as if a pod had it."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.cases.callers import over_grpc, over_rest, token
from e2e.cases.case import OPERATOR, OPERATOR_NAMESPACE, PATIENCE, Case, pod_ready
from e2e.cases.clients import GRPC, HTTP
from e2e.cases.conftest import open_case
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.load import TritonLoad
from e2e.cases.manifests import NAME
from e2e.cases.place import Store
from e2e.cases.test_access import account, grant
from e2e.cases.test_tls import bundle

ACTIVATOR = "modelward-activator"
IDLE = "import time; time.sleep(3600)"
SOON: Object = {"minReplicas": 0, "maxReplicas": 2, "idleSeconds": 2, "scaleDownSeconds": 1}
LEAST = "0.001"
"""As small a targetConcurrency as there is: how much of a replica a few callers take, the machine says, but it is more than this."""
NOWHERE = {"nodeSelector": {"modelward.test/there-is": "none"}}
"""Pods that wait for a node hold their callers for as long as a case likes."""
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}


def replicas(case: Case) -> int:
    return int(case.kube.find("Deployment", NAME, case.namespace)["spec"]["replicas"])


def go_to_zero(case: Case, **spec: Any) -> None:
    """Serve a model that may be at zero, and wait until it is."""
    case.serve(scaling=SOON, **spec)
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero")
    case.wait_pods(0)


def activators(case: Case) -> list[Object]:
    found = case.kube.list("Pod", OPERATOR_NAMESPACE, f"app.kubernetes.io/name={ACTIVATOR}")
    return [pod for pod in found if pod_ready(pod)]


def takes(case: Case) -> list[str]:
    """The addresses of the activator that are behind the Service."""
    found = case.kube.find("EndpointSlice", f"{NAME}-activator", case.namespace)
    return sorted(one for endpoint in found.get("endpoints") or () for one in endpoint["addresses"])


@pytest.mark.core
def test_load_comes_and_goes_and_no_call_fails_on_the_way_to_zero_and_back(case: Case) -> None:
    case.serve(scaling={**SOON, "targetConcurrency": LEAST})
    address = case.service_address()
    with TritonLoad(address, NAME) as load:
        wait("replicas follow the load", lambda: replicas(case) == 2, within=PATIENCE, last=case.told)
        case.wait_condition(NAME, "Autoscaling", "True")
        wait("both pods serve", lambda: sum(map(pod_ready, case.pods())) == 2, within=PATIENCE)
    assert (set(load.answers), load.failures) == ({"http", "grpc"}, [])

    case.wait_condition(NAME, "Ready", "True", "ScaledToZero")
    case.wait_pods(0)
    wait("both pods of the activator take over", lambda: len(takes(case)) == 2, within=30)

    with TritonLoad(address, NAME) as load:
        wait("answers over both", lambda: min(load.answers["http"], load.answers["grpc"]) > 0, within=PATIENCE)
        case.wait_condition(NAME, "Ready", "True", "Serving")
        wait("the activator left", lambda: not takes(case), within=15)
        before = Counter(load.answers)
        wait("more answers", lambda: min((load.answers - before)[way] for way in ("http", "grpc")) > 20, within=30)
    assert load.failures == []


class Held:
    """Calls that wait, each on a connection and a thread of its own."""

    def __init__(self, host: str, count: int) -> None:
        self.answers: list[str] = []
        self._threads = [threading.Thread(target=self._call, args=(host,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _call(self, host: str) -> None:
        try:
            answer = httpx.post(f"http://{host}:{HTTP}/v2/models/{NAME}/infer", json=BODY, timeout=90, trust_env=False)
            retry = f" after {answer.headers['retry-after']}" if "retry-after" in answer.headers else ""
            self.answers.append(f"{answer.status_code}{retry}")
        except httpx.HTTPError as error:
            self.answers.append(type(error).__name__)

    def join(self) -> Counter[str]:
        for thread in self._threads:
            thread.join()
        return Counter(self.answers)


def test_an_activator_that_ends_loses_nothing_but_what_it_held_and_that_may_be_tried_again(case: Case) -> None:
    go_to_zero(case)
    case.change({"scheduling": NOWHERE})
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero")
    held = Held(case.service_address(), 12)
    wait("the model is woken", lambda: replicas(case) > 0, within=15)
    first, second = activators(case)
    assert not held.answers

    case.kube.delete("Pod", first["metadata"]["name"], OPERATOR_NAMESPACE)
    wait("it left the Service", lambda: first["status"]["podIP"] not in takes(case), within=15)
    wait("it let go of what it held", lambda: len(held.answers) > 0, within=30)
    late = Held(case.service_address(), 4)
    case.change({"scheduling": None})
    answers, after = held.join(), late.join()
    assert after == {"200": 4}
    assert answers.keys() == {"200", "503 after 1"}, answers
    assert 0 < answers["503 after 1"] < 12
    assert second["status"]["podIP"]


def test_a_request_that_comes_while_no_operator_leads_is_answered_once_one_does(case: Case) -> None:
    go_to_zero(case)
    behind = takes(case)
    for pod in case.kube.list("Pod", OPERATOR_NAMESPACE, f"app.kubernetes.io/name={OPERATOR}"):
        case.kube.delete("Pod", pod["metadata"]["name"], OPERATOR_NAMESPACE, grace=0)
    held = Held(case.service_address(), 6)
    wait("a new operator wakes the model", lambda: replicas(case) > 0, within=PATIENCE)
    assert held.join() == {"200": 6}
    assert set(behind) == {pod["status"]["podIP"] for pod in activators(case)}, "nobody left the Service meanwhile"


def test_what_must_not_serve_is_not_woken_and_says_why(case: Case) -> None:
    go_to_zero(case)
    case.change({"suspend": True})
    case.wait_condition(NAME, "Ready", "False", "Suspended")
    address = case.service_address()

    def refused() -> bool:
        answer = httpx.post(f"http://{address}:{HTTP}/v2/models/{NAME}/infer", json=BODY, timeout=30, trust_env=False)
        return answer.status_code == 503 and "Suspended" in answer.text and "suspend" in answer.text

    wait("the refusal says why", refused, within=10)
    assert over_grpc(address, "") == "UNAVAILABLE"
    time.sleep(3)
    assert (replicas(case), case.pods()) == (0, [])
    case.change({"suspend": False})
    wait("it serves again", lambda: over_rest(address, "") == "200", within=PATIENCE)


@pytest.fixture
def shop(kube: Kube, store: Store, prefix: str) -> Iterator[Case]:
    """Another namespace, which wants to call."""
    opened = open_case(kube, store, prefix, "another-namespace")
    yield opened
    kube.delete("Namespace", opened.namespace)


def test_at_zero_who_may_not_connect_to_the_model_does_not_reach_the_activator(case: Case, shop: Case) -> None:
    go_to_zero(case)
    address = case.service_address()
    neighbour, stranger = case.start_client("neighbour", IDLE), shop.start_client("stranger", IDLE)
    for port in (HTTP, GRPC):
        wait(f"the own namespace reaches {port}", partial(neighbour.connects, address, port), within=15)
        assert not stranger.connects(address, port)
    assert not neighbour.connects(activators(case)[0]["status"]["podIP"], 8082), "the admin port is the operator's"
    case.change({"security": {"networkPolicy": {"allowFrom": [{"namespace": shop.namespace}]}}})
    wait("the named namespace does", partial(stranger.connects, address, HTTP), within=15)
    case.change({"security": {"networkPolicy": None}})
    wait("the door is closed again", lambda: not stranger.connects(address, HTTP), within=15)
    assert case.pods() == [], "to connect wakes nobody"


def test_at_zero_a_stranger_wakes_nobody_and_a_caller_is_shown_a_certificate_that_counts(
    case: Case, tmp_path: Path
) -> None:
    case.apply(account("checkout"), *grant("checkout", NAME, "checkout", case.namespace))
    go_to_zero(case, security={"authentication": {"mode": "TokenReview"}, "tls": {"mode": "Managed"}})
    trust = tmp_path / "ca.crt"
    trust.write_text(bundle(case))
    call = partial(secured_call, case, trust)
    assert call("") == 401
    assert call("Bearer nonsense") == 401
    time.sleep(3)
    assert (replicas(case), case.pods()) == (0, [])
    assert call("Bearer " + token(case.kube, case.namespace, "checkout")) == 200
    case.wait_condition(NAME, "Ready", "True", "Serving")
    wait("the activator left", lambda: not takes(case), within=15)
    assert call("Bearer " + token(case.kube, case.namespace, "checkout")) == 200


def secured_call(case: Case, trust: Path, credential: str) -> int:
    """The status of an inference over TLS, under the Service's name."""
    host = f"{NAME}.{case.namespace}.svc"
    context = ssl.create_default_context(cafile=str(trust))
    with httpx.Client(verify=context, timeout=90, trust_env=False) as http:
        return http.post(
            f"https://{case.service_address()}:{HTTP}/v2/models/{NAME}/infer",
            json=BODY,
            headers={"host": host} | ({"authorization": credential} if credential else {}),
            extensions={"sni_hostname": host},
        ).status_code
