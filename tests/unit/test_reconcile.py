"""A pass under a spec that cannot be read: nothing changes, unless a policy forbids what the pods have loaded."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from modelward_operator.cluster.apply import superfluous, up_to_date
from modelward_operator.facts import Applied, Given, Json, Key, Plan, Pod, Surroundings
from modelward_operator.plan import names
from modelward_operator.plan.standdown import stand_down
from modelward_operator.policies.governance.publickey import fingerprint
from modelward_operator.reconcile import reconcile
from modelward_operator.status.news import News
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
