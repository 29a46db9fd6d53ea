"""The history on a real API server: an entry for each revision that served, made once, bounded, and never somebody else's."""

import dataclasses
import json
from collections.abc import AsyncIterator

import pytest

from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.historian import Historian
from modelward_operator.cluster.kinds import MODEL, REVISION
from modelward_operator.plan import names
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule
from tests.integration.apiserver import ApiServer
from tests.integration.histories import DIGESTS, Model
from tests.integration.rest import request
from tests.integration.rig import Rig, ServiceAccountClient, make_rig
from tests.integration.rights import grant_chart
from tests.makers import parsed


@pytest.fixture(scope="module")
def granted(server: ApiServer) -> ApiServer:
    """The server with the chart's RBAC."""
    return grant_chart(server)


@pytest.fixture
async def operator(granted: ApiServer, client: Client, namespace: str) -> AsyncIterator[Rig]:
    """The operator's parts with the operator's rights."""
    async with make_rig(client, namespace, client_type=ServiceAccountClient) as made:
        yield made


@pytest.fixture
async def model(operator: Rig) -> Model:
    """A model whose pods say that they serve: there is no kubelet in this ring."""
    await operator.create({"rollout": {"revisionHistoryLimit": 2}})
    await operator.reconcile()
    return Model(operator)


async def test_each_revision_that_serves_is_noted_down_once_and_the_oldest_go(model: Model) -> None:
    for number in range(5):
        await model.change(f"s3://models/fraud/{number}/", cause=f"retrained {number}")
        first = await model.serve(DIGESTS[number])
        model.rig.writes.clear()
        assert first == await model.serve(DIGESTS[number])
        assert not model.rig.writes, "it is noted down once"
    entries = await model.entries()
    assert [3, 4, 5] == list(entries)
    assert {"number": 5, "oldest": 3} == {key: first[key] for key in ("number", "oldest")}
    newest = entries[5]
    assert ("fraud-rev-5", "retrained 4") == (
        newest["metadata"]["name"],
        newest["metadata"]["annotations"]["kubernetes.io/change-cause"],
    )
    assert ("s3://models/fraud/4/", DIGESTS[4]) == (
        newest["data"]["spec"]["model"]["uri"],
        newest["data"]["served"]["digest"],
    )
    stored = (await model.rig.get("ModelDeployment"))["status"]["revision"]
    assert first == stored


async def test_the_way_back_is_a_revision_of_its_own(model: Model) -> None:
    for number, uri in enumerate(("s3://models/fraud/0/", "s3://models/fraud/1/", "s3://models/fraud/0/")):
        await model.change(uri)
        await model.serve(DIGESTS[number % 2])
    entries = await model.entries()
    assert entries[1]["data"]["spec"] == entries[3]["data"]["spec"]
    assert [1, 2, 3] == list(entries)


async def test_a_lower_limit_takes_the_oldest_with_the_next_pass(model: Model) -> None:
    for number in range(3):
        await model.change(f"s3://models/fraud/{number}/")
        await model.serve(DIGESTS[number])
    await model.rig.change({"rollout": {"revisionHistoryLimit": 0}})
    assert {"number": 3, "oldest": 3} == {
        key: value for key, value in (await model.serve(DIGESTS[2])).items() if key in {"number", "oldest"}
    }
    assert [3] == list(await model.entries())


async def test_a_status_that_was_lost_is_found_again_in_the_entries(model: Model) -> None:
    await model.change("s3://models/fraud/0/")
    await model.serve(DIGESTS[0])
    await model.change("s3://models/fraud/1/")
    before = await model.serve(DIGESTS[1])
    for lost in ({"revision": None}, {"revision": {**before, "number": 1, "hash": "old"}}):
        live = await model.rig.admin.patch(
            MODEL, model.rig.namespace, "fraud", {"status": lost}, manager="restore", subresource="status"
        )
        await model.rig.heard(MODEL.kind, "fraud", int(live["metadata"]["resourceVersion"]))
        assert before == await model.serve(DIGESTS[1]), lost
    assert [1, 2] == list(await model.entries())


