"""Broken models beside good ones: each is told once what is wrong, costs next to nothing from then on, and keeps no good one waiting."""

import asyncio
import time
from pathlib import Path
from typing import Any

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import DEPLOYMENT, LEASE, MODEL, SERVICE
from modelward_operator.cluster.lease import NAME
from tests.integration.apiserver import ApiServer
from tests.integration.running import Running, create, running, until

STRANGERS = [f"stranger-{number}" for number in range(15)]
LAWLESS = [f"lawless-{number}" for number in range(15)]
GOOD = [f"good-{number}" for number in range(10)]
PATIENCE = 60.0
SOME_TIME = 10.0
"""Seconds, less than until what was refused is tried again."""
LONG = {"LEASE_SECONDS": "300"}
"""What a new leader finds waiting counts as urgent for twice as long: on a busy machine it takes a while to make a crowd."""
CROWD = 30
"""Good models that are made at once; of broken ones there are three times as many."""
AGEING = 6.0
"""Seconds after which what waits without urgency may take a turn between what is urgent: a little more than the queue's own."""


async def test_good_models_are_served_among_broken_ones_which_soon_cost_nothing(
    server: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    for name in STRANGERS:
        await client.create(SERVICE, strangers(namespace, name), manager="user")
    async with running(server, tmp_path, namespace) as operator:
        for name in STRANGERS:
            await create(client, namespace, name)
        for name in LAWLESS:
            await create(client, namespace, name, {"privacy": {"policyRef": {"name": "nowhere"}}})
        for name in GOOD:
            await create(client, namespace, name)

        async def ready() -> dict[str, tuple[str, str]]:
            return {
                m["metadata"]["name"]: reason_of(m) async for page, _ in client.pages(MODEL, namespace) for m in page
            }

        async def all_told() -> bool:
            said = await ready()
            return all(said[name][0] == "False" for name in [*STRANGERS, *LAWLESS])

        async def all_made() -> bool:
            made = {d["metadata"]["name"] async for page, _ in client.pages(DEPLOYMENT, namespace) for d in page}
            return made >= set(GOOD)

        await until(all_made, PATIENCE)
        await until(all_told, PATIENCE)
        said = await ready()
        assert {said[name][1] for name in STRANGERS} == {"ChildNotOwned"}
        assert {said[name][1] for name in LAWLESS} == {"PrivacyPolicyNotFound"}
        assert (await client.get(SERVICE, namespace, STRANGERS[0]))["spec"]["selector"] == {"app": "another"}

        await rest(operator)
        began, passes, writes = time.monotonic(), await counted(operator), await written(operator)
        await asyncio.sleep(SOME_TIME)
        assert await written(operator) == writes
        more = await counted(operator) - passes
        passed = time.monotonic() - began
        most = len(STRANGERS) * (passed // 15 + 1) + len(LAWLESS) * (passed / 3 + 1)
        assert more <= most, "what is wrong is looked at now and then"

        await client.patch(MODEL, namespace, GOOD[0], {"spec": {"scaling": {"replicas": 2}}}, manager="user")

        async def changed() -> bool:
            return bool((await client.get(DEPLOYMENT, namespace, GOOD[0]))["spec"]["replicas"] == 2)

        await until(changed, PATIENCE)


async def test_a_crowd_of_good_models_has_its_turns_nearly_as_early_among_three_times_as_many_broken_ones(
    server: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    """In turns, not in seconds: they are in the log. While somebody else leads, all that is due piles up."""
    broken = [f"broken-{number}" for number in range(3 * CROWD)]

    async def all_refused() -> bool:
        said = {m["metadata"]["name"]: reason_of(m) async for page, _ in client.pages(MODEL, namespace) for m in page}
        return all(said[name][0] == "False" for name in broken)

    async def all_looked_at() -> bool:
        return {f"{namespace}/{name}" for name in broken} <= set(operator.taken())

    await lead(client, namespace, "somebody")
    async with running(server, tmp_path, namespace, "alone", settings=LONG) as operator:
        alone = await turns_of_a_crowd(client, operator, namespace, "first")
        for name in broken:
            await create(client, namespace, name, {"privacy": {"policyRef": {"name": "nowhere"}}})
        await until(all_refused, 2 * PATIENCE)
        await operator.stop()
    await lead(client, namespace, "somebody")
    async with running(server, tmp_path, namespace, "among", settings=LONG) as operator:  # lists, so that all are due
        among = await turns_of_a_crowd(client, operator, namespace, "later")
        await until(all_looked_at, PATIENCE)
    assert max(alone) >= CROWD, "everybody had a turn of their own"
    assert max(among) <= 1.5 * max(alone)


async def turns_of_a_crowd(client: Client, operator: Running, namespace: str, prefix: str) -> list[int]:
    """Make good models while nobody may work; then let the operator lead, and return at which turn each was taken."""
    keys = {f"{namespace}/{prefix}-{number}" for number in range(CROWD)}

    async def listed() -> bool:
        return any(line["message"] == "waiting for the lease" for line in operator.lines())

    async def rung() -> bool:
        return keys <= {line["key"] for line in operator.lines() if line["message"] == "rung"}

    async def served() -> bool:
        return keys <= set(operator.taken())

    await until(listed, PATIENCE)
    await asyncio.sleep(AGEING)
    for key in sorted(keys):
        await create(client, namespace, key.split("/")[1])
    await until(rung, PATIENCE)
    await lead(client, namespace, "")
    await until(served, PATIENCE)
    return [operator.taken().index(key) + 1 for key in keys]


async def lead(client: Client, namespace: str, identity: str) -> None:
    """Take the Lease for somebody, or for nobody give it free."""
    spec = {"holderIdentity": identity, "leaseDurationSeconds": 3600}
    meta = {"name": NAME, "namespace": namespace}
    body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": spec}
    await client.apply(LEASE, body, manager="test", force=True)


def strangers(namespace: str, name: str) -> dict[str, Any]:
    """A Service of the name that a model's would have, and somebody else's."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "another"}},
    }


def reason_of(model: dict[str, Any]) -> tuple[str, str]:
    """Status and reason of Ready."""
    conditions = model.get("status", {}).get("conditions", ())
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), ("", ""))


async def rest(operator: Running) -> None:
    """Wait until a second goes by without a write: what is told of the good ones comes after their Deployments."""
    seen: list[list[str]] = []

    async def is_still() -> bool:
        seen.append(await written(operator))
        await asyncio.sleep(1)
        return await written(operator) == seen[-1]

    await until(is_still, PATIENCE)


async def counted(operator: Running) -> float:
    """How many passes there were."""
    return await operator.metric("modelward_reconcile_seconds_count")


async def written(operator: Running) -> list[str]:
    """What was written, and how often, but for the Lease."""
    _, text = await operator.http(operator.metrics, "/metrics")
    return [line for line in text.splitlines() if line.startswith("modelward_api_writes_total") and "Lease" not in line]
