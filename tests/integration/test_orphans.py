"""`kubectl delete mdep --cascade=orphan`, and the same model made anew, with Kubernetes' own garbage collector and the chart's admission
policies: nothing hangs, no child is lost or made anew, and all of them are the new model's, its history as well."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest

from modelward_operator.cluster.adoption import AT_ONCE, Adopter
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BY_KIND, CONFIG_MAP, MODEL, REVISION, SECRET, Resource
from modelward_operator.errors import Conflict, OperatorError
from modelward_operator.plan import names
from tests.integration.apiserver import ApiServer
from tests.integration.every_child import MODELS, Json, make_models, settle
from tests.integration.garbage import garbage_collector
from tests.integration.guard import guard
from tests.integration.histories import DIGESTS, Model
from tests.integration.rest import RBAC, apply, request
from tests.integration.rig import INSTALLATION, Rig, ServiceAccountClient, make_rig
from tests.integration.rights import grant_chart

SOON = 90.0
"""Seconds that the garbage collector has: on a quiet machine it takes a tenth of one."""


@pytest.fixture(scope="module")
def collected(server: ApiServer, gateway_api: None) -> Iterator[ApiServer]:
    """The server with the chart's RBAC and admission policies, and a garbage collector."""
    grant_chart(server)
    guard(server)
    with garbage_collector(server):
        yield server


@pytest.fixture
async def operator(collected: ApiServer, client: Client, namespace: str, home: str) -> AsyncIterator[Rig]:
    """The operator's parts with the operator's rights; in its own namespace, which is the test's here, it may do everything."""
    account = {"kind": "ServiceAccount", "name": "modelward-operator", "namespace": INSTALLATION.namespace}
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    head = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "own", "namespace": home}}
    apply(collected, {**head, "roleRef": ref, "subjects": [account]}, dry_run=False)
    async with make_rig(client, namespace, client_type=ServiceAccountClient, home=home) as made:
        yield made


@pytest.fixture
async def worked(operator: Rig) -> AsyncIterator[Rig]:
    """The operator at work: whom an event rings for gets a pass, as long as the test runs."""

    async def work() -> None:
        while True:
            keys = {*operator.rung}
            operator.rung.clear()
            for key in keys:
                with contextlib.suppress(OperatorError):  # the queue would try again; here the next event does
                    await operator.reconcile(key.name)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(work())
    yield operator
    assert not task.done(), task
    task.cancel()


def delete(server: ApiServer, rig: Rig, name: str, policy: str) -> None:
    """Delete a model as `kubectl delete mdep NAME --cascade` does."""
    request(server, "DELETE", MODEL.path(rig.namespace, name), {"propagationPolicy": policy})


async def is_gone(rig: Rig, *models: str) -> None:
    async with asyncio.timeout(SOON):
        for name in models:
            while not await rig.is_gone(MODEL.kind, name):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    for name in models:
        await rig.unknown(MODEL.kind, name)


async def listed(rig: Rig, resource: Resource) -> dict[tuple[str, str], Json]:
    """The objects of a kind in the namespace."""
    found = [one async for page, _ in rig.admin.pages(resource, rig.namespace) for one in page]
    return {(resource.kind, one["metadata"]["name"]): one for one in found}


def uids(objects: dict[tuple[str, str], Json]) -> dict[tuple[str, str], str]:
    return {key: one["metadata"]["uid"] for key, one in objects.items()}


def controllers(one: Json) -> list[str]:
    return [owner["uid"] for owner in one["metadata"].get("ownerReferences", ()) if owner.get("controller")]


async def test_every_child_is_left_behind_and_taken_back_as_it_is(collected: ApiServer, worked: Rig) -> None:
    rig = worked
    await make_models(rig)
    before, secrets = await rig.children(), await listed(rig, SECRET)
    for name in MODELS:
        delete(collected, rig, name, "Orphan")
    await is_gone(rig, *MODELS)
    left = await rig.children()
    assert uids(before) == uids(left)
    models = {uid for one in before.values() for uid in controllers(one)}
    assert not models & {uid for one in left.values() for uid in controllers(one)}, "the garbage collector let go"

    made = {name: (await rig.create(spec, name))["metadata"]["uid"] for name, spec in MODELS.items()}
    await settle(rig)
    after = await rig.children()
    assert uids(before) == uids(after), "nothing was made anew"
    for (kind, name), one in after.items():
        assert [made[one["metadata"]["labels"]["modelward.dev/model"]]] == controllers(one), (kind, name)
        if kind == "Deployment":
            assert before[kind, name]["spec"] == one["spec"], "no pod is replaced"
    assert uids(secrets) == uids(await listed(rig, SECRET)), "certificates are served on"


async def test_what_the_new_spec_does_not_want_goes_and_what_is_no_child_stays(
    collected: ApiServer, worked: Rig
) -> None:
    rig = worked
    spec = {**MODELS["hpa"], "exposure": MODELS["routed"]["exposure"], "scaling": MODELS["hpa"]["scaling"]}
    spec["exposure"] = {**spec["exposure"], "gateway": {"parentRefs": [{"name": "private"}]}}
    await rig.create(spec)
    await settle(rig, "fraud")
    service = await rig.get("Service")
    meta = {name: service["metadata"][name] for name in ("labels", "annotations")}
    copy = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "name": "fraud-copy", "namespace": rig.namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    theirs = await rig.admin.create(BY_KIND["Service"], copy, manager="somebody")
    delete(collected, rig, "fraud", "Orphan")
    await is_gone(rig, "fraud")
    await rig.create({"resources": spec["resources"]})
    await settle(rig, "fraud")
    unwanted = ("HorizontalPodAutoscaler", "HTTPRoute", "GRPCRoute", "BackendTLSPolicy", "Role")
    assert not [key for key in await rig.children() if key[0] in unwanted]
    assert theirs == await rig.get("Service", "fraud-copy")
    assert "fraud" not in {key[1] for key in await listed(rig, SECRET)}


