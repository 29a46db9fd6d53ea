"""Access on a real API server, with the operator's own rights: what it may grant and make, and what it may not read.

Passes run as the operator's ServiceAccount under the chart's RBAC; an administrator plays everybody else. There is no garbage collector
in this ring: where one would take a Secret, the test does.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.issuer import COLLECTED
from modelward_operator.cluster.kinds import CONFIG_MAP, SECRET, Resource
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json
from modelward_operator.plan import names
from tests.integration.apiserver import ApiServer
from tests.integration.rest import request
from tests.integration.rig import INSTALLATION, Rig, ServiceAccountClient, make_rig
from tests.integration.rights import grant_chart

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ROLE = Resource("Role", "rbac.authorization.k8s.io", "v1", "roles")
CHECKOUT = {"kind": "ServiceAccount", "name": "checkout", "namespace": "shop"}
MANAGED: Json = {"security": {"tls": {"mode": "Managed"}}}


class Time:
    """The issuer's clock."""

    now = 0.0


@pytest.fixture(scope="module")
def granted(server: ApiServer) -> ApiServer:
    """The server with the chart's RBAC."""
    return grant_chart(server)


@pytest.fixture
async def operator(granted: ApiServer, client: Client, namespace: str) -> AsyncIterator[Rig]:
    """The operator's parts with the operator's rights."""
    Time.now = 0.0
    async with make_rig(client, namespace, client_type=ServiceAccountClient, clock=lambda: Time.now) as made:
        yield made


PREDICT = {"group": "modelward.dev", "resource": "modeldeployments", "subresource": "predict", "verb": "create"}
REVIEW = {"group": "authorization.k8s.io", "resource": "localsubjectaccessreviews", "verb": "create"}


def may(server: ApiServer, user: str, namespace: str, asked: Json, name: str = "") -> bool:
    """Ask the API server whether somebody may."""
    spec = {"user": user, "resourceAttributes": {**asked, "namespace": namespace, "name": name}}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool(request(server, "POST", REVIEWS, body)["status"]["allowed"])


