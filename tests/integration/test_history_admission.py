"""Who may write a model's history, on a real API server with the chart's policies: `rollback` goes back to what stands there."""

from functools import partial

import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import REVISION
from modelward_operator.plan import names
from tests.integration.apiserver import ApiServer
from tests.integration.guard import MERGE, allow, guard, refusal, until_refused
from tests.integration.histories import DIGESTS, Model
from tests.integration.rest import Json, request
from tests.integration.rig import ServiceAccountClient, make_rig
from tests.integration.rights import grant_chart

WORDS = "is an entry of its history, and is written by the operator alone"
WRITE: Json = {
    "apiGroups": ["apps"],
    "resources": ["controllerrevisions"],
    "verbs": ["create", "update", "patch", "get"],
}
RECORD: Json = {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments"], "verbs": ["record"]}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


class Writers:
    """Who may write ControllerRevisions and nothing else, and who may write histories as well."""

    def __init__(self, server: ApiServer) -> None:
        self.server = guard(grant_chart(server))
        self.planter = allow(server, "history-planter", WRITE)
        self.restorer = allow(server, "history-restorer", WRITE, RECORD)

    def plant(self, who: Json, namespace: str = "default", labels: Json | None = None, **meta: object) -> Json:
        """Try to make an entry, and leave all as it is."""
        made = {"name": "fraud-rev-7", "labels": names.selector("fraud") if labels is None else labels, **meta}
        body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": made, "data": {}, "revision": 7}
        return request(self.server, "POST", f"{REVISION.path(namespace)}?dryRun=All", body, headers=who)

    def patch(self, who: Json, namespace: str, body: Json, headers: Json = MERGE) -> Json:
        path = f"{REVISION.path(namespace, 'fraud-rev-1')}?dryRun=All"
        return request(self.server, "PATCH", path, body, headers={**headers, **who})


@pytest.fixture(scope="module")
def writers(server: ApiServer) -> Writers:
    """The chart's policies in force."""
    made = Writers(server)
    until_refused(lambda: made.plant(made.planter), WORDS)
    return made


def test_an_entry_is_made_by_who_may_record_it(writers: Writers) -> None:
    said = refusal(lambda: writers.plant(writers.planter))
    assert "takes the right to `record` modeldeployments.modelward.dev" in said
    writers.plant(writers.restorer)


def test_what_does_not_claim_to_be_an_entry_is_nobodys_business(writers: Writers) -> None:
    for labels in ({}, {"app": "web"}, {names.MODEL_LABEL: "fraud"}, {names.MANAGED_BY: names.MANAGER}):
        writers.plant(writers.planter, labels=labels)
    bare = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"generateName": "web-"}, "revision": 1}
    request(
        writers.server, "POST", f"{REVISION.path('default')}?dryRun=All", {**bare, "data": {}}, headers=writers.planter
    )


async def test_the_operator_makes_entries_and_nobody_changes_them(
    writers: Writers, client: Client, namespace: str
) -> None:
    async with make_rig(client, namespace, client_type=ServiceAccountClient) as rig:
        await rig.create({})
        await rig.reconcile()
        assert 1 == (await Model(rig).serve(DIGESTS[0]))["number"]
        entry = (await Model(rig).entries())[1]
    uid, owners = entry["metadata"]["ownerReferences"][0]["uid"], [*entry["metadata"]["ownerReferences"]]
    other = {**owners[0], "uid": "00000000-0000-0000-0000-000000000000", "controller": False}
    changes: list[Json] = [
        {"revision": 9},
        {"metadata": {"labels": {names.MODEL_LABEL: "other"}}},
        {"metadata": {"annotations": {names.CHANGE_CAUSE: "quite another"}}},
        {"metadata": {"ownerReferences": [*owners, other]}},
    ]
    for body in changes:
        assert WORDS in refusal(partial(writers.patch, writers.planter, namespace, body)), body
    lost = {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": uid}], "uid": entry["metadata"]["uid"]}}
    freed = writers.patch(writers.planter, namespace, lost, STRATEGIC)
    assert "ownerReferences" not in freed["metadata"], "as the garbage collector does it with --cascade=orphan"


def test_an_object_does_not_become_an_entry_afterwards(writers: Writers) -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": "fraud-rev-1", "labels": {"app": "web"}},
        "data": {},
        "revision": 1,
    }
    request(writers.server, "POST", REVISION.path("default"), body, headers=writers.planter)
    labelled = {"metadata": {"labels": names.selector("fraud")}}
    assert WORDS in refusal(lambda: writers.patch(writers.planter, "default", labelled))
    writers.patch(writers.restorer, "default", labelled)