async def test_who_is_about_to_go_takes_nothing_back(collected: ApiServer, operator: Rig) -> None:
    """The garbage collector frees the children while the model is still there, and the operator has not heard that it goes."""
    rig = operator
    await rig.create()
    await settle(rig, "fraud")
    held = {"metadata": {"finalizers": ["example.com/wait"]}}
    live = await rig.admin.patch(MODEL, rig.namespace, "fraud", held, manager="user")
    await rig.heard(MODEL.kind, "fraud", int(live["metadata"]["resourceVersion"]))
    given = await rig.cluster.gather(rig.key())
    assert given is not None
    delete(collected, rig, "fraud", "Orphan")
    async with asyncio.timeout(SOON):
        while any(controllers(one) for one in (await rig.children()).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    free = await rig.children()
    unaware = dataclasses.replace(given, children=tuple(free.values()))
    with pytest.raises(Conflict, match="being deleted"):
        await Adopter(rig.client, rig.store).take_back(unaware)
    await rig.until(lambda: "deletionTimestamp" in rig.live(MODEL.kind)["metadata"])
    assert await rig.reconcile() is None
    assert free == await rig.children()
    await rig.admin.patch(MODEL, rig.namespace, "fraud", {"metadata": {"finalizers": None}}, manager="user")
    await is_gone(rig, "fraud")


async def test_of_what_somebody_planted_one_pass_takes_no_more_than_a_model_leaves_behind(operator: Rig) -> None:
    rig, count = operator, AT_ONCE + 3
    await rig.create()
    await settle(rig, "fraud")
    children = await rig.children()
    for number in range(count):
        meta = {
            "name": f"fraud-boot-{number:010x}",
            "namespace": rig.namespace,
            "labels": names.selector("fraud"),
            "annotations": {names.APPLIED: "planted"},
        }
        await rig.admin.create(
            CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}, manager="planter"
        )
    await rig.heard_all()
    rig.writes.clear()
    rig.rung.clear()
    await rig.reconcile()
    assert {("patch", "ConfigMap"): AT_ONCE, ("delete", "ConfigMap"): AT_ONCE} == {
        key: number for key, number in rig.writes.items() if key[1] == "ConfigMap"
    }
    assert rig.key() in rig.rung, "the rest has its turn after others"
    await rig.reconcile()
    assert children.keys() == (await rig.children()).keys()


HISTORY: Json = {"rollout": {"revisionHistoryLimit": 1}}
WORDS: list[Json] = [{"name": "LOG_LEVEL", "value": '<a> & "b" \\ \u00e9 \u2028 \U0001f600 \t\x7f'}]
"""What JSON may be written with in more than one way."""


async def test_the_history_is_taken_back_and_goes_on(collected: ApiServer, operator: Rig) -> None:
    model = Model(operator)
    await operator.create({**HISTORY, "runtime": {"env": WORDS}})
    await operator.reconcile()
    for number in range(3):
        await model.change(f"s3://models/fraud/{number}/", cause=f"retrained {number}")
        before = await model.serve(DIGESTS[number])
    kept = await model.entries()
    assert [2, 3] == list(kept)
    forged = {"name": "fraud-rev-9", "namespace": operator.namespace, "labels": names.selector("fraud")}
    body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": forged, "data": {"a": 1}, "revision": 9}
    await operator.admin.create(REVISION, body, manager="user")
    delete(collected, operator, "fraud", "Orphan")
    await is_gone(operator, "fraud")
    await asyncio.sleep(1.1)  # a Deployment of the same second might be the new model's

    spec = {**HISTORY, "runtime": {"env": WORDS}, "model": {"uri": "s3://models/fraud/2/"}}
    uid = (await operator.create(spec))["metadata"]["uid"]
    await settle(operator, "fraud")
    found = await model.entries()
    assert [2, 3, 9] == list(found)
    for number, entry in kept.items():
        assert [uid] == controllers(found[number]), number
        assert (entry["data"], entry["metadata"]["uid"]) == (
            found[number]["data"],
            found[number]["metadata"]["uid"],
        )
    assert controllers(found[9]) == [], "what has not the form of an entry is none"
    assert before == (await operator.get(MODEL.kind))["status"]["revision"]
    assert before == await model.serve(DIGESTS[2]), "the same bytes of the same spec are no other revision"
    await model.change("s3://models/fraud/4/")
    assert {"number": 4, "oldest": 3} == {
        key: value for key, value in (await model.serve(DIGESTS[4])).items() if key in {"number", "oldest"}
    }


@pytest.mark.parametrize("policy", ["Foreground", "Background"])
async def test_a_model_that_is_deleted_leaves_nothing(collected: ApiServer, worked: Rig, policy: str) -> None:
    rig = worked
    await make_models(rig)
    assert await listed(rig, SECRET)
    for name in MODELS:
        delete(collected, rig, name, policy)
    await is_gone(rig, *MODELS)
    async with asyncio.timeout(SOON):
        while {**await rig.children(), **await listed(rig, SECRET)}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
