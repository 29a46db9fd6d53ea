"""The accountant on a real API server: restarts, a second leader, a ledger that somebody deleted, many models, and who may write at all."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.cluster.accountant import PERIOD, Accountant
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import COSTS, MODEL, NODE, POD, PRICES
from modelward_operator.cluster.lease import Terms
from modelward_operator.cluster.ledgers import Ledgers
from modelward_operator.cluster.prices import Prices
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.watch import Stream
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json, Key
from modelward_operator.ledger.account import Account
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.plan.names import MANAGED_BY, MANAGER, selector
from modelward_operator.pricing.facts import Rate
from tests.integration.apiserver import ApiServer
from tests.integration.guard import allow, guard, refusal, until_refused
from tests.integration.rest import apply, request
from tests.integration.running import create, running
from tests.integration.running import until as until_true
from tests.integration.test_operate import _with_the_charts_rights
from tests.price_books import REFUSED
from tests.until import until

NODE_NAME = "gpu-1"
PATIENCE = PERIOD + 60.0
"""Seconds for what an operator writes: the first time it looks, or a minute later."""


DAY = 86_400
LONGEST = 7200
"""Seconds: more than a test's clock goes ahead."""


def long_before_midnight() -> int:
    """Now, or tomorrow where the day ends too soon: each day has a ledger of its own, and the tests want one."""
    now = int(time.time())
    return now if now % DAY < DAY - LONGEST else now + 2 * LONGEST


@dataclass
class Clock:
    """Ahead of the API server by as much as the test says."""

    ahead: int = 0
    base: int = field(default_factory=long_before_midnight)

    def now(self) -> int:
        return self.base + self.ahead


@dataclass
class Leader:
    """One process that leads, with its own store."""

    accountant: Accountant
    store: Store
    rung: list[Key]

    async def minute(self) -> None:
        await self.accountant.read()
        await self.accountant.write()

    def spent(self, namespace: str, model: str = "fraud") -> int:
        day = self.accountant._now() // DAY
        book = self.accountant.book(namespace)
        return book.spent(model, (day - 1) * DAY, (day + 2) * DAY).get("USD", 0)


@contextlib.asynccontextmanager
async def leading(client: Client, clock: Clock) -> AsyncIterator[Leader]:
    store, rung = Store(), list[Key]()
    prices = Prices(store, clusterwide=True)
    accountant = Accountant(Ledgers(client), store, prices, ring=rung.append, now=clock.now)
    bells = Bells(store, lambda _key, _live: None, prices=prices, pods_changed=accountant.pods_changed)
    streams = [
        Stream(client, store, POD, bells.ring, labels=f"{MANAGED_BY}={MANAGER}"),
        Stream(client, store, NODE, bells.ring),
        Stream(client, store, PRICES, bells.ring),
    ]
    tasks = [asyncio.create_task(stream.run()) for stream in streams]
    try:
        await asyncio.gather(*(stream.listed.wait() for stream in streams))
        yield Leader(accountant, store, rung)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def priced(client: Client) -> AsyncIterator[None]:
    """A node of two cores, which costs 3.6 an hour; and no PriceBook for tests that come after."""
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": {"kind": "gpu"}}}
    await client.apply(NODE, body, manager="test", force=True)
    status = {"allocatable": {"cpu": "2", "memory": "8Gi"}, "capacity": {"cpu": "2", "memory": "8Gi"}}
    await client.patch(NODE, "", NODE_NAME, {"status": status}, manager="test", subresource="status")
    spec = {"currency": "USD", "nodes": [{"name": "gpu", "matchLabels": {"kind": "gpu"}, "price": {"node": "3.6"}}]}
    book = {"apiVersion": PRICES.api_version, "kind": PRICES.kind, "metadata": {"name": "test"}, "spec": spec}
    made = await client.apply(PRICES, book, manager="test", force=True)
    yield
    await client.delete(PRICES, "", "test", uid=made["metadata"]["uid"])


