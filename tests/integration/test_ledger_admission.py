"""Who may write what was spent, on a real API server: the pods that spend, by the operator's own Role; and who may `relax` it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from modelward_runtime.epsilon.period import show
from tests.integration.apiserver import ApiServer
from tests.integration.guard import MERGE, allow, guard, refusal, until_refused
from tests.integration.rest import RBAC, Json, apply, request
from tests.integration.test_privacy_ledger import folder_of, ledger, status
from tests.ledgers import MIDNIGHT, NOON
from tests.privacy_specs import privacy_policy, private

GOLDEN = Path(__file__).parents[1] / "golden/plan/privacy-differential.yaml"
WORDS = "owned by nothing, and may be changed or deleted otherwise only by who may `relax`"
AHEAD = "status.observedTime is more than 300 s ahead of the API server's clock"
NAME = "differential-0"
MAKER, MEDDLER, OFFICER = "ledger-maker", "ledger-meddler", "ledger-officer"
EVERYTHING_ELSE = ["get", "list", "create", "update", "patch", "delete", "deletecollection"]
COLLECTORS = {
    "garbage": {"Impersonate-User": "system:serviceaccount:kube-system:generic-garbage-collector"},
    "namespaces": {"Impersonate-User": "system:serviceaccount:kube-system:namespace-controller"},
}


def pod(namespace: str, name: str = "privacy-differential") -> Json:
    return {"Impersonate-User": f"system:serviceaccount:{namespace}:{name}"}


def bind(server: ApiServer, namespace: str, role: str, account: str, of: str) -> None:
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{account}-of-{of}", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": of}],
    }
    apply(server, body, dry_run=False)


@pytest.fixture(scope="module")
def guarded(server: ApiServer) -> ApiServer:
    """The chart's policies in force; somebody who may do everything to ledgers but `spend` and `relax`; and who may `relax` as well."""
    guard(server)
    resources = ["privacyledgers", "privacyledgers/status"]
    rule: Json = {"apiGroups": ["modelward.dev"], "resources": resources, "verbs": EVERYTHING_ELSE}
    allow(server, MEDDLER, rule)
    allow(server, MAKER, rule | {"verbs": ["create"], "resources": ["privacyledgers"]})
    allow(server, OFFICER, rule | {"verbs": [*EVERYTHING_ELSE, "relax"]})
    request(server, "POST", folder_of("default"), ledger("probe"))
    meddler = {"Impersonate-User": MEDDLER}
    until_refused(
        lambda: request(server, "DELETE", f"{folder_of('default')}/probe-all?dryRun=All", headers=meddler), WORDS
    )
    return server


@pytest.fixture
def place(guarded: ApiServer, namespace: str) -> str:
    """A namespace with the operator's Role and RoleBinding of the example, and two ledgers, of which one is of another policy."""
    for item in yaml.safe_load_all(GOLDEN.read_text()):
        if item["kind"] in {"Role", "RoleBinding"}:
            item["metadata"]["namespace"] = namespace
            for subject in item.get("subjects", ()):
                subject["namespace"] = namespace
            apply(guarded, item, dry_run=False)
    for one in (ledger("differential", "0"), ledger("other")):
        request(guarded, "POST", folder_of(namespace), one, headers={"Impersonate-User": MAKER})
    return namespace


def spend(server: ApiServer, namespace: str, who: Json, name: str = NAME) -> Callable[[], Json]:
    """Write a first row, as the runtime does; nothing is kept."""
    live = request(server, "GET", f"{folder_of(namespace)}/{name}")
    body = live | {"status": status(NOON, a=(1, MIDNIGHT))}
    return lambda: request(server, "PUT", f"{folder_of(namespace)}/{name}/status?dryRun=All", body, headers=who)


def label(server: ApiServer, namespace: str, who: Json) -> Callable[[], Json]:
    body = {"metadata": {"labels": {"a": "b"}}}
    path = f"{folder_of(namespace)}/{NAME}?dryRun=All"
    return lambda: request(server, "PATCH", path, body, headers={**who, **MERGE})


