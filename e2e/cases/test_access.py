"""Who gets an answer: a table of callers over REST and gRPC, the network before the token, limits, and TLS."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from e2e.cases.callers import CODES, WAYS, claiming, over_rest, token, unsigned
from e2e.cases.case import Case, pod_ready
from e2e.cases.clients import HTTP
from e2e.cases.conftest import open_case
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.place import Store

pytestmark = pytest.mark.core
ADMIN = 8082
IDLE = "import time; time.sleep(3600)"
FORGETS = 45
"""Seconds: an answer of the API server is believed for a while, and what a test waits for is that it is forgotten."""
LIVE = 150
"""Seconds in which the kubelet brings a changed ConfigMap to a running pod: it looks about once a minute."""
CALL = """
import json, sys, urllib.error, urllib.request
body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}).encode()
request = urllib.request.Request(sys.argv[1], body, {"authorization": "Bearer " + sys.argv[2]})
try:
    print(urllib.request.urlopen(request, timeout=3).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
except OSError as failed:
    print(failed)
"""


@dataclass(frozen=True)
class Guarded:
    """A served model, an account that may call it, one of the same namespace that may not, and one from elsewhere."""

    case: Case
    elsewhere: Case

    @property
    def host(self) -> str:
        return self.case.service_address()

    def bearer(self, account: str, audience: str = "modelward.dev", *, elsewhere: bool = False) -> str:
        home = self.elsewhere if elsewhere else self.case
        return "Bearer " + token(self.case.kube, home.namespace, account, audience)


def account(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def grant(name: str, model: str, to: str, namespace: str) -> list[Object]:
    """What an administrator writes by hand: plain RBAC, nothing of ours."""
    rule = {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments/predict"], "verbs": ["create"]}
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name}}
    subject = {"kind": "ServiceAccount", "name": to, "namespace": namespace}
    return [
        role | {"rules": [rule | {"resourceNames": [model]}]},
        role
        | {"kind": "RoleBinding", "roleRef": {"apiGroup": group, "kind": "Role", "name": name}, "subjects": [subject]},
    ]


@pytest.fixture(scope="module")
def guarded(kube: Kube, store: Store, prefix: str) -> Iterator[Guarded]:
    """Served once: the callers only call."""
    case, elsewhere = (open_case(kube, store, prefix, name) for name in ("guarded", "elsewhere"))
    case.apply(*map(account, ("friend", "stranger", "gone")), *grant("by-hand", NAME, "by-hand", case.namespace))
    case.apply(account("by-hand"))
    elsewhere.apply(account("friend"))
    friend = {"kind": "ServiceAccount", "name": "friend", "namespace": case.namespace}
    gone = {"kind": "ServiceAccount", "name": "gone", "namespace": case.namespace}
    case.serve(security={"authentication": {"mode": "TokenReview", "allowedSubjects": [friend, gone]}})
    yield Guarded(case, elsewhere)
    for opened in (case, elsewhere):
        kube.delete("Namespace", opened.namespace)


CALLERS: dict[str, tuple[Callable[[Guarded], str], str]] = {
    "nobody": (lambda g: "", "unknown"),
    "one with another scheme": (lambda g: "Basic Zm9vOmJhcg==", "unknown"),
    "one with no token behind the scheme": (lambda g: "Bearer", "unknown"),
    "one with nonsense": (lambda g: "Bearer x", "unknown"),
    "one with 12 KiB of nonsense": (lambda g: "Bearer " + "x" * 12_288, "too large"),
    "one whose token is for the API server": (lambda g: g.bearer("friend", ""), "unknown"),
    "one whose token is for somebody else": (lambda g: g.bearer("friend", "vault"), "unknown"),
    "one who took the signature off": (lambda g: "Bearer " + unsigned(g.bearer("friend")[7:]), "unknown"),
    "one who put another name in": (
        lambda g: (
            "Bearer " + claiming(g.bearer("stranger")[7:], sub=f"system:serviceaccount:{g.case.namespace}:friend")
        ),
        "unknown",
    ),
    "an account of the namespace without a grant": (lambda g: g.bearer("stranger"), "forbidden"),
    "the account of that name in another namespace": (lambda g: g.bearer("friend", elsewhere=True), "forbidden"),
    "an account of allowedSubjects": (lambda g: g.bearer("friend"), "answered"),
    "an account with a Role by hand": (lambda g: g.bearer("by-hand"), "answered"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("caller", CALLERS)
def test_who_is_answered(guarded: Guarded, caller: str, way: str) -> None:
    make, expected = CALLERS[caller]
    assert WAYS[way](guarded.host, make(guarded)) in CODES[expected][way]


def test_a_pod_s_own_address_is_no_way_around_the_door(guarded: Guarded) -> None:
    (pod,) = guarded.case.pods()
    assert over_rest(pod["status"]["podIP"], "") == "401"
    assert over_rest(pod["status"]["podIP"], guarded.bearer("friend")) == "200"


def test_all_but_health_is_behind_the_door(guarded: Guarded) -> None:
    base = f"http://{guarded.host}:{HTTP}"
    with httpx.Client(base_url=base, timeout=10, trust_env=False) as http:
        assert [http.get(f"/v2/health/{probe}").status_code for probe in ("live", "ready")] == [200, 200]
        behind = [http.get(path) for path in (f"/v2/models/{NAME}", "/v2", f"/v2/models/{NAME}/versions/1")]
        behind.append(http.post("/v2/repository/index"))
        assert {401} == {answer.status_code for answer in behind}
        assert {"Bearer"} == {answer.headers["www-authenticate"].partition(" ")[0] for answer in behind}
        assert http.get(f"/v2/models/{NAME}", headers={"authorization": guarded.bearer("friend")}).status_code == 200


def test_probes_and_the_operator_s_eyes_go_on_behind_the_door(guarded: Guarded) -> None:
    (pod,) = guarded.case.pods()
    assert pod_ready(pod)
    assert guarded.case.condition("EndpointSecured")["status"] == "True", guarded.case.told()
    assert guarded.case.model()["status"]["model"]["digest"].startswith("sha256:"), "the operator reads the report"


def test_metrics_count_the_refused_and_are_the_operator_s_alone(guarded: Guarded) -> None:
    """A pod of the model's own namespace may call the model, and not the port that tells of it; the node asks there as the kubelet does."""
    (pod,) = guarded.case.pods()
    address = pod["status"]["podIP"]
    assert over_rest(guarded.host, "") == "401"
    with httpx.Client(base_url=f"http://{address}:{ADMIN}", timeout=10, trust_env=False) as admin:
        assert admin.get("/readyz").status_code == 200
        told = admin.get("/metrics").text
        assert admin.post(f"/v2/models/{NAME}/infer", json={"inputs": []}).status_code == 404, "it answers no inference"
    refused = [line for line in told.splitlines() if line.startswith("modelward_refused_total{")]
    assert any('reason="unauthenticated"' in line and float(line.split()[-1]) >= 1 for line in refused), refused
    insider = guarded.case.start_client("insider", IDLE)
    wait("the own namespace reaches the model", lambda: insider.connects(address, HTTP), within=15)
    assert not insider.connects(address, ADMIN)


def test_an_account_that_is_deleted_is_nobody_soon(guarded: Guarded) -> None:
    bearer = guarded.bearer("gone")
    assert over_rest(guarded.host, bearer) == "200"
    guarded.case.kube.delete("ServiceAccount", "gone", guarded.case.namespace)
    wait("its token is refused", lambda: over_rest(guarded.host, bearer) == "401", within=FORGETS)


def test_a_subject_that_leaves_the_list_is_refused_and_no_pod_restarts(case: Case) -> None:
    case.apply(account("guest"))
    guest = {"kind": "ServiceAccount", "name": "guest", "namespace": case.namespace}
    case.serve(security={"authentication": {"mode": "TokenReview", "allowedSubjects": [guest]}})
    (pod,) = case.pods()
    host, bearer = case.service_address(), "Bearer " + token(case.kube, case.namespace, "guest")
    assert over_rest(host, bearer) == "200"
    case.change({"security": {"authentication": {"mode": "TokenReview", "allowedSubjects": []}}})
    wait("the guest is refused", lambda: over_rest(host, bearer) == "403", within=FORGETS)
    assert [pod["metadata"]["uid"]] == [one["metadata"]["uid"] for one in case.pods()]


def test_another_namespace_is_blocked_with_a_good_token_and_the_same_call_works_once_allowed(guarded: Guarded) -> None:
    case, shop = guarded.case, guarded.elsewhere
    shop.apply(account("buyer"))
    case.apply(*grant("buyers", NAME, "buyer", shop.namespace))
    url = f"http://{guarded.host}:{HTTP}/v2/models/{NAME}/infer"
    buyer = shop.start_client("buyer", IDLE)

    def call() -> str:
        return buyer.python(CALL, url, token(case.kube, shop.namespace, "buyer")).strip()

    assert "timed out" in call()
    case.change({"security": {"networkPolicy": {"allowFrom": [{"namespace": shop.namespace}]}}})
    wait("the same call works", lambda: call() == "200", within=20)


def test_a_caller_in_a_hurry_is_told_when_to_come_back_and_others_are_not_held_up(case: Case) -> None:
    case.apply(account("eager"), account("calm"))
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": case.namespace} for name in ("eager", "calm")]
    case.serve(
        security={
            "authentication": {"mode": "TokenReview", "allowedSubjects": subjects},
            "rateLimit": {"requestsPerSecond": "1", "burst": 3},
        }
    )
    host = case.service_address()
    eager, calm = ("Bearer " + token(case.kube, case.namespace, name) for name in ("eager", "calm"))
    url = f"http://{host}:{HTTP}/v2/models/{NAME}/infer"

    def call() -> httpx.Response:
        return httpx.post(url, json={"inputs": []}, headers={"authorization": eager}, timeout=10, trust_env=False)

    assert over_rest(host, eager) == "200"
    refused = next((answer for _ in range(50) if (answer := call()).status_code == 429), None)
    assert refused is not None, "fifty calls in a row went through at one a second"
    assert over_rest(host, calm) == "200"
    time.sleep(float(refused.headers["retry-after"]))
    assert over_rest(host, eager) == "200"


def test_who_waits_for_ready_after_a_new_limit_finds_it_in_force(case: Case) -> None:
    """The kubelet brings it to running pods, which takes its time; without a word of theirs it would be said to hold at once."""
    case.apply(account("eager"))
    eager = [{"kind": "ServiceAccount", "name": "eager", "namespace": case.namespace}]
    case.serve(security={"authentication": {"mode": "TokenReview", "allowedSubjects": eager}})
    host, bearer = case.service_address(), "Bearer " + token(case.kube, case.namespace, "eager")
    assert [over_rest(host, bearer) for _ in range(6)] == ["200"] * 6
    (pod,) = case.pods()
    case.change({"security": {"rateLimit": {"requestsPerSecond": "1", "burst": 3}}})
    case.wait_ready(within=LIVE)
    assert "429" in [over_rest(host, bearer) for _ in range(20)], case.told()
    assert "the rate limit is enforced" in case.condition("EndpointSecured")["message"]
    assert [pod["metadata"]["uid"]] == [one["metadata"]["uid"] for one in case.pods()]
