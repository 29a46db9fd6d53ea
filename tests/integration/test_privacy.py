"""A PrivacyPolicy and the models that name it, on a real API server: made, changed and deleted."""

import json
from typing import Any

import pytest
import yaml

from modelward_operator.cluster.client import Rejected
from modelward_operator.cluster.kinds import PRIVACY
from tests.integration.otherversion import store_as_another_version
from tests.integration.rig import Rig
from tests.privacy_specs import FILE, audit, privacy_policy

NAMED = {"privacy": {"policyRef": {"name": "standard"}}, "scaling": {"replicas": 2}}
STRICT = "{input: {maxElements: 10}, output: {tensors: [{name: p, topK: 3}]}}"


async def make(rig: Rig, spec: str = STRICT) -> dict[str, Any]:
    """Create the policy `standard` and wait until the operator knows of it."""
    body = privacy_policy(spec, "standard")
    made = await rig.admin.create(
        PRIVACY, {**body, "metadata": {**body["metadata"], "namespace": rig.namespace}}, manager="user"
    )
    await rig.until(lambda: bool(rig.live(PRIVACY.kind, "standard")))
    return made


async def change(rig: Rig, spec: Any) -> None:
    """Merge-patch the policy and wait until the operator knows of it."""
    patched = await rig.admin.patch(PRIVACY, rig.namespace, "standard", {"spec": spec}, manager="user")
    await rig.heard(PRIVACY.kind, "standard", int(patched["metadata"]["resourceVersion"]))


async def policy_json(rig: Rig) -> dict[str, Any]:
    """Return the policy.json that pods read."""
    return dict(json.loads((await rig.get("ConfigMap", "fraud-policy"))["data"]["policy.json"]))


async def replicas(rig: Rig) -> int:
    return int((await rig.get("Deployment"))["spec"]["replicas"])


async def rung(rig: Rig) -> None:
    """Wait until the model is rung for."""
    await rig.until(lambda: rig.key() in rig.rung)
    rig.rung.clear()


async def test_a_model_waits_for_its_policy_and_serves_under_it(rig: Rig) -> None:
    await rig.create(NAMED)
    await rig.reconcile()
    assert await replicas(rig) == 0
    for type_ in ("PrivacyEnforced", "Ready"):
        found = await rig.condition(type_)
        assert (found["status"], found["reason"]) == ("False", "PrivacyPolicyNotFound")
    await rig.heard_all()
    rig.rung.clear()
    made = await make(rig)
    await rung(rig)
    await rig.reconcile()
    assert await replicas(rig) == 2
    section = (await policy_json(rig))["privacy"]
    assert (section["policy"], section["policyGeneration"]) == ("standard", made["metadata"]["generation"])
    found = await rig.condition("PrivacyEnforced")
    assert (found["status"], found["reason"]) == ("Unknown", "Starting")


async def test_a_change_reaches_running_pods_and_replaces_none(rig: Rig) -> None:
    await make(rig)
    await rig.create(NAMED)
    await rig.reconcile()
    await rig.heard_all()
    before, workload = await policy_json(rig), await rig.get("Deployment")
    rig.rung.clear()
    await change(rig, {"input": {"maxElements": 9}})
    await rung(rig)
    await rig.reconcile()
    after = await policy_json(rig)
    assert (before["privacy"]["policyGeneration"], after["privacy"]["policyGeneration"]) == (1, 2)
    assert before["generation"] != after["generation"]
    assert workload["spec"] == (await rig.get("Deployment"))["spec"]


async def test_a_pass_under_a_policy_writes_nothing_twice(rig: Rig) -> None:
    await make(rig, "{input: {pii: [{kinds: [Email], action: Hash}], hashKeyRef: {name: pii, key: key}}}")
    await rig.create(NAMED)
    for _ in range(2):
        await rig.reconcile()
        await rig.heard_all()
    before = await rig.versions()
    await rig.reconcile()
    assert before == await rig.versions()