def delete(server: ApiServer, namespace: str, who: Json, name: str = f"/{NAME}") -> Callable[[], Json]:
    return lambda: request(server, "DELETE", f"{folder_of(namespace)}{name}?dryRun=All", headers=who)


def test_pods_write_what_they_spend_of_their_own_policy_and_nothing_else(guarded: ApiServer, place: str) -> None:
    assert "" == refusal(spend(guarded, place, pod(place)))
    assert "cannot update resource" in refusal(spend(guarded, place, pod(place), "other-all"))
    assert "cannot patch resource" in refusal(label(guarded, place, pod(place)))
    assert "cannot delete resource" in refusal(delete(guarded, place, pod(place)))
    assert "cannot update resource" in refusal(spend(guarded, place, pod(place, "another")))
    told = refusal(lambda: request(guarded, "POST", folder_of(place), ledger("differential", "1"), headers=pod(place)))
    assert "cannot create resource" in told


def test_every_other_right_gives_no_budget_back(guarded: ApiServer, place: str) -> None:
    meddler = {"Impersonate-User": MEDDLER}
    for attempt in (spend, label, delete):
        assert WORDS in refusal(attempt(guarded, place, meddler)), attempt.__name__
    assert WORDS in refusal(delete(guarded, place, meddler, ""))


def test_who_spends_elsewhere_does_not_spend_here(guarded: ApiServer, place: str) -> None:
    bind(guarded, place, "privacy-differential-spend", "privacy-differential", "kube-public")
    assert WORDS in refusal(spend(guarded, place, pod("kube-public")))


def test_what_is_made_is_owned_by_nothing(guarded: ApiServer, place: str) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "00000000-0000-0000-0000-000000000000"}
    for more in ({"ownerReferences": [owner]}, {"finalizers": ["example.com/wait"]}):
        body = ledger("differential", "2")
        body["metadata"] |= more
        maker = {"Impersonate-User": MAKER}
        assert WORDS in refusal(lambda: request(guarded, "POST", folder_of(place), body, headers=maker))  # noqa: B023


def test_the_right_to_relax_and_the_end_of_a_namespace_take_a_ledger_away(guarded: ApiServer, place: str) -> None:
    assert WORDS in refusal(delete(guarded, place, COLLECTORS["garbage"]))
    assert "" == refusal(delete(guarded, place, COLLECTORS["namespaces"]))
    for attempt in (spend, label, delete):
        assert "" == refusal(attempt(guarded, place, {"Impersonate-User": OFFICER})), attempt.__name__


def forged(number: int, at: int) -> list[Json]:
    """What a request may say of itself: that others have set the time, in the future."""
    entry = {"operation": "Update", "subresource": "status", "apiVersion": "modelward.dev/v1alpha1"}
    entry |= {"fieldsType": "FieldsV1", "time": show(at)}
    fields: Json = {"f:status": {"f:observedTime": {}, "f:keyCheck": {}}}
    return [entry | {"manager": f"forged-{which}", "fieldsV1": fields} for which in range(number)]


NOW = int(time.time())
LATER = NOW + 10**6
STAMPS: list[tuple[str, list[Json] | None]] = [
    ("nothing that is not so", None),
    ("that nobody did", []),
    ("that all is to be forgotten about it", [{}]),
    ("that somebody did in the future", forged(1, LATER)),
    ("that so many did that the oldest are thrown together", forged(12, LATER)),
]


@pytest.mark.parametrize(("says", "stamps"), STAMPS, ids=[row[0] for row in STAMPS])
def test_who_spends_does_not_move_the_time_ahead_whatever_the_request_says_of_who_wrote(
    guarded: ApiServer, place: str, says: str, stamps: list[Json] | None
) -> None:
    put(guarded, place, status(int(time.time()), a=(5, LATER)))
    for ahead, admitted in ((86_400, False), (360, False), (280, True)):
        told = refusal(lambda: put(guarded, place, status(int(time.time()) + ahead, a=(5, LATER)), stamps))  # noqa: B023
        assert admitted == (told == ""), f"{says}, {ahead}: {told}"
        assert admitted or AHEAD in told, told