async def start(client: Client, namespace: str, since: int | None = None) -> Json:
    """Make a pod that is bound to the node, since now unless a test's clock says otherwise."""
    body: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": namespace, "labels": selector("fraud")},
        "spec": {
            "nodeName": NODE_NAME,
            "automountServiceAccountToken": False,
            "containers": [{"name": "runtime", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
        },
    }
    made = await client.create(POD, body, manager="test")
    at = datetime.fromtimestamp(since or int(time.time()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
    return await client.patch(
        POD,
        namespace,
        made["metadata"]["name"],
        {"status": {"conditions": [bound]}},
        manager="test",
        subresource="status",
    )


async def end(client: Client, pod: Json) -> None:
    """Take the pod away as a kubelet does at the end."""
    meta = pod["metadata"]
    path = {"gracePeriodSeconds": 0}
    await client._request("delete", POD, POD.path(meta["namespace"], meta["name"]), body=path)


async def objects(client: Client, namespace: str) -> list[dict[str, Any]]:
    return [obj async for page, _ in client.pages(COSTS, namespace) for obj in page]


def cells(stored: list[dict[str, Any]]) -> int:
    quarters = (row["quarters"] for obj in stored for row in obj["spec"].get("rows", ()))
    return sum(int(cell.split("=")[1]) for row in quarters for cell in row.split())


def bound_at(pod: Json) -> int:
    return int(datetime.fromisoformat(pod["status"]["conditions"][0]["lastTransitionTime"]).timestamp())


@pytest.mark.usefixtures("priced")
async def test_a_pod_costs_its_share_from_its_binding_on_through_a_restart(client: Client, namespace: str) -> None:
    clock = Clock()
    pod = await start(client, namespace, clock.base)
    second = 500_000  # nano units: half of the node's CPU, at 3.6 an hour
    async with leading(client, clock) as first:
        clock.ahead = 600
        await first.minute()
        expected = (clock.now() - bound_at(pod)) * second
        assert expected == first.spent(namespace) == cells(await objects(client, namespace))
        assert Key(namespace, "fraud") in first.rung, "the price of the model is news"
        clock.ahead = 900  # seen, and not written: lost with the process
        await first.accountant.look()
    async with leading(client, clock) as second_life:
        with pytest.raises(Unreadable):
            second_life.accountant.book(namespace)
        clock.ahead = 1200
        await second_life.minute()
        expected = (clock.now() - bound_at(pod)) * second
        assert expected == second_life.spent(namespace) == cells(await objects(client, namespace))
        await end(client, pod)
        await until(
            lambda: (
                not second_life.store.models_with_pods()
                or Key(namespace, "fraud") not in second_life.store.models_with_pods()
            )
        )
        clock.ahead = 1210
        await second_life.minute()
        clock.ahead = 5000
        await second_life.minute()
        assert expected + 10 * second == cells(await objects(client, namespace)), "it is over, and costs no more"


@pytest.mark.usefixtures("priced")
async def test_two_leaders_charge_once(client: Client, namespace: str) -> None:
    clock = Clock()
    pod = await start(client, namespace, clock.base)
    async with leading(client, clock) as old, leading(client, clock) as new:
        clock.ahead = 300
        await old.minute()
        clock.ahead = 600
        await new.minute()  # it took over
        clock.ahead = 900
        await (
            old.minute()
        )  # a pause is over, and it has not noticed: its version is another's by now, so that it reads again
        assert cells(await objects(client, namespace)) == (600 + clock.base - bound_at(pod)) * 500_000
        await old.minute()
        await new.minute()
        clock.ahead = 1000
        await new.minute()
        assert cells(await objects(client, namespace)) == (clock.now() - bound_at(pod)) * 500_000


@pytest.mark.usefixtures("priced")
async def test_a_pod_that_went_while_nobody_looked_is_charged_until_it_was_missed_and_marked(
    client: Client, namespace: str
) -> None:
    clock = Clock()
    pod = await start(client, namespace, clock.base)
    async with leading(client, clock) as leader:
        clock.ahead = 60
        await leader.minute()
    await end(client, pod)
    async with leading(client, clock) as leader:
        clock.ahead = 660
        await leader.minute()
    (stored,) = await objects(client, namespace)
    (row,) = stored["spec"]["rows"]
    assert str(600 * 500_000) == row["estimated"]
    assert (clock.now() - bound_at(pod)) * 500_000 == cells([stored])


@pytest.mark.usefixtures("priced")
async def test_a_ledger_that_was_deleted_is_made_anew_from_the_book(client: Client, namespace: str) -> None:
    clock = Clock()
    pod = await start(client, namespace, clock.base)
    async with leading(client, clock) as leader:
        clock.ahead = 300
        await leader.minute()
        (stored,) = await objects(client, namespace)
        await client.delete(COSTS, namespace, stored["metadata"]["name"], uid=stored["metadata"]["uid"])
        clock.ahead = 360
        await leader.minute()
        assert cells(await objects(client, namespace)) == (clock.now() - bound_at(pod)) * 500_000


@pytest.mark.usefixtures("priced")
async def test_nothing_is_concluded_from_a_ledger_that_cannot_be_understood(
    client: Client, namespace: str, server: ApiServer
) -> None:
    clock = Clock()
    await start(client, namespace, clock.base)
    async with leading(client, clock) as leader:
        clock.ahead = 60
        await leader.minute()
    (stored,) = await objects(client, namespace)
    day = {**stored["spec"], "rows": [{**stored["spec"]["rows"][0], "currency": "US"}]}
    # As an older or newer version may have left it: the schema of today would refuse it.
    crd = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{COSTS.plural}.modelward.dev"
    before = request(server, "GET", crd)
    lax = request(server, "GET", crd)
    lax["spec"]["versions"][0]["schema"] = {
        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    }
    request(server, "PUT", crd, lax)
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Exception):
                    await client.update(COSTS, {**stored, "spec": day}, manager="test")
                    break
                await asyncio.sleep(0.2)
        async with leading(client, clock) as leader:
            clock.ahead = 600
            await leader.minute()
            with pytest.raises(Unreadable, match="currency"):
                leader.accountant.book(namespace)
            assert cells(await objects(client, namespace)) == cells([stored]), "it is left as it is"
    finally:
        current = request(server, "GET", crd)
        current["spec"]["versions"][0]["schema"] = before["spec"]["versions"][0]["schema"]
        request(server, "PUT", crd, current)


async def test_ten_thousand_models_of_a_namespace_fit_into_the_api_server(client: Client, namespace: str) -> None:
    """Forty parts, with a full day of quarters in each row: each is written, read back, and gives the same book."""
    midnight = int(time.time()) // 86_400 * 86_400
    account, rate = Account(namespace, (), midnight), Rate(3_060_000_000 * 8, "USD")
    for number in range(10_000):
        pods = [Sighting(f"{number:08}-0000-4000-8000-000000000000", f"model-{number}", "gpu-1", midnight, None, rate)]
        account.book.observe(f"model-{number}", pods, midnight + 86_399)
    ledgers = Ledgers(client)
    due = account.due(midnight + 86_399)
    for obj in due:
        await ledgers.store(account, obj)
    found = (await ledgers.read(midnight, namespace))[namespace]
    sizes = [len(str(obj)) for obj in found]
    assert 40 == len(found)
    assert max(sizes) < 1_000_000
    again = Account(namespace, found, midnight + 86_399)
    assert [f"model-{n}" for n in sorted(range(10_000), key=str)] == sorted(again.book.models())
    assert again.book.spent("model-77", midnight, midnight + 86_400) == account.book.spent(
        "model-77", midnight, midnight + 86_400
    )
    assert [] == [obj for obj in again.due(midnight + 86_399) if again.versioned(obj)], (
        "what was read is not written again"
    )
    for obj in found:  # or every operator of later tests would take over ten thousand models
        await client.delete(COSTS, namespace, obj["metadata"]["name"], uid=obj["metadata"]["uid"])


def test_only_who_may_record_writes_or_deletes(server: ApiServer) -> None:
    guard(server)
    everything = ["get", "list", "create", "update", "patch", "delete", "deletecollection"]
    rule: dict[str, Any] = {"apiGroups": ["modelward.dev"], "resources": ["costledgers"], "verbs": everything}
    meddler, keeper = (
        allow(server, "cost-meddler", rule),
        allow(server, "cost-keeper", {**rule, "verbs": [*everything, "record"]}),
    )
    day = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    body = {
        "apiVersion": COSTS.api_version,
        "kind": COSTS.kind,
        "metadata": {"name": f"costs-{day}-0", "namespace": "default"},
        "spec": {"day": day, "shard": 0, "rows": [{"model": "m", "currency": "USD", "quarters": "00:00=1"}]},
    }
    folder = COSTS.path("default")
    words = "takes the right to `record` costledgers.modelward.dev"
    until_refused(lambda: request(server, "POST", f"{folder}?dryRun=All", body, headers=meddler), words)
    made = request(server, "POST", folder, body, headers=keeper)
    path = f"{folder}/costs-{day}-0"
    less = {**made, "spec": {**made["spec"], "rows": []}}
    assert words in refusal(lambda: request(server, "PUT", path, less, headers=meddler))
    assert words in refusal(lambda: request(server, "DELETE", path, headers=meddler))
    assert words in refusal(lambda: request(server, "DELETE", f"{folder}?labelSelector=!none", headers=meddler))
    owned = {**made, "metadata": {**made["metadata"], "finalizers": ["a.example/b"]}}
    assert "owned by nothing" in refusal(lambda: request(server, "PUT", path, owned, headers=keeper))
    misnamed = {**body, "metadata": {"name": "costs-2026-01-01-0", "namespace": "default"}}
    assert "metadata.name must be costs-" in refusal(lambda: request(server, "POST", folder, misnamed, headers=keeper))
    assert "" == refusal(lambda: request(server, "PUT", path, less, headers=keeper))
    ender = {
        "Impersonate-User": "system:serviceaccount:kube-system:namespace-controller",
        "Impersonate-Group": "system:masters",
    }
    assert "" == refusal(lambda: request(server, "DELETE", path, headers=ender))


@pytest.mark.usefixtures("priced")
async def test_the_whole_operator_with_the_charts_rights_is_killed_and_another_goes_on(
    client: Client, namespace: str, server: ApiServer, tmp_path: Path
) -> None:
    pod = await start(client, namespace)
    kubeconfig = await _with_the_charts_rights(server, tmp_path, client, namespace, clusterwide=True)
    await create(client, namespace, "fraud", {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}})
    await until_charged_for(pod)

    async def charged() -> bool:
        return bool(cells(await objects(client, namespace)))

    async with running(server, tmp_path, namespace, "one", kubeconfig, clusterwide=True) as one:
        await until_true(charged, PATIENCE)

        async def told() -> bool:
            status = (await client.get(MODEL, namespace, "fraud")).get("status", {})
            return bool(status.get("cost") == {"hourly": "1.8", "currency": "USD"})

        await until_true(told)
        assert 1.8 == await one.metric(
            f'modelward_model_cost_per_hour{{currency="USD",model="fraud",namespace="{namespace}"}}'
        )
    before = cells(await objects(client, namespace))
    async with running(server, tmp_path, namespace, "two", kubeconfig, clusterwide=True) as two:

        async def charged_more() -> bool:
            return cells(await objects(client, namespace)) > before

        await until_true(charged_more, Terms().duration + PATIENCE)
        stored = await objects(client, namespace)  # two, where a day has begun meanwhile
        through = [entry["through"] for obj in stored for entry in obj["spec"].get("open", ())]
        last = int(max(datetime.fromisoformat(one) for one in through).timestamp())
        assert (last - bound_at(pod)) * 500_000 == cells(stored), "the time in which nobody led is charged, once"
        assert all("estimated" not in row for obj in stored for row in obj["spec"].get("rows", ()))
        _, text = await two.http(two.metrics, "/metrics")
        assert [line for line in text.splitlines() if 'code="403"' in line] == []


async def until_charged_for(pod: Json) -> None:
    """Wait until an operator that begins now finds a whole second to charge: it looks at once, and then a minute later.

    What it takes for the time is behind by as much as a second, and counts whole ones, as the binding does.
    """
    await asyncio.sleep(max(bound_at(pod) + 2 - time.time(), 0.0))


@pytest.mark.parametrize(("reason", "text", "message"), REFUSED, ids=[bad.reason for bad in REFUSED])
def test_the_api_server_refuses_a_price_book_that_is_wrong(
    server: ApiServer, reason: str, text: str, message: str
) -> None:
    body = {
        "apiVersion": PRICES.api_version,
        "kind": PRICES.kind,
        "metadata": {"name": "bad"},
        "spec": yaml.safe_load(text),
    }
    said = refusal(lambda: apply(server, body))
    assert said, reason
    assert message in said
