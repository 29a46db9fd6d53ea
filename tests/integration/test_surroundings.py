"""What lies around a model reaches it: the tenant of its namespace, the policies over it, the keys that it trusts."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import CONFIG_MAP, NAMESPACE, POLICY
from modelward_operator.policies.governance.publickey import fingerprint
from tests.integration.otherversion import store_as_another_version
from tests.integration.rig import URI, Rig, make_rig
from tests.public_keys import ALICE, BOB

TRUST = {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]}
SEALED = {
    "security": {
        "encryption": {"mode": "Required", "keyRef": {"provider": "Secret", "name": "kek"}},
        "verification": TRUST,
    }
}
SIGNED = {"security": {"verification": TRUST}}


@pytest.fixture
async def wide(client: Client, namespace: str) -> AsyncIterator[Rig]:
    """The operator's parts as they are where it serves every namespace."""
    async with make_rig(client, namespace, clusterwide=True) as made:
        yield made


async def label(rig: Rig, **labels: str) -> None:
    """Label the test's namespace."""
    body = {"metadata": {"labels": {f"modelward.dev/{name}": value for name, value in labels.items()}}}
    await rig.admin.patch(NAMESPACE, "", rig.namespace, body, manager="user")


async def govern(rig: Rig, name: str = "floor", **demands: Any) -> str:
    """Create a policy over the test's namespace alone, wait until the operator knows of it, and return its name."""
    full = f"{rig.namespace}-{name}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": rig.namespace}}
    body = {
        "apiVersion": POLICY.api_version,
        "kind": POLICY.kind,
        "metadata": {"name": full},
        "spec": {"namespaceSelector": selector, **demands},
    }
    await rig.admin.create(POLICY, body, manager="user")
    await rig.until(lambda: bool(rig.store.read(POLICY.kind, "", full)))
    return full


async def end(rig: Rig, policy: str) -> None:
    """Delete a policy and wait until the operator has heard of it."""
    live = await rig.admin.get(POLICY, "", policy)
    await rig.admin.delete(POLICY, "", policy, uid=live["metadata"]["uid"])
    await rig.until(lambda: not rig.store.read(POLICY.kind, "", policy))


