"""What is looked up for a NetworkPolicy, how often, and what is made of a lookup that fails."""

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from modelward_operator.cluster.client import Client, Forbidden, NotFound
from modelward_operator.cluster.enforcement import EnforcementProbe
from modelward_operator.cluster.following import LOOK_AGAIN, SOON
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.network import ADDRESSES, SEEN, SELDOM, NetworkReader
from modelward_operator.cluster.recent import AGAIN, Busy
from modelward_operator.cluster.resolver import LOOKUPS_AT_ONCE, Resolver
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Given, Json, Key, Network, Service
from tests.loop_clock import LATER, in_the_end, put_forward
from tests.makers import make_given, parsed
from tests.until import PATIENCE

KUBERNETES: dict[str, Json] = {
    "Service": {"spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 443, "targetPort": 6443}]}},
    "EndpointSlice": {"endpoints": [{"addresses": ["192.168.7.2"]}], "ports": [{"port": 6443}]},
}
MINIO: Json = {
    "spec": {
        "selector": {"app": "minio"},
        "ports": [{"port": 9000, "targetPort": "s3"}, {"port": 1, "protocol": "UDP"}],
    }
}
ASKS_NOBODY = {"authentication": {"mode": "None"}}


class World:
    """An API server and a DNS that say what a test wants, or fail."""

    def __init__(self) -> None:
        self.time, self.asked, self.fails, self.forbids = 0.0, list[str](), False, False
        self.services: dict[str, Json] = {"storage/minio": MINIO}
        self.hosts: dict[str, Sequence[str]] = {"s3.example.com": ("192.0.2.7",)}

        async def no_connection(_address: str, _port: int) -> bool:
            return False

        probe = EnforcementProbe(self.clock, no_connection)
        self.rung = list[str]()
        self.reader = NetworkReader(
            cast("Client", self),
            probe,
            clock=self.clock,
            lookup=self.lookup,
            ring=lambda key: self.rung.append(key.name),
        )

    def clock(self) -> float:
        return self.time

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        self.asked.append(f"{resource.kind} {namespace}/{name}")
        if self.fails:
            raise Unreadable("no answer")
        if self.forbids:
            raise Forbidden("no right")
        if (namespace, name) == ("default", "kubernetes"):
            return KUBERNETES[resource.kind]
        if f"{namespace}/{name}" not in self.services:
            raise NotFound("no")
        return self.services[f"{namespace}/{name}"]

    async def lookup(self, host: str, _namespace: str) -> Sequence[str]:
        self.asked.append(host)
        if self.fails or host not in self.hosts:
            raise OSError("no such name")
        return self.hosts[host]

    async def read(self, given: Given) -> Network:
        return await self.reader.read(given, parsed(given))


def store(endpoint: str, **security: Any) -> Given:
    model = {"uri": "s3://m/a/", "storage": {"endpoint": endpoint}}
    return make_given({"model": model, "security": {**ASKS_NOBODY, **security}})


@pytest.fixture
def world() -> World:
    return World()


async def test_who_asks_the_api_server_is_told_where_it_is(world: World) -> None:
    given = make_given({"model": {"uri": "pvc://m/a/"}})
    expected = Network(api_server=[("10.96.0.1", 443), ("192.168.7.2", 6443)])
    assert expected == await world.read(given)
    await world.read(given)
    assert world.asked == ["Service default/kubernetes", "EndpointSlice default/kubernetes"], "once a minute for all"


@pytest.mark.parametrize("host", ["minio.storage.svc", "minio.storage.svc.cluster.local", "minio.storage"])
async def test_a_service_is_read_and_not_looked_up(host: str, world: World) -> None:
    network = await world.read(store(f"https://{host}:9000"))
    assert network.services == {host: Service({"app": "minio"}, {9000: "s3"})}
    assert world.asked == ["Service storage/minio"]


async def test_behind_a_headless_service_the_callers_port_is_the_pods(world: World) -> None:
    world.services["storage/minio"] = {"spec": {**MINIO["spec"], "clusterIP": "None"}}
    network = await world.read(store("https://minio-0.minio.storage.svc:9000"))
    assert network.services["minio-0.minio.storage.svc"].ports == {}


async def test_a_service_that_is_another_name_of_a_host_is_looked_up_by_that_name(world: World) -> None:
    world.services["storage/minio"] = {"spec": {"type": "ExternalName", "externalName": "S3.example.com"}}
    network = await world.read(store("https://minio.storage.svc"))
    assert network.services == {"minio.storage.svc": Service(external_name="s3.example.com")}
    assert network.hosts == {"s3.example.com": ["192.0.2.7"]}


@pytest.mark.parametrize("name", ["db.victim.svc", "db.victim.svc.cluster.local", "db"])
async def test_a_service_that_is_another_name_of_a_service_is_not_followed(name: str, world: World) -> None:
    world.services["storage/minio"] = {"spec": {"type": "ExternalName", "externalName": name}}
    await world.read(store("https://minio.storage.svc"))
    assert world.asked == ["Service storage/minio"]


async def test_a_service_that_may_not_be_read_is_told_from_one_that_is_not_there(world: World) -> None:
    world.forbids = True
    hidden = await world.read(store("https://minio.storage.svc"))
    assert hidden.services == {"minio.storage.svc": Service(is_hidden=True)}
    world.forbids = False
    absent = await world.read(store("https://absent.storage.svc"))
    assert absent.services == {}


async def test_a_bare_name_that_is_no_service_is_not_looked_up_where_the_operator_lives(world: World) -> None:
    await world.read(store("https://minio"))
    assert world.asked == ["Service risk/minio"]


async def test_a_short_name_that_is_no_service_is_looked_up(world: World) -> None:
    world.hosts["example.com"] = ("192.0.2.9",)
    assert {"example.com": ["192.0.2.9"]} == (await world.read(store("https://example.com"))).hosts


async def test_an_address_and_a_model_without_a_way_out_ask_nobody(world: World) -> None:
    assert Network() == await world.read(store("http://10.0.0.7:9000"))
    assert Network() == await world.read(store("https://s3.example.com", networkPolicy={"egress": {"mode": "Open"}}))
    assert world.asked == []


async def test_a_lookup_that_fails_keeps_what_was_known(world: World) -> None:
    given = make_given({"model": {"uri": "s3://m/a/", "storage": {"endpoint": "https://s3.example.com"}}})
    before = await world.read(given)
    world.time, world.fails = 61.0, True
    assert before == await world.read(given)
    asked = len(world.asked)
    world.time += AGAIN - 1
    await world.read(given)
    assert asked == len(world.asked), "and is not tried again at once"


async def test_what_was_never_known_is_absent(world: World) -> None:
    world.fails = True
    for endpoint in ("https://minio.storage.svc", "https://s3.example.com"):
        given = make_given({"model": {"uri": "s3://m/a/", "storage": {"endpoint": endpoint}}})
        assert Network() == await world.read(given)
    asked = len(world.asked)
    world.time, world.fails = SOON, False
    await world.reader.following.look()
    assert len(world.asked) > asked, "and asked for again soon"
    assert world.rung == ["fraud", "fraud"]


async def test_what_many_models_asked_is_asked_again_once_and_rung_for_when_it_is_another(world: World) -> None:
    models = [replace(store("https://s3.example.com"), key=Key("risk", name)) for name in ("a", "b", "c")]
    for given in models:
        await world.read(given)
    world.asked.clear()
    world.time = LOOK_AGAIN
    await world.reader.following.look()
    assert (world.asked, world.rung) == (["s3.example.com"], []), "the same answer is no news"
    world.hosts["s3.example.com"] = ("192.0.2.8",)
    await world.reader.following.look()
    assert world.rung == [], "nor is it asked for all the time"
    world.time += LOOK_AGAIN
    await world.reader.following.look()
    assert sorted(world.rung) == ["a", "b", "c"]


async def test_who_finds_another_answer_tells_the_others(world: World) -> None:
    first, second = (replace(store("https://s3.example.com"), key=Key("risk", name)) for name in ("a", "b"))
    await world.read(first)
    world.hosts["s3.example.com"], world.time = ("192.0.2.8",), 61.0
    await world.read(second)
    assert world.rung == ["a"]


async def test_nobody_asks_for_a_model_that_is_gone_or_reads_elsewhere(world: World) -> None:
    gone, moved = (replace(store("https://s3.example.com"), key=Key("risk", name)) for name in ("gone", "moved"))
    for given in (gone, moved):
        await world.read(given)
    world.reader.forget(gone.key)
    await world.read(replace(store("https://minio.storage.svc"), key=moved.key))
    world.asked.clear()
    world.time = LOOK_AGAIN
    await world.reader.following.look()
    assert world.asked == ["Service storage/minio"]


async def test_a_name_that_answers_with_ever_another_address_keeps_them_open_for_an_hour(world: World) -> None:
    given = store("https://s3.example.com")
    for turn in range(3):
        world.hosts["s3.example.com"] = (f"192.0.2.{turn}",)
        world.time = turn * 61.0
        network = await world.read(given)
    assert network.hosts == {"s3.example.com": ["192.0.2.0", "192.0.2.1", "192.0.2.2"]}
    world.time = SEEN + 61.5
    assert (await world.read(given)).hosts == {"s3.example.com": ["192.0.2.2"]}


async def test_a_name_with_a_hundred_addresses_is_bounded(world: World) -> None:
    world.hosts["s3.example.com"] = tuple(f"192.0.2.{n}" for n in range(100))
    assert len((await world.read(store("https://s3.example.com"))).hosts["s3.example.com"]) == ADDRESSES


async def test_a_readers_own_names_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("modelward_operator.cluster.resolver.LOOKUP", PATIENCE)
        assert "127.0.0.1" in await Resolver()("localhost", "risk")
    for wrong in ("no-such-host.invalid", "a" * 300):
        with pytest.raises(OSError):
            await Resolver()(wrong, "risk")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let lookups of `slow…` hang until the event, as those of a name server that never answers do; others answer."""
    answers = threading.Event()

    def resolve(host: str) -> list[str]:
        if host.startswith("slow"):
            answers.wait(PATIENCE)
        return ["192.0.2.1"]

    monkeypatch.setattr("modelward_operator.cluster.resolver._resolve", resolve)
    monkeypatch.setattr("modelward_operator.cluster.resolver.LOOKUP", LATER)
    yield answers
    answers.set()


async def test_slow_names_of_one_tenant_stop_nobody_elses_lookups(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    names = [resolver(f"slow{number}.evil.example", "evil") for number in range(2 * LOOKUPS_AT_ONCE)]
    outcomes = await in_the_end(monkeypatch, *names)
    assert [TimeoutError] + [Busy] * (len(names) - 1) == [type(outcome) for outcome in outcomes]
    assert await resolver("login.victim.example", "victim") == ["192.0.2.1"]
    (outcome,) = await in_the_end(monkeypatch, resolver("login.evil.example", "evil"))
    assert Busy is type(outcome)
    slow.set()
    async with asyncio.timeout(PATIENCE):
        assert await resolver("login.evil.example", "evil") == ["192.0.2.1"]


async def test_while_every_thread_hangs_who_waits_gives_its_turn_back(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    names = [resolver("slow.evil.example", f"evil-{number}") for number in range(LOOKUPS_AT_ONCE)]
    await in_the_end(monkeypatch, *names)
    (outcome,) = await in_the_end(monkeypatch, resolver("login.victim.example", "victim"))
    assert Busy is type(outcome)
    slow.set()
    async with asyncio.timeout(PATIENCE):
        assert await resolver("login.victim.example", "victim") == ["192.0.2.1"]


async def test_a_name_that_one_namespaces_hanging_lookups_keep_from_being_asked_is_found_for_another(
    slow: threading.Event, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not slow.is_set()
    reader = NetworkReader(cast("Client", world), cast("EnforcementProbe", None), clock=world.clock, lookup=Resolver())
    hanging = asyncio.create_task(reader._addresses("slow.evil.example", "evil"))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(reader._addresses("s3.example.com", "evil"))
    await asyncio.sleep(0)
    assert await reader._addresses("s3.example.com", "victim") == ["192.0.2.1"]
    put_forward(monkeypatch)
    assert await waiting == ["192.0.2.1"], "what was found for one is known to all"
    assert await hanging == []


async def test_a_name_that_keeps_failing_is_looked_up_more_and_more_seldom(world: World) -> None:
    given = store("https://nobody.example.com")
    tried = []
    while world.time < 4 * SELDOM:
        before = len(world.asked)
        await world.read(given)
        tried += [world.time] if len(world.asked) > before else []
        world.time += AGAIN
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses == [15, 30, 60, 120, 240, 480, 600, 600]
    world.hosts["nobody.example.com"] = ("192.0.2.1",)
    world.time += SELDOM
    assert (await world.read(given)).hosts == {"nobody.example.com": ["192.0.2.1"]}


@pytest.mark.parametrize("host", ["a%2fb.storage.svc", "..svc", "a_b.storage.svc"])
async def test_what_is_no_name_of_a_service_is_not_asked_of_the_api(host: str, world: World) -> None:
    await world.read(store(f"https://{host}"))
    assert not [asked for asked in world.asked if asked.startswith("Service")]


async def test_the_own_namespace_is_where_a_bare_name_is(world: World) -> None:
    world.services["risk/minio"] = MINIO
    given = store("http://minio:9000")
    assert set((await world.read(replace(given))).services) == {"minio"}
    assert world.asked == ["Service risk/minio"]