async def test_without_its_policy_a_model_stops_and_pods_that_drain_keep_their_rules(rig: Rig) -> None:
    made = await make(rig)
    await rig.create(NAMED)
    await rig.reconcile()
    await rig.heard_all()
    before = await policy_json(rig)
    rig.rung.clear()
    await rig.admin.delete(PRIVACY, rig.namespace, "standard", uid=made["metadata"]["uid"])
    await rung(rig)
    await rig.reconcile()
    assert await replicas(rig) == 0
    assert await policy_json(rig) == before


async def test_a_model_that_is_heard_of_before_its_policy_is_not_stopped(rig: Rig) -> None:
    """The two come by two watches; the store may know the one and not yet the other."""
    made = await make(rig)
    rig.store.drop({**made, "metadata": {**made["metadata"], "resourceVersion": "1"}})
    rig.store.forget((PRIVACY.kind, rig.namespace, "standard"), made["metadata"]["uid"])
    assert not rig.live(PRIVACY.kind, "standard")
    await rig.create(NAMED)
    await rig.reconcile()
    assert await replicas(rig) == 2


async def test_only_the_models_that_name_it_are_rung_for(rig: Rig) -> None:
    await rig.create(NAMED)
    await rig.create(None, "other")
    await rig.reconcile()
    await rig.reconcile("other")
    await rig.until(lambda: bool(rig.live("Deployment", "other")))
    await make(rig)
    rig.rung.clear()
    await change(rig, {"input": {"maxElements": 9}})
    await rung(rig)
    assert rig.key("other") not in rig.rung


async def store_newer(rig: Rig, spec: Any) -> None:
    """Change the policy to what this version's CRD refuses."""
    wrong = privacy_policy("{input: {maxElements: many}}", "wrong")
    wrong["metadata"]["namespace"] = rig.namespace
    await store_as_another_version(
        rig,
        "privacypolicies",
        lambda: change(rig, spec),
        lambda: rig.admin.create(PRIVACY, wrong, manager="user", dry_run=True),
    )


async def test_a_stored_policy_that_cannot_be_read_holds_the_model_as_it_is_and_says_so(rig: Rig) -> None:
    await make(rig)
    await rig.create(NAMED)
    for _ in range(2):
        await rig.reconcile()
        await rig.heard_all()
    before = await rig.children()
    rig.rung.clear()
    await store_newer(rig, {"input": {"maxElements": "many"}})
    await rung(rig)
    await rig.change({"resources": {"limits": {"memory": "9Gi"}}})
    await rig.reconcile()
    assert before == await rig.children()
    for type_ in ("PrivacyEnforced", "Ready"):
        found = await rig.condition(type_)
        assert ("False", "PrivacyPolicyInvalid") == (found["status"], found["reason"])
        assert "PrivacyPolicy standard (generation 2) cannot be read: spec.input.maxElements" in found["message"]
    await rig.heard_all()
    rig.writes.clear()
    await rig.reconcile()
    assert rig.writes == {}

    await rig.change({"suspend": True})
    await rig.reconcile()
    assert 0 == await replicas(rig)
    await rig.heard_all()
    await rig.change({"suspend": None})
    rig.rung.clear()
    await change(rig, {"input": {"maxElements": 9}})
    await rung(rig)
    await rig.reconcile()
    assert 2 == await replicas(rig)
    assert ("Unknown", "Starting") == ((found := await rig.condition("PrivacyEnforced"))["status"], found["reason"])
    assert 9 == (await policy_json(rig))["privacy"]["input"]["maxElements"]


async def test_a_stored_policy_that_newer_rules_refuse_is_drawn_and_may_change_elsewhere(rig: Rig) -> None:
    await make(rig)
    await rig.create(NAMED)
    await store_newer(rig, yaml.safe_load(audit(f"required: true, {FILE}")))
    await rig.reconcile()
    assert (await policy_json(rig))["audit"]["required"] is True
    with pytest.raises(Rejected, match="required with a File sink needs"):
        await change(rig, {"audit": {"checkpointSeconds": 30}})
    await change(rig, {"input": {"maxElements": 9}})
    await change(rig, {"audit": {"sink": {"file": {"sizeLimit": "1Gi"}}}})
