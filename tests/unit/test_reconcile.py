"""A pass under a spec, a PrivacyPolicy or a ModelPolicy that cannot be read: nothing changes, unless a room denies what runs."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from modelward_operator.cluster.apply import superfluous, up_to_date
from modelward_operator.facts import Applied, Given, Json, Key, Plan, Pod, Policy, Surroundings
from modelward_operator.plan import names
from modelward_operator.plan.standdown import stand_down
from modelward_operator.policies.governance.publickey import fingerprint
from modelward_operator.reconcile import reconcile
from modelward_operator.status.news import News
from modelward_operator.status.summarise import POLICY_LOOK
from tests.makers import live_deployment, make_given
from tests.public_keys import ALICE, BOB
from tests.unit.test_governance import SEALED, SIGNERS, loaded, policy

UNREADABLE = {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "a"}}}
EXTERNAL = {"scaling": {"autoscaler": "External"}}


@dataclass
class Stage:
    """A cluster with one model, which remembers what it is told."""

    given: Given
    plan: Plan | None = None
    status: Json | None = None
    told: tuple[News, ...] = ()

    async def gather(self, key: Key) -> Given | None:
        return self.given

    async def apply(self, plan: Plan, given: Given) -> Applied:
        self.plan = plan
        return Applied(1)

    async def write_status(self, given: Given, status: Json) -> bool:
        self.status = status
        return True

    async def tell(self, given: Given, items: list[News]) -> None:
        self.told = tuple(items)


def unreadable(*pods: Pod, spec: Json = SEALED, annotations: Json | None = None, **live: Any) -> Given:
    """A model that was served and whose spec was made unreadable, under a policy that trusts Alice alone."""
    deployment = live_deployment(make_given(spec), annotations=annotations, **live)
    deployment = {**deployment, "metadata": {**deployment["metadata"], "uid": "d-1", "resourceVersion": "7"}}
    given = make_given({**spec, **UNREADABLE}, children=(deployment,), pods=pods)
    return replace(given, around=Surroundings({}, (policy(requireEncryption=True, **SIGNERS),), {}))


def signed_by(key: str) -> Pod:
    return loaded(encrypted=True, signer={"name": "ci", "fingerprint": fingerprint(key)})


def ready_of(status: Json | None) -> Json:
    assert status is not None
    (found,) = (c for c in status["conditions"] if c["type"] == "Ready")
    return dict(found)


async def test_what_a_policy_forbids_is_taken_away() -> None:
    stage = Stage(unreadable(signed_by(BOB)))
    await reconcile(stage.given.key, stage)
    assert stage.plan is not None
    assert stage.plan.find("Deployment")["spec"]["replicas"] == 0
    ready = ready_of(stage.status)
    assert (ready["status"], ready["reason"]) == ("False", "ModelPolicyViolated")
    assert "ModelPolicy floor: pod fraud-a has loaded a model of the signer" in ready["message"]
    assert "the spec cannot be read (InvalidSpec): spec.resources.limits.cpu" in ready["message"]
    assert [news.reason for news in stage.told] == ["ModelPolicyViolated"]


async def test_what_meets_every_policy_runs_on() -> None:
    stage = Stage(unreadable(signed_by(ALICE)))
    await reconcile(stage.given.key, stage)
    assert stage.plan is None
    assert ready_of(stage.status)["reason"] == "InvalidSpec"


async def test_a_pod_that_has_not_said_what_it_loaded_is_looked_at_again() -> None:
    stage = Stage(unreadable(replace(signed_by(ALICE), report={"state": "Serving"}, mute=10.0)))
    assert await reconcile(stage.given.key, stage) == 2.0


UNREAD = "PrivacyPolicy standard (generation 4) cannot be read: spec.input.maxElements: input should be a valid integer"
NAMED: Json = {"privacy": {"policyRef": {"name": "standard"}}}


def under_unread(spec: Json, *policies: Policy, status: Json | None = None) -> Given:
    """A model that was served, under a PrivacyPolicy that was made unreadable."""
    deployment = live_deployment(make_given(SEALED))
    given = make_given({**SEALED, **NAMED, **spec}, children=(deployment,), pods=(signed_by(BOB),), status=status)
    return replace(given, around=Surroundings({}, policies, {}, unread=UNREAD))


async def test_under_a_privacy_policy_that_cannot_be_read_nothing_changes_and_the_status_says_why() -> None:
    before = {"type": "ModelAvailable", "status": "True", "reason": "Loaded", "message": "1 of 1"}
    stage = Stage(
        under_unread({"resources": {"limits": {"memory": "9Gi"}}}, status={"conditions": [before], "replicas": 1})
    )
    again = await reconcile(stage.given.key, stage)
    assert stage.plan is None
    assert stage.status is not None
    found = {c["type"]: c for c in stage.status["conditions"]}
    assert before == found["ModelAvailable"]
    assert 1 == stage.status["replicas"]
    for type_, value in (("PrivacyEnforced", "False"), ("Ready", "False"), ("Stalled", "True")):
        assert (value, "PrivacyPolicyInvalid") == (found[type_]["status"], found[type_]["reason"])
        assert found[type_]["message"] == (
            f"{UNREAD}. What runs keeps running, held to the policy before; nothing of the model changes until it is corrected."
        )
    assert [("Warning", "PrivacyPolicyInvalid")] == [(one.type, one.reason) for one in stage.told]
    assert again == POLICY_LOOK
    stage.given = replace(stage.given, raw={**stage.given.raw, "status": stage.status})
    said = stage.status
    await reconcile(stage.given.key, stage)
    assert (said, ()) == (stage.status, stage.told), "the second pass has nothing to say"


@pytest.mark.parametrize(
    ("spec", "policies", "reason"),
    [
        ({"suspend": True}, (), "Suspended"),
        ({}, (policy(requireEncryption=True, **SIGNERS),), "ModelPolicyViolated"),
    ],
)
async def test_what_a_room_denies_is_taken_away_though_the_privacy_policy_cannot_be_read(
    spec: Json, policies: tuple[Policy, ...], reason: str
) -> None:
    stage = Stage(under_unread(spec, *policies))
    await reconcile(stage.given.key, stage)
    assert stage.plan is not None
    assert stage.plan.find("Deployment")["spec"]["replicas"] == 0
    ready = ready_of(stage.status)
    assert ("False", reason) == (ready["status"], ready["reason"])
    assert ready["message"].endswith(f"; {UNREAD}")


UNREAD_FLOOR = "ModelPolicy floor (generation 2) cannot be read: spec.requireDigest: input should be a valid boolean"


def under_unread_floor(spec: Json, *policies: Policy, status: Json | None = None, unread: str = "") -> Given:
    """A model that was served, under a ModelPolicy that was made unreadable."""
    given = under_unread({**spec, **(NAMED if unread else {"privacy": None})}, *policies, status=status)
    return replace(given, around=replace(given.around, unread=unread, unread_policies=(UNREAD_FLOOR,)))


async def test_under_a_model_policy_that_cannot_be_read_nothing_changes_and_the_status_says_why() -> None:
    before = {"type": "ModelAvailable", "status": "True", "reason": "Loaded", "message": "1 of 1"}
    stage = Stage(
        under_unread_floor({"resources": {"limits": {"memory": "9Gi"}}}, status={"conditions": [before], "replicas": 1})
    )
    assert await reconcile(stage.given.key, stage) is None
    assert stage.plan is None
    assert stage.status is not None
    found = {c["type"]: c for c in stage.status["conditions"]}
    assert {"ModelAvailable", "Ready", "Stalled"} == found.keys()
    assert (before, 1) == (found["ModelAvailable"], stage.status["replicas"])
    for type_, value in (("Ready", "False"), ("Stalled", "True")):
        assert (value, "ModelPolicyInvalid") == (found[type_]["status"], found[type_]["reason"])
        assert found[type_]["message"] == (
            f"{UNREAD_FLOOR}. What runs keeps running; nothing of the model changes until it is corrected."
        )
    assert [("Warning", "ModelPolicyInvalid")] == [(one.type, one.reason) for one in stage.told]
    stage.given = replace(stage.given, raw={**stage.given.raw, "status": stage.status})
    said = stage.status
    await reconcile(stage.given.key, stage)
    assert (said, ()) == (stage.status, stage.told), "the second pass has nothing to say"


async def test_a_new_model_under_a_model_policy_that_cannot_be_read_gets_no_children() -> None:
    stage = Stage(replace(under_unread_floor({}), children=(), pods=()))
    await reconcile(stage.given.key, stage)
    assert stage.plan is None
    assert "ModelPolicyInvalid" == ready_of(stage.status)["reason"]


async def test_of_both_kinds_of_policies_that_cannot_be_read_each_is_told_of() -> None:
    stage = Stage(under_unread_floor({}, unread=UNREAD))
    await reconcile(stage.given.key, stage)
    assert stage.status is not None
    found = {c["type"]: c["reason"] for c in stage.status["conditions"]}
    assert ("ModelPolicyInvalid", "PrivacyPolicyInvalid") == (found["Ready"], found["PrivacyEnforced"])


@pytest.mark.parametrize(
    ("spec", "policies", "reason"),
    [
        ({"suspend": True}, (), "Suspended"),
        ({}, (policy(requireEncryption=True, **SIGNERS),), "ModelPolicyViolated"),
    ],
)
async def test_what_a_room_denies_is_taken_away_though_another_model_policy_cannot_be_read(
    spec: Json, policies: tuple[Policy, ...], reason: str
) -> None:
    stage = Stage(under_unread_floor(spec, *policies))
    await reconcile(stage.given.key, stage)
    assert stage.plan is not None
    assert 0 == stage.plan.find("Deployment")["spec"]["replicas"]
    ready = ready_of(stage.status)
    assert ("False", reason) == (ready["status"], ready["reason"])
    assert ready["message"].endswith(f"; {UNREAD_FLOOR}")


async def test_what_was_denied_stays_so_while_neither_its_policy_nor_its_spec_can_be_read() -> None:
    denied = {"type": "Ready", "status": "False", "reason": "ModelPolicyViolated", "message": "as it was"}
    given = unreadable(replicas=2)
    given = replace(
        given,
        raw={**given.raw, "status": {"conditions": [denied]}},
        around=replace(given.around, policies=(), unread_policies=(UNREAD_FLOOR,)),
    )
    stage = Stage(given)
    await reconcile(stage.given.key, stage)
    assert stage.plan is not None
    assert 0 == stage.plan.find("Deployment")["spec"]["replicas"]
    ready = ready_of(stage.status)
    assert ("False", "ModelPolicyViolated") == (ready["status"], ready["reason"])
    assert UNREAD_FLOOR in ready["message"]


def test_only_the_number_of_replicas_changes_and_nothing_is_pruned() -> None:
    given = unreadable(signed_by(BOB), replicas=3)
    (live,) = given.children
    plan = stand_down(given)
    planned = plan.find("Deployment")
    assert planned["spec"] == {**live["spec"], "replicas": 0}
    assert not {"status", "resourceVersion"} & {*planned, *planned["metadata"]}, "what is the server's is not applied"
    assert superfluous(plan, given) == []
    assert stand_down(make_given(UNREADABLE)).objects == ()


def test_the_second_pass_writes_nothing() -> None:
    given = unreadable(signed_by(BOB))
    planned = stand_down(given).find("Deployment")
    after = replace(given, children=(planned,))
    assert up_to_date(planned, stand_down(after).find("Deployment"))


@pytest.mark.parametrize(
    ("reason", "spec", "annotations", "replicas", "held"),
    [
        ("a fixed number is in the spec", SEALED, {}, 3, None),
        ("that of an autoscaler is kept", {**SEALED, **EXTERNAL}, {}, 3, "3"),
        (
            "also through a denial",
            {**SEALED, **EXTERNAL},
            {names.HELD_REPLICAS: "5", names.REPLICAS_OWNER: "operator"},
            0,
            "5",
        ),
    ],
)
def test_the_number_of_an_autoscaler_is_given_back_later(
    reason: str, spec: Json, annotations: Json, replicas: int, held: str | None
) -> None:
    given = unreadable(spec=spec, annotations=annotations, replicas=replicas)
    found = stand_down(given).find("Deployment")["metadata"]["annotations"]
    assert (found.get(names.HELD_REPLICAS), found[names.REPLICAS_OWNER]) == (held, "operator"), reason
