"""The activator's table as objects, and back."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.facts import Activator, Authority, Given, Key, Route
from modelward_operator.plan import names
from modelward_operator.plan.route import route as drawn_route
from modelward_operator.plan.routes import PORTS, SHARD, by_shard, drawn, read_table
from modelward_operator.policies import rooms
from modelward_operator.rulings import Ruling, Verdict
from tests.makers import make_given, parsed

OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.ACTIVATOR, "uid": "u"}
words = st.sampled_from(["risk", "shop", "fraud", "a"])


def route(port: int, namespace: str = "risk", name: str = "fraud", callers: tuple[str, ...] = ("risk",)) -> Route:
    return Route({"namespace": namespace, "name": name, "ports": {"http": port, "grpc": port + 1}}, callers)


@st.composite
def tables(draw: st.DrawFn) -> dict[Key, Route]:
    numbers = draw(st.lists(st.sampled_from(PORTS), unique=True, max_size=30))
    found = {}
    for count, number in enumerate(numbers):
        callers = tuple(sorted(draw(st.sets(words, min_size=1))))
        key = Key(draw(words), f"m-{count}")
        found[key] = route(number, key.namespace, key.name, callers)
    return found


def objects(table: dict[Key, Route]) -> tuple[list[Any], list[Any]]:
    pairs = [drawn("home", number, shard.values(), OWNER) for number, shard in by_shard(table).items()]
    return [policy for policy, _ in pairs], [config_map for _, config_map in pairs]


@given(table=tables())
def test_what_a_leader_wrote_the_next_one_reads(table: dict[Key, Route]) -> None:
    policies, config_maps = objects(table)
    assert table == read_table(config_maps, policies)


@given(table=tables())
def test_each_port_is_open_to_its_models_callers_and_to_nobody_else(table: dict[Key, Route]) -> None:
    opened: dict[int, set[str]] = {}
    for policy in objects(table)[0]:
        assert policy["spec"]["podSelector"]["matchLabels"] == names.ACTIVATOR_PODS
        for rule in policy["spec"]["ingress"]:
            peers = {peer["namespaceSelector"]["matchLabels"][names.NAMESPACE_NAME] for peer in rule["from"]}
            assert peers, "an empty list would mean everybody"
            for port in rule["ports"]:
                assert port["port"] not in opened
                opened[port["port"]] = peers
    expected = {port: set(r.callers) for r in table.values() for port in r.body["ports"].values()}
    assert expected == opened


def largest(port: int) -> Route:
    """As much as a tenant can write into one route, and two CAs."""
    authentication = {
        "mode": "JWT",
        "jwt": {
            "issuer": '"' * 256,
            "audiences": [chr(ord("a") + n) + '"' * 255 for n in range(8)],
            "jwksUri": "https://host/" + '"' * 2035,
            "algorithms": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"],
            "usernameClaim": "u" * 128,
            "usernamePrefix": '"' * 128,
            "groupsClaim": "g" * 128,
            "groupsPrefix": '"' * 128,
        },
    }
    spec = {
        "scaling": {"minReplicas": 0, "maxReplicas": 3},
        "security": {"authentication": authentication, "tls": {"mode": "Managed"}},
    }
    given = replace(
        make_given(spec),
        key=Key("n" * 63, "m" * 63),
        authority=Authority(2 * ("c" * 63 + "\n") * 16, "f", frozenset()),
        activator=Activator((port, port + 1)),
    )
    words = Verdict("Ready", "ModelPolicyViolated", '\N{GRINNING FACE}"' * 512)
    return drawn_route(given, parsed(given), ruling_of(given, words), (port, port + 1))


def ruling_of(given: Given, words: Verdict) -> Ruling:
    return replace(rooms.rule(given, parsed(given)), verdicts=frozenset({words}))


def test_a_config_map_of_the_largest_routes_that_a_tenant_can_write_is_no_larger_than_it_may_be() -> None:
    table = {Key("risk", f"m-{number}"): largest(number) for number in PORTS[: 2 * SHARD + 1]}
    config_maps = objects(table)[1]
    assert 3 == len(config_maps)
    sizes = [len(config_map["data"]["routes.json"].encode()) for config_map in config_maps]
    assert max(sizes) <= 1024 * 1024
    assert max(sizes) > SHARD * 15 * 1024, "they are the largest"


def test_a_change_of_one_route_changes_one_shard() -> None:
    table = {Key("risk", f"m-{number}"): route(number, name=f"m-{number}") for number in PORTS[:200]}
    before = objects(table)[1]
    changed = route(PORTS[70], name=f"m-{PORTS[70]}")
    table[Key("risk", f"m-{PORTS[70]}")] = Route({**changed.body, "wake": False}, changed.callers)
    after = objects(table)[1]
    assert [70 // SHARD] == [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("a port that is text", {"ports": {"http": "20002", "grpc": "20003"}}),
        ("a port that is no number at all", {"ports": {"http": None, "grpc": []}}),
        ("ports that are no pair", {"ports": {"http": 20002, "grpc": 22}}),
        ("a third port", {"ports": {"http": 20002, "grpc": 20003, "admin": "x"}}),
        ("a port that was never ours", {"ports": {"http": 8080, "grpc": 8081}}),
        ("a namespace that is a list", {"namespace": ["risk"]}),
        ("no name", {"name": ""}),
    ],
)
def test_a_route_that_somebody_broke_is_left_out_alone(reason: str, change: dict[str, Any]) -> None:
    kept = route(PORTS[0], "risk", "kept")
    policies, (config_map,) = objects({Key("risk", "kept"): kept})
    broken = {**kept.body, "name": "broken", "ports": {"http": 20002, "grpc": 20003}, **change}
    text = json.dumps({"routes": [broken, 7, kept.body]})
    assert {Key("risk", "kept"): kept} == read_table([{**config_map, "data": {"routes.json": text}}], policies), reason


def test_a_policy_that_names_its_ports_opens_none_of_ours() -> None:
    policies, config_maps = objects({Key("risk", "fraud"): route(PORTS[0])})
    odd = {"spec": {"ingress": [{"from": None, "ports": [{"port": "http"}, {}]}, {"from": [{}], "ports": None}]}}
    assert [Key("risk", "fraud")] == list(read_table(config_maps, [odd, *policies, {"spec": {"ingress": None}}]))


def test_what_is_no_table_is_not_read() -> None:
    for text in ("", "{", "[]", '{"routes": 7}', '{"routes": [{"ports": {"http": 80}}]}', '{"routes": [7]}'):
        assert read_table([{"data": {"routes.json": text}}], []) == {}
    assert read_table([{}], [{}]) == {}


def test_shards_follow_the_ports() -> None:
    table = {Key("risk", f"m-{n}"): route(n) for n in PORTS[:300]}
    shards = by_shard(table)
    assert list(range(-(-300 // SHARD))) == list(shards)
    assert all(low < high for low, high in pairwise(max(r.http_port for r in s.values()) for s in shards.values()))
    assert json.loads(objects(table)[1][0]["data"]["routes.json"])["apiVersion"] == "activator/v1"
