"""What containers said survives a restart of the operator, and nothing that they did not say."""

from dataclasses import replace
from typing import Any, cast

import aiohttp
import pytest

from modelward_operator.api.status import ModelDeploymentStatus
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.kinds import NAMESPACE, Resource
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Given, Json, Key, Pod
from modelward_operator.policies.governance.pods import in_pods
from modelward_operator.policies.governance.publickey import fingerprint
from modelward_operator.policies.governance.rule import governance
from modelward_operator.status.heard import heard, remembered, short
from tests.makers import INSTALLATION, NOW, make_model, make_pod, parsed
from tests.public_keys import ALICE
from tests.specs import HEX
from tests.unit.test_governance import SIGNED, SIGNERS, governed, holding, policy

SAID: Json = {
    "state": "Ready",
    "model": {
        "uri": "s3://a/",
        "encrypted": True,
        "verified": True,
        "signer": {"name": "ci", "fingerprint": fingerprint(ALICE)},
    },
    "access": {"authentication": "TokenReview", "tls": None},
}


def pod(name: str, report: Json | None = None, container: str = "", **more: Any) -> Pod:
    """A ready pod with a container of this ID."""
    made = make_pod(name, is_ready=True, report=SAID if report is None else report, **more)
    status = made.raw["status"]
    containers = [{**status["containerStatuses"][0], "containerID": container or f"containerd://{name}"}]
    return replace(made, raw={**made.raw, "status": {**status, "containerStatuses": containers}})


def known(*pods: Pod) -> list[Json]:
    return heard(governed(SIGNED, policy(**SIGNERS), pods=pods))


def test_what_was_said_comes_back_as_far_as_policies_ask() -> None:
    entries = known(pod("a"))
    assert entries[0]["containers"] == [short("containerd://a")]
    back = remembered({"status": {"heard": entries}}, "containerd://a")
    assert back == {
        "state": "Ready",
        "model": {"uri": "s3://a/", "encrypted": True, "verified": True, "signer": {"fingerprint": fingerprint(ALICE)}},
        "access": {"authentication": "TokenReview"},
    }
    ModelDeploymentStatus.model_validate({"heard": entries})


REPORTS: list[tuple[str, Json]] = [
    ("all that policies ask", SAID),
    (
        "a CA that vouches for the signer",
        {**SAID, "model": {**SAID["model"], "signer": {"fingerprint": "x", "authority": fingerprint(ALICE)}}},
    ),
    ("a stranger's signature", {**SAID, "model": {**SAID["model"], "signer": {"fingerprint": f"sha256:{HEX}"}}}),
    ("no signature", {**SAID, "model": {"uri": "s3://a/", "encrypted": True}}),
    ("nothing of it", {"state": "Ready", "model": {}}),
]


@pytest.mark.parametrize(("reason", "report"), REPORTS, ids=[row[0] for row in REPORTS])
def test_what_is_remembered_is_judged_as_what_was_said(reason: str, report: Json) -> None:
    floor = policy(requireEncryption=True, requireDigest=True, requireAuthentication=True, **SIGNERS)
    pods = [pod("a", report)]
    back = remembered({"status": {"heard": heard(governed(SIGNED, floor, pods=tuple(pods)))}}, "containerd://a")
    pods.append(replace(pod("a", {}), last_loaded=back))
    said, again = (list(in_pods(floor.spec, governed(SIGNED, floor, pods=(one,)))) for one in pods)
    assert said == again, reason


def test_nothing_comes_back_of_another_container() -> None:
    model = {"status": {"heard": known(pod("a"))}}
    for container in ("containerd://b", ""):
        assert remembered(model, container) == {}
    assert remembered({}, "containerd://a") == {}


def test_pods_that_say_the_same_share_an_entry() -> None:
    plain = {"state": "Ready", "model": {"uri": "s3://a/"}}
    entries = known(pod("b"), pod("a"), pod("c", plain))
    assert sorted(len(entry["containers"]) for entry in entries) == [1, 2]
    assert entries == known(pod("c", plain), pod("a"), pod("b")), "the order of pods changes no status"


@pytest.mark.parametrize(
    ("reason", "pods"),
    [
        ("it has not loaded", [pod("a", {"state": "Loading"})]),
        ("it is about to end", [pod("a", is_ending=True)]),
        ("it is over", [pod("a", phase="Failed")]),
        ("its container does not run", [pod("a", state={"waiting": {}})]),
    ],
)
def test_nothing_is_remembered_of_a_pod(reason: str, pods: list[Pod]) -> None:
    assert known(*pods) == [], reason


def test_without_a_policy_nothing_is_written() -> None:
    assert heard(governed(SIGNED, pods=(pod("a"),))) == []


def test_strange_reports_are_held_to_their_form() -> None:
    strange = {"state": "Ready", "model": {"uri": 7, "encrypted": "yes", "signer": ["ci"]}, "access": "none"}
    assert known(pod("a", strange)) == [{"containers": [short("containerd://a")]}]
    model = {"status": {"heard": known(pod("a", strange))}}
    assert remembered(model, "containerd://a") == {"state": "Ready", "model": {}}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Namespaces:
    """A client that knows every namespace, and nothing else."""

    async def get(self, resource: Resource, *_: object) -> Json:
        if resource != NAMESPACE:
            raise Unreadable(f"{resource.kind} is nobody's here")
        return {"metadata": {}}


async def gathered(status: Json, clock: Clock, gatherer: Gatherer | None = None) -> tuple[Given, Gatherer]:
    """Gather a model with one ready pod that nobody can reach, by an operator that has just started."""
    store = Store()
    silent = pod("a", {}).raw
    labels = {"modelward.dev/model": "fraud"}
    store.feed({**make_model(SIGNED, resourceVersion="1"), "status": status})
    store.feed(
        {
            "kind": "Pod",
            **silent,
            "metadata": {**silent["metadata"], "uid": "p", "resourceVersion": "2", "labels": labels},
        }
    )
    async with aiohttp.ClientSession() as session:
        made = gatherer or Gatherer(
            cast("Client", Namespaces()), store, INSTALLATION, session, now=lambda: NOW, clock=clock
        )
        given = await made.gather(Key("risk", "fraud"))
    assert given is not None
    return given, made


@pytest.mark.parametrize(("reason", "before", "denied"), [("it was heard", True, False), ("it never was", False, True)])
async def test_an_operator_that_starts_where_it_can_reach_no_pod(reason: str, before: bool, denied: bool) -> None:
    clock = Clock()
    status = {"heard": known(pod("a"))} if before else {}
    _, gatherer = await gathered(status, clock)
    clock.now += 3600
    given, _ = await gathered(status, clock, gatherer)
    around = governed(SIGNED, policy(**SIGNERS), trust=holding(ALICE)).around
    given = replace(given, around=around)
    assert denied == governance(given, parsed(given)).denied, reason