async def test_entries_of_others_are_left_alone_and_their_numbers_passed_over(model: Model) -> None:
    meta = {"name": "fraud-rev-1", "namespace": model.rig.namespace, "labels": names.selector("fraud")}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "gone", "controller": True}
    body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {**meta, "ownerReferences": [owner]}}
    await model.rig.admin.create(REVISION, {**body, "data": {"a": 1}, "revision": 1}, manager="user")
    assert 2 == (await model.serve(DIGESTS[0]))["number"], "of a model that was deleted and is being collected"
    await model.rig.change({"rollout": {"revisionHistoryLimit": 0}})
    await model.change("s3://models/fraud/1/")
    await model.serve(DIGESTS[1])
    assert [1, 3] == list(await model.entries())


async def test_a_history_that_cannot_be_written_stops_nothing(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    given = await model.given(DIGESTS[0])
    spec = parsed(given)
    plan = draw(given, spec, rule(given, spec))
    nowhere = dataclasses.replace(given, key=dataclasses.replace(given.key, namespace="nowhere"))
    told = await Historian(model.rig.client, model.rig.store).record(plan.history, nowhere)
    assert (True, {}) == (told.unrecorded, told.revision)
    assert "history not written" in caplog.text


async def test_what_only_looks_like_entries_costs_no_more_than_so_many_of_them(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may create ControllerRevisions, where admission.histories is off: the history waits, and all else goes on."""
    first = await model.serve(DIGESTS[0])
    monkeypatch.setattr("modelward_operator.cluster.historian.LISTED", 20)
    for number in range(2, 24):
        meta = {"name": f"fraud-rev-{number}", "namespace": model.rig.namespace, "labels": names.selector("fraud")}
        body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "data": {}, "revision": number}
        await model.rig.admin.create(REVISION, body, manager="planter")
    await model.change("s3://models/fraud/1/")
    given = await model.given(DIGESTS[1])
    plan = draw(given, parsed(given), rule(given, parsed(given)))
    told = await Historian(model.rig.client, model.rig.store).record(plan.history, given)
    assert (True, first) == (told.unrecorded, told.revision)
    assert any(
        "more than 20 ControllerRevisions have the labels" in str(vars(one).get("error")) for one in caplog.records
    )


async def test_an_entry_that_is_larger_than_any_is_none(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    await model.serve(DIGESTS[0])
    entry = (await model.entries())[1]
    monkeypatch.setattr("modelward_operator.cluster.historian.LARGEST", len(json.dumps(entry["data"])))
    data = {**entry["data"], "more": "x"}
    kept = {key: entry["metadata"][key] for key in ("labels", "ownerReferences", "namespace")}
    planted = {**entry, "metadata": {**kept, "name": "fraud-rev-2"}, "data": data, "revision": 2}
    await model.rig.admin.create(REVISION, planted, manager="planter")
    await model.change("s3://models/fraud/1/")
    assert {"number": 3, "oldest": 1} == {key: (await model.serve(DIGESTS[1]))[key] for key in ("number", "oldest")}


async def test_nobody_changes_what_an_entry_says(model: Model) -> None:
    await model.serve(DIGESTS[0])
    entry = (await model.entries())[1]
    with pytest.raises(Rejected, match="immutable"):
        await model.rig.admin.patch(
            REVISION, model.rig.namespace, "fraud-rev-1", {"data": {"served": {"digest": "other"}}}, manager="user"
        )
    assert entry["data"] == (await model.entries())[1]["data"]


async def test_the_operator_itself_may_not_change_what_an_entry_says(model: Model) -> None:
    await model.serve(DIGESTS[0])
    assert isinstance(model.rig.client, ServiceAccountClient)
    for said in ({"served": {"digest": "other"}}, None):
        with pytest.raises(Rejected, match="immutable"):
            await model.rig.client.patch(
                REVISION, model.rig.namespace, "fraud-rev-1", {"data": said}, manager="modelward"
            )


async def test_an_entry_is_kept_as_the_api_server_writes_it_after_any_patch(model: Model, granted: ApiServer) -> None:
    """Else whoever patches it, the garbage collector for one, would be told that its data are immutable."""
    await model.serve(DIGESTS[0])
    path = REVISION.path(model.rig.namespace, "fraud-rev-1")
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    patched = request(granted, "PATCH", path, {"metadata": {"labels": {"team": "risk"}}}, headers=strategic)
    assert "risk" == patched["metadata"]["labels"]["team"]
