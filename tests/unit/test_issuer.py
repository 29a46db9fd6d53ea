"""What the issuer does when something breaks off in the middle: nothing of it stays, and no stranger's Secret is touched."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.issuer import COLLECTED, Issuer
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Applied, Json, Order
from modelward_operator.plan import names
from tests.makers import make_given

GIVEN = make_given({"security": {"tls": {"mode": "Managed"}}})
ORDER = Order(("fraud", "fraud.risk"))


class Api:
    """An API server that answers the create of a Secret with `refusal`, and remembers the rest."""

    def __init__(self, refusal: OperatorError | None = None) -> None:
        self.refusal, self.live = refusal, dict[tuple[str, str], dict[str, Any]]()
        self.asked: list[str] = []

    async def get(self, _resource: Resource, _namespace: str, name: str) -> Json:
        raise NotFound(name)

    async def create(self, resource: Resource, body: Json, *, manager: str) -> Json:
        assert manager == "modelward"
        name = body["metadata"]["name"]
        if resource.kind == "Secret" and name != "modelward-ca":
            self.asked.append(f"create {resource.kind}")
            if self.refusal:
                raise self.refusal
        metadata = {**body["metadata"], "uid": f"uid of {resource.kind}", "resourceVersion": "1"}
        made = {**body, "metadata": metadata}
        self.live[resource.kind, name] = made
        return made

    async def patch(self, resource: Resource, _namespace: str, name: str, body: Json, *, manager: str) -> Json:
        assert manager == "modelward"
        live = self.live[resource.kind, name]
        assert body["metadata"]["uid"] == live["metadata"]["uid"]
        annotations = {**live["metadata"]["annotations"], **body["metadata"].get("annotations", {})}
        live["metadata"] = {**live["metadata"], **body["metadata"], "annotations": annotations, "resourceVersion": "2"}
        return live

    async def pages(self, resource: Resource, _namespace: str) -> AsyncIterator[tuple[list[Json], str]]:
        self.asked.append(f"list {resource.kind}")
        yield [body for (kind, _), body in self.live.items() if kind == resource.kind], "1"

    async def delete(self, resource: Resource, _namespace: str, name: str, *, uid: str) -> Json:
        self.asked.append(f"delete {resource.kind}")
        assert self.live[resource.kind, name]["metadata"]["uid"] == uid
        return self.live.pop((resource.kind, name))

    @property
    def records(self) -> list[dict[str, Any]]:
        return [body for (kind, _), body in self.live.items() if kind == "ConfigMap"]


class Time:
    now = 0.0


def issuer(api: Api) -> Issuer:
    client = cast("Client", api)
    authorities = Authorities(client, "modelward-system", now=lambda: datetime.now(UTC), clock=lambda: Time.now)
    return Issuer(client, Store(), authorities, lambda: Time.now)


async def test_the_secret_is_owned_by_its_record_and_the_record_says_that_it_is_there() -> None:
    api = Api()
    assert Applied(3) == await issuer(api).issue(ORDER, GIVEN)
    secret, (record,) = api.live["Secret", "fraud-tls"], api.records
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "controller": True}
    owner |= {"name": record["metadata"]["name"], "uid": "uid of ConfigMap"}
    assert [owner] == secret["metadata"]["ownerReferences"]
    assert record["metadata"]["annotations"][names.ISSUED] == "uid of Secret"
    assert record["data"]["dnsNames"] == "fraud fraud.risk"


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Rejected("a quota"), "Rejected"),
        (NotFound("the namespace"), "Rejected"),
        (Unreadable("no answer"), "Unwritten"),
        (Conflict("it exists"), "Unwritten"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_secret_that_cannot_be_made_leaves_no_record(refusal: OperatorError, reason: str) -> None:
    api = Api(refusal)
    applied = await issuer(api).issue(ORDER, GIVEN)
    assert [(one.kind, one.name, one.reason) for one in applied.refusals] == [("Secret", "fraud-tls", reason)]
    assert api.records == []
    assert api.asked == ["create Secret", "delete ConfigMap"], "and no Secret is deleted"


async def test_a_name_that_stays_taken_is_a_strangers_until_it_is_free() -> None:
    api = Api(Conflict("it exists"))
    subject = issuer(api)
    Time.now = 0.0
    reasons = []
    for Time.now in (0.0, COLLECTED - 1, COLLECTED + 1):
        (refusal,) = (await subject.issue(ORDER, GIVEN)).refusals
        reasons.append(refusal.reason)
    assert reasons == ["Unwritten", "Unwritten", "NotOwned"]
    api.refusal = None
    assert (await subject.issue(ORDER, GIVEN)).refusals == ()
    api.refusal = Conflict("it exists")
    (again,) = (await subject.issue(ORDER, GIVEN)).refusals
    assert again.reason == "Unwritten", "the time begins anew"


@pytest.mark.parametrize("lost", ["labels", "ownerReferences"])
async def test_a_record_that_lost_its_marks_to_somebody_s_hand_is_marked_again(lost: str) -> None:
    api = Api()
    subject = issuer(api)
    await subject.issue(ORDER, GIVEN)
    ((_, name), record) = next(item for item in api.live.items() if item[0][0] == "ConfigMap")
    whole = record["metadata"]
    theirs = {"labels": {"x": "y"}, "ownerReferences": [{**whole["ownerReferences"][0], "controller": False}]}
    record["metadata"] = {**whole, lost: theirs[lost]}
    api.refusal = Conflict("its Secret exists")
    (refusal,) = (await subject.issue(ORDER, GIVEN)).refusals
    assert refusal.reason == "Unwritten", "it may be one that is about to go"
    assert (await subject.issue(ORDER, GIVEN)).refusals == ()
    assert [name] == [one["metadata"]["name"] for one in api.records]
    assert api.records[0]["metadata"][lost] == whole[lost]