async def publish(rig: Rig, pem: str, name: str = "ci-pub") -> None:
    """Write a public key into a ConfigMap."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": rig.namespace},
        "data": {"public.pem": pem},
    }
    await rig.admin.apply(CONFIG_MAP, body, manager="user", force=True)


async def tenant(rig: Rig) -> str:
    """Return the tenant in the boot.json that the Deployment mounts."""
    live = await rig.get("Deployment")
    (boot,) = (v["configMap"]["name"] for v in live["spec"]["template"]["spec"]["volumes"] if v["name"] == "boot")
    return str(json.loads((await rig.get("ConfigMap", boot))["data"]["boot.json"])["security"]["tenant"])


async def replicas(rig: Rig) -> int:
    return int((await rig.get("Deployment"))["spec"]["replicas"])


async def test_the_tenant_is_the_namespaces_name_until_its_label_says_another(wide: Rig) -> None:
    await wide.create(SEALED)
    await wide.reconcile()
    assert await tenant(wide) == wide.namespace
    await wide.heard_all()
    wide.rung.clear()
    await label(wide, tenant="risk")
    await wide.until(lambda: wide.key() in wide.rung)
    await wide.reconcile()
    assert await tenant(wide) == "risk"


async def test_a_name_that_another_namespace_claims_as_tenant_is_nobodys_until_it_is_labelled(wide: Rig) -> None:
    await wide.create(SEALED)
    await wide.reconcile()
    assert await replicas(wide) == 1
    await wide.heard_all()
    wide.rung.clear()
    labels = {"modelward.dev/tenant": wide.namespace}
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{wide.namespace}-x", "labels": labels}}
    await wide.admin.create(NAMESPACE, other, manager="user")
    await wide.until(lambda: wide.key() in wide.rung)
    await wide.reconcile()
    assert await replicas(wide) == 0
    assert (await wide.condition("Ready"))["reason"] == "TenantAmbiguous"
    await wide.heard_all()
    wide.rung.clear()
    await label(wide, tenant="mine")
    await wide.until(lambda: wide.key() in wide.rung)
    await wide.reconcile()
    assert (await replicas(wide), await tenant(wide)) == (1, "mine")


async def test_where_some_namespaces_are_served_the_tenant_is_asked_for(rig: Rig) -> None:
    await label(rig, tenant="risk")
    await rig.create(SEALED)
    await rig.reconcile()
    assert await tenant(rig) == "risk"


async def test_what_existed_before_a_policy_is_scaled_to_zero_and_serves_again_when_it_ends(wide: Rig) -> None:
    await wide.create()
    await wide.reconcile()
    assert await replicas(wide) == 1
    await wide.heard_all()
    wide.rung.clear()
    policy = await govern(wide, requireEncryption=True)
    await wide.until(lambda: wide.key() in wide.rung)
    await wide.reconcile()
    assert await replicas(wide) == 0
    ready = await wide.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ModelPolicyViolated")
    assert ready["message"] == f"ModelPolicy {policy}: spec.security.encryption.mode must be Required"
    await wide.heard_all()
    wide.rung.clear()
    await end(wide, policy)
    await wide.until(lambda: wide.key() in wide.rung)
    await wide.reconcile()
    assert await replicas(wide) == 1


async def test_the_key_itself_is_compared_with_the_list_of_signers(wide: Rig) -> None:
    await publish(wide, ALICE)
    policy = await govern(wide, requireVerification=True, trustedSigners=[fingerprint(BOB)])
    await wide.create(SIGNED)
    again = await wide.reconcile()
    assert await replicas(wide) == 0
    message = (await wide.condition("Ready"))["message"]
    assert message.startswith(
        f"ModelPolicy {policy}: trust ci: the key public.pem of ConfigMap ci-pub has the fingerprint"
    )
    assert fingerprint(ALICE) in message
    assert again is not None
    assert again <= 300.0, "sooner where an address is to be looked up again"
    await publish(wide, BOB, "bob-pub")
    await wide.change({"security": {"verification": {"trust": [{"name": "ci", "keyRef": {"name": "bob-pub"}}]}}})
    await wide.reconcile()
    assert await replicas(wide) == 1
    await end(wide, policy)


async def test_a_key_that_is_not_there_is_the_kubelets_to_tell(wide: Rig) -> None:
    policy = await govern(wide, requireVerification=True, trustedSigners=[fingerprint(BOB)])
    await wide.create(SIGNED)
    await wide.reconcile()
    assert await replicas(wide) == 1
    await end(wide, policy)


async def demand(rig: Rig, policy: str, **demands: Any) -> None:
    """Change a policy and wait until the operator knows of it."""
    patched = await rig.admin.patch(POLICY, "", policy, {"spec": demands}, manager="user")
    version = patched["metadata"]["resourceVersion"]
    await rig.until(
        lambda: rig.store.read(POLICY.kind, "", policy).get("metadata", {}).get("resourceVersion") == version
    )


async def test_a_stored_policy_that_cannot_be_read_holds_the_models_as_they_are_and_says_so(wide: Rig) -> None:
    policy = await govern(wide, allowedUriPrefixes=[URI])
    await wide.create({"scaling": {"replicas": 2}})
    for _ in range(2):
        await wide.reconcile()
        await wide.heard_all()
    before = await wide.children()
    wide.rung.clear()
    wrong = {"apiVersion": POLICY.api_version, "kind": POLICY.kind, "metadata": {"name": "wrong"}}
    await store_as_another_version(
        wide,
        "modelpolicies",
        lambda: demand(wide, policy, requireDigest="maybe"),
        lambda: wide.admin.create(POLICY, {**wrong, "spec": {"requireDigest": "maybe"}}, manager="user", dry_run=True),
    )
    await wide.until(lambda: wide.key() in wide.rung)
    await wide.change({"resources": {"limits": {"memory": "9Gi"}}})
    await wide.reconcile()
    assert before == await wide.children()
    ready = await wide.condition("Ready")
    assert ("False", "ModelPolicyInvalid") == (ready["status"], ready["reason"])
    assert f"ModelPolicy {policy} (generation 2) cannot be read: spec.requireDigest" in ready["message"]
    await wide.heard_all()
    wide.writes.clear()
    await wide.reconcile()
    assert wide.writes == {}

    await wide.create(None, "later")
    await wide.reconcile("later")
    assert "ModelPolicyInvalid" == (await wide.condition("Ready", "later"))["reason"]
    assert not wide.live("Deployment", "later")

    await wide.change({"suspend": True})
    await wide.reconcile()
    assert 0 == await replicas(wide)
    await wide.heard_all()
    await wide.change({"suspend": None})
    wide.rung.clear()
    await demand(wide, policy, requireDigest=None)
    await wide.until(lambda: {wide.key(), wide.key("later")} <= set(wide.rung))
    await wide.reconcile()
    assert 2 == await replicas(wide)
    await end(wide, policy)