async def until(true: Callable[[], bool]) -> None:
    """Wait until the API server's RBAC has heard of it."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110  -- the API announces nothing
            await asyncio.sleep(0.05)


async def test_subjects_are_granted_this_model_and_no_other_and_lose_it_again(operator: Rig, server: ApiServer) -> None:
    user = "system:serviceaccount:shop:checkout"
    await operator.create({"security": {"authentication": {"allowedSubjects": [CHECKOUT]}}})
    await operator.reconcile()
    assert {("Role", "fraud-predict"), ("RoleBinding", "fraud-predict")} <= (await operator.children()).keys()
    await until(lambda: may(server, user, operator.namespace, PREDICT, "fraud"))
    assert not may(server, user, operator.namespace, PREDICT, "other")
    assert not may(server, user, "default", PREDICT, "fraud")
    await operator.change({"security": {"authentication": {"allowedSubjects": []}}})
    await operator.heard_all()
    await operator.reconcile()
    kept = {name for kind, name in await operator.children() if kind in {"Role", "RoleBinding"}}
    assert kept == {"fraud-access-review"}
    await until(lambda: not may(server, user, operator.namespace, PREDICT, "fraud"))


async def test_pods_may_ask_who_may_call_in_their_own_namespace_and_nowhere_else(
    operator: Rig, server: ApiServer
) -> None:
    await operator.create()
    await operator.reconcile()
    user = f"system:serviceaccount:{operator.namespace}:fraud"
    await until(lambda: may(server, user, operator.namespace, REVIEW))
    assert not may(server, user, "default", REVIEW)
    for kind in ("secrets", "pods", "configmaps"):
        assert not may(server, user, operator.namespace, {"group": "", "resource": kind, "verb": "get"}), kind


async def test_an_open_endpoint_grants_nothing(operator: Rig) -> None:
    await operator.create({"security": {"authentication": {"mode": "None"}}})
    await operator.reconcile()
    assert not {"Role", "RoleBinding"} & {kind for kind, _ in await operator.children()}


async def test_the_operator_cannot_grant_what_it_does_not_hold(operator: Rig) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    metadata = {"name": "spy", "namespace": operator.namespace}
    body = {"apiVersion": ROLE.api_version, "kind": "Role", "metadata": metadata, "rules": [rule]}
    with pytest.raises(Rejected, match="attempting to grant RBAC permissions not currently held"):
        await operator.client.create(ROLE, body, manager="test")


async def test_the_api_servers_address_is_looked_up_with_the_charts_right(operator: Rig) -> None:
    raw = await operator.create()
    given = await operator.cluster.gather(operator.key())
    assert given is not None
    ports = {port for _, port in given.network.api_server}
    assert 443 in ports, "of its Service"
    assert len(ports) == 2, "and of what is behind it"
    assert raw["metadata"]["uid"] == given.uid


def secret_of(live: Json, key: str) -> str:
    return base64.b64decode(live["data"][key]).decode()


async def managed(operator: Rig) -> dict[str, Any]:
    """Create a model with a managed certificate, and return the Secret after one pass."""
    await operator.create(MANAGED)
    await operator.reconcile()
    return await operator.admin.get(SECRET, operator.namespace, "fraud-tls")


async def record_of(operator: Rig) -> dict[str, Any]:
    (record,) = [item for (_, name), item in (await operator.children()).items() if name.startswith("fraud-tls-")]
    return record


async def test_a_record_that_somebody_planted_is_pruned_and_takes_no_certificate_along(operator: Rig) -> None:
    """It belongs to the model by its owner, says that its Secret was issued, and that it is the newest and lasts for a century."""
    secret = await managed(operator)
    await operator.heard_all()
    genuine = await record_of(operator)
    kept = {key: genuine["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    data = {
        **genuine["data"],
        "sha256": "ab" * 32,
        "notBefore": "2026-11-01T00:00:00Z",
        "notAfter": "2126-11-01T00:00:00Z",
    }
    metadata = {"name": f"fraud-tls-{'ab' * 5}", "namespace": operator.namespace, **kept}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    await operator.admin.create(CONFIG_MAP, body, manager="planter")
    await operator.heard_all()
    await operator.reconcile()
    assert genuine["metadata"]["uid"] == (await record_of(operator))["metadata"]["uid"]
    assert secret == await operator.admin.get(SECRET, operator.namespace, "fraud-tls")


async def test_a_certificate_is_made_that_clients_can_check_and_the_operator_cannot_read_back(operator: Rig) -> None:
    live = await managed(operator)
    assert live["type"] == "kubernetes.io/tls"
    assert "immutable" not in live, "of an immutable one the kubelet never looks at the next"
    record = await record_of(operator)
    (owner,) = live["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ConfigMap", record["metadata"]["uid"])
    assert record["metadata"]["annotations"][names.ISSUED] == live["metadata"]["uid"]
    bundle = (await operator.get("ConfigMap", "fraud-tls"))["data"]["ca.crt"]
    roots = Store(x509.load_pem_x509_certificates(bundle.encode()))
    leaf = x509.load_pem_x509_certificate(secret_of(live, "tls.crt").encode())
    for name in (f"fraud.{operator.namespace}.svc", f"fraud.{operator.namespace}.svc.cluster.local"):
        PolicyBuilder().store(roots).build_server_verifier(x509.DNSName(name)).verify(leaf, [])
    assert "PRIVATE" not in str(record)
    for verb in (operator.client.get(SECRET, operator.namespace, "fraud-tls"), _list(operator.client, operator)):
        with pytest.raises(Unreadable, match="403"):
            await verb
    assert (await operator.get("Deployment"))["metadata"]["name"] == "fraud"


async def _list(client: Client, operator: Rig) -> None:
    async for _ in client.pages(SECRET, operator.namespace):
        pass


async def test_a_second_pass_writes_nothing(operator: Rig) -> None:
    await managed(operator)
    await operator.heard_all()
    operator.writes.clear()
    await operator.reconcile()
    assert not operator.writes


async def test_a_certificate_whose_record_goes_is_followed_by_another_when_its_secret_is_gone(operator: Rig) -> None:
    before = await managed(operator)
    record = await record_of(operator)
    await operator.admin.delete(
        CONFIG_MAP, operator.namespace, record["metadata"]["name"], uid=record["metadata"]["uid"]
    )
    await operator.unknown("ConfigMap", record["metadata"]["name"])
    await operator.reconcile()
    assert (await operator.condition("Ready"))["reason"] == "ChildUnwritten", "the garbage collector is about to"
    same = await operator.admin.get(SECRET, operator.namespace, "fraud-tls")
    assert same["metadata"]["uid"] == before["metadata"]["uid"]
    assert not [name for _, name in await operator.children() if name.startswith("fraud-tls-")]
    await operator.admin.delete(SECRET, operator.namespace, "fraud-tls", uid=before["metadata"]["uid"])
    await operator.heard_all()
    await operator.reconcile()
    after = await operator.admin.get(SECRET, operator.namespace, "fraud-tls")
    assert secret_of(after, "tls.crt") != secret_of(before, "tls.crt")


async def test_a_pass_that_broke_off_between_secret_and_mark_is_made_good(operator: Rig) -> None:
    await managed(operator)
    record = await record_of(operator)
    body = {"metadata": {"annotations": {names.ISSUED: None}}}
    changed = await operator.admin.patch(
        CONFIG_MAP, operator.namespace, record["metadata"]["name"], body, manager="test"
    )
    await operator.heard("ConfigMap", record["metadata"]["name"], int(changed["metadata"]["resourceVersion"]))
    await operator.reconcile()
    assert not [name for _, name in await operator.children() if name.startswith("fraud-tls-")], (
        "its Secret goes with it"
    )


async def test_a_strangers_secret_is_left_alone_and_no_pod_gets_it(operator: Rig) -> None:
    metadata = {"name": "fraud-tls", "namespace": operator.namespace}
    data = {"tls.crt": "", "tls.key": ""}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}
    stranger = await operator.admin.create(SECRET, body, manager="somebody")
    await operator.create(MANAGED)
    await operator.reconcile()
    Time.now = COLLECTED + 1
    await operator.heard_all()
    await operator.reconcile()
    ready = await operator.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ChildNotOwned")
    assert "Secret fraud-tls: exists and is none that ModelWard issued" in ready["message"]
    live = await operator.admin.get(SECRET, operator.namespace, "fraud-tls")
    assert live["metadata"]["resourceVersion"] == stranger["metadata"]["resourceVersion"]
    assert await operator.is_gone("Deployment")
    assert not [name for _, name in await operator.children() if name.startswith("fraud-tls-")], "nor a record"


async def test_tls_that_is_switched_off_leaves_no_record_behind(operator: Rig) -> None:
    await managed(operator)
    await operator.change({"security": {"tls": {"mode": "Off"}}})
    await operator.heard_all()
    await operator.reconcile()
    assert not [name for _, name in await operator.children() if "tls" in name]


async def test_the_ca_lies_beside_the_operator_and_is_one_for_all(operator: Rig) -> None:
    await managed(operator)
    live = await operator.admin.get(SECRET, INSTALLATION.namespace, "modelward-ca")
    assert len([key for key in live["data"] if key.endswith(".crt")]) == 1
    bundle = (await operator.get("ConfigMap", "fraud-tls"))["data"]["ca.crt"]
    assert bundle in {base64.b64decode(value).decode() for value in live["data"].values()}