def test_the_first_who_spends_does_not_begin_ahead(guarded: ApiServer, place: str) -> None:
    for stamps in (None, forged(1, LATER)):
        told = refusal(lambda: put(guarded, place, status(NOW + 86_400), stamps))  # noqa: B023
        assert AHEAD in told
    put(guarded, place, status(int(time.time())))


def put(server: ApiServer, namespace: str, what: Json, stamps: list[Json] | None = None) -> Json:
    """Write a status as a pod that spends."""
    body = request(server, "GET", f"{folder_of(namespace)}/{NAME}") | {"status": what}
    if stamps is not None:
        body["metadata"]["managedFields"] = stamps
    return request(server, "PUT", f"{folder_of(namespace)}/{NAME}/status", body, headers=pod(namespace))


def test_who_may_relax_moves_the_time_where_nobody_else_can(guarded: ApiServer, place: str) -> None:
    body = request(guarded, "GET", f"{folder_of(place)}/{NAME}") | {"status": status(NOW + 86_400)}
    request(guarded, "PUT", f"{folder_of(place)}/{NAME}/status", body, headers={"Impersonate-User": OFFICER})
    put(guarded, place, status(NOW + 86_400, a=(1, LATER)))  # which moves nothing


def test_what_was_reserved_is_kept_even_from_who_may_relax(guarded: ApiServer, place: str) -> None:
    request(guarded, "PUT", f"{folder_of(place)}/{NAME}/status", spend_body(guarded, place, 5), headers=pod(place))
    less = spend_body(guarded, place, 4)
    officer = {"Impersonate-User": OFFICER}
    told = refusal(lambda: request(guarded, "PUT", f"{folder_of(place)}/{NAME}/status", less, headers=officer))
    assert "what was reserved in a period stays" in told


def spend_body(server: ApiServer, namespace: str, spent: int) -> Json:
    live = request(server, "GET", f"{folder_of(namespace)}/{NAME}")
    return live | {"status": status(NOON, a=(spent, MIDNIGHT))}


CHANGES: list[tuple[str, str, bool]] = [
    # why this row, a merge patch of differentialPrivacy, whether it tightens and nothing else
    ("a smaller budget", "{budget: {epsilon: '8'}}", True),
    ("less epsilon a row, which is more noise", "{epsilon: '0.25'}", True),
    ("a larger budget, smaller as text", "{budget: {epsilon: '10'}}", False),
    ("more epsilon a row", "{epsilon: '0.75'}", False),
    ("a period that ends sooner", "{budget: {period: Hour}}", False),
    ("a budget for each", "{budget: {scope: Subject}, subjectKeyRef: {name: a, key: b}}", False),
    ("another output", "{name: other}", False),
    ("other labels", "{labels: ['0', '1', '2']}", False),
    ("another mechanism", "{mechanism: Laplace, labels: null, lower: '0', upper: '1'}", False),
    ("no differential privacy", "null", False),
]


@pytest.mark.parametrize(("reason", "patch", "tightens"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_privacy_budget_is_raised_only_by_who_may_relax_its_policy(
    guarded: ApiServer, namespace: str, reason: str, patch: str, tightens: bool
) -> None:
    rule: Json = {"apiGroups": ["modelward.dev"], "resources": ["privacypolicies"], "verbs": EVERYTHING_ELSE}
    editor = allow(guarded, "ledger-editor", rule)
    path = f"/apis/modelward.dev/v1alpha1/namespaces/{namespace}/privacypolicies"
    request(guarded, "POST", path, privacy_policy(private(", tensors: [{name: p, drop: true}]")))
    body = {"spec": {"output": {"differentialPrivacy": yaml.safe_load(patch)}}}
    path += "/table?dryRun=All"
    told = refusal(lambda: request(guarded, "PATCH", path, body, headers={**editor, **MERGE}))
    assert tightens == (told == ""), f"{reason}: {told}"
    assert tightens or "only by who may `relax`" in told
    request(guarded, "PATCH", path, body, headers=MERGE)
