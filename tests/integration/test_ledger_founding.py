"""The operator makes the ledger that a policy needs, once, gives pods the right to it, and takes neither away with a model or policy."""

from typing import Any

import pytest

from modelward_operator.cluster.client import NotFound
from modelward_operator.cluster.founder import SETTLED, Founder
from modelward_operator.cluster.kinds import LEDGER, MODEL, PRIVACY
from tests.integration.rig import Rig
from tests.integration.test_privacy import NAMED, make
from tests.privacy_specs import BY_CALLER, private

FOR_ALL = private("")
FOR_EACH = private("", **BY_CALLER, subjectKeyRef="{name: epsilon, key: key}")
ROW = {"observedTime": "2026-11-25T12:00:00Z", "keyCheck": "k",
       "rows": {"all": {"spent": 5, "resetTime": "2026-11-26T00:00:00Z"}}}  # fmt: skip


async def ledger(rig: Rig, name: str = "standard-all") -> dict[str, Any]:
    return await rig.admin.get(LEDGER, rig.namespace, name)


async def test_a_budget_for_each_caller_has_its_sixteen_shards_and_a_role_for_them(rig: Rig) -> None:
    await make(rig, FOR_EACH)
    await rig.create(NAMED)
    await rig.reconcile()
    for digit in "0123456789abcdef":
        made = await ledger(rig, f"standard-{digit}")
        assert {"policy": "standard", "shard": digit} == made["spec"]
        assert "ownerReferences" not in made["metadata"]
    names = {name for rule in (await rig.get("Role", "fraud-spend"))["rules"] for name in rule["resourceNames"]}
    assert {f"standard-{digit}" for digit in "0123456789abcdef"} == names


async def test_what_was_spent_outlives_passes_models_and_policies(rig: Rig) -> None:
    await make(rig, FOR_ALL)
    await rig.create(NAMED)
    await rig.reconcile()
    await rig.admin.patch(LEDGER, rig.namespace, "standard-all", {"status": ROW}, manager="pod", subresource="status")
    await rig.heard_all()
    rig.writes.clear()
    await rig.reconcile()
    assert not [key for key in rig.writes if key[1] == LEDGER.kind], "a known ledger is not asked for again"
    for resource, name in ((MODEL, "fraud"), (PRIVACY, "standard")):
        live = await rig.admin.get(resource, rig.namespace, name)
        await rig.admin.delete(resource, rig.namespace, name, uid=live["metadata"]["uid"])
    await rig.unknown(MODEL.kind)
    await rig.until(lambda: not rig.live(PRIVACY.kind, "standard"))
    await make(rig, FOR_ALL)
    await rig.create(NAMED)
    await rig.reconcile()
    assert ROW["rows"] == (await ledger(rig))["status"]["rows"]


async def test_a_ledger_that_somebody_deleted_comes_back_empty(rig: Rig) -> None:
    now = 1000.0
    founder = Founder(rig.client, lambda: now)
    await make(rig, FOR_ALL)
    await rig.create(NAMED)
    await rig.reconcile()
    made = await ledger(rig)
    wanted = {name: made[name] for name in ("apiVersion", "kind", "spec")}
    wanted["metadata"] = {"name": "standard-all", "namespace": rig.namespace}
    assert 0 == (await founder.found([wanted])).writes
    await rig.admin.delete(LEDGER, rig.namespace, "standard-all", uid=made["metadata"]["uid"])
    assert 0 == (await founder.found([wanted])).writes
    with pytest.raises(NotFound):
        await ledger(rig)
    now += SETTLED
    assert 1 == (await founder.found([wanted])).writes
    assert "status" not in await ledger(rig)


async def test_a_ledger_that_cannot_be_made_is_told_and_tried_again(rig: Rig) -> None:
    founder = Founder(rig.client)
    elsewhere = {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "PrivacyLedger",
        "metadata": {"name": "standard-all", "namespace": "not-there"},
        "spec": {"policy": "standard", "shard": "all"},
    }
    for _ in range(2):
        (refusal,) = (await founder.found([elsewhere])).refusals
        assert ("PrivacyLedger", "standard-all", "Rejected") == (refusal.kind, refusal.name, refusal.reason)
