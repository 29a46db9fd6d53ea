"""Where pods may connect: what each URL becomes in the NetworkPolicy, and what the status says of it."""

import ipaddress
import json
from dataclasses import replace

import pytest

from modelward_operator.facts import Given, Json, Network, Service
from modelward_operator.plan import names
from modelward_operator.plan.addresses import PRIVATE, PRIVATE_V6
from modelward_operator.plan.egress import DNS_PEERS, Egress, egress
from modelward_operator.policies.rooms import rule
from tests.makers import drawn, make_given, parsed

OPEN: Json = {"authentication": {"mode": "None"}}
API: Network = Network(api_server=(("10.96.0.1", 443), ("192.168.7.2", 6443)))


def with_network(given: Given, network: Network) -> Given:
    return replace(given, network=network)


def store(endpoint: str, **security: object) -> Given:
    """Return a model that is read from `endpoint` and asks nobody who calls."""
    model = {"uri": "s3://m/a/", "storage": {"endpoint": endpoint}}
    return make_given({"model": model, "security": {**OPEN, **security}})


def way_out(given: Given) -> Egress:
    spec = parsed(given)
    return egress(given, spec, rule(given, spec))


def rules(given: Given) -> list[Json]:
    """Return the rules but DNS."""
    found = way_out(given).rules
    assert found is not None
    return [rule for rule in found if rule["to"] != list(DNS_PEERS)]


def block(cidr: str) -> Json:
    return {"ipBlock": {"cidr": cidr}}


def tcp(port: int | str) -> Json:
    return {"protocol": "TCP", "port": port}


def namespace(name: str, **selector: str) -> Json:
    peer: dict[str, Json] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    return peer | ({"podSelector": {"matchLabels": selector}} if selector else {})


MINIO = Service({"app": "minio"}, {443: "s3", 9000: 9001})
CASES: list[tuple[str, str, Network, list[Json]]] = [
    # why, endpoint, what is known, the rules
    ("an address", "http://10.0.0.7:9000/", Network(), [{"to": [block("10.0.0.7/32")], "ports": [tcp(9000)]}]),
    ("an address of six", "http://[fd00::7]", Network(), [{"to": [block("fd00::7/128")], "ports": [tcp(80)]}]),
    ("four in six", "http://[::ffff:192.0.2.7]", Network(), [{"to": [block("192.0.2.7/32")], "ports": [tcp(80)]}]),
    ("a path in a name's clothes", "http://a%2fb.storage.svc", Network(), []),
    ("a name that no Service has", "http://-minio-:9000", Network(), []),
    ("an address of one link", "http://[fe80::1%25eth0]", Network(), []),
    (
        "a Service: its pods at their own port",
        "https://minio.storage.svc:9000",
        Network(services={"minio.storage.svc": MINIO}),
        [{"to": [namespace("storage", app="minio")], "ports": [tcp(9001)]}],
    ),
    (
        "a named port of the pods, the full name",
        "https://minio.storage.svc.cluster.local",
        Network(services={"minio.storage.svc.cluster.local": MINIO}),
        [{"to": [namespace("storage", app="minio")], "ports": [tcp("s3")]}],
    ),
    (
        "a headless Service: the port that the caller names",
        "https://minio-0.minio.storage.svc:9000",
        Network(services={"minio-0.minio.storage.svc": Service({"app": "minio"})}),
        [{"to": [namespace("storage", app="minio")], "ports": [tcp(9000)]}],
    ),
    (
        "a Service that the operator may not read: its namespace",
        "https://minio.storage.svc:9000",
        Network(services={"minio.storage.svc": Service(is_hidden=True)}),
        [{"to": [namespace("storage")]}],
    ),
    ("a Service that does not exist", "https://minio.storage.svc:9000", Network(), []),
    ("a bare name that no Service has", "http://minio:9000", Network(), []),
    ("a Service without a selector", "http://minio:9000", Network(services={"minio": Service()}), []),
    (
        "a Service that is another name of a host: that host",
        "https://minio.storage.svc",
        Network(
            services={"minio.storage.svc": Service(external_name="s3.example.com")},
            hosts={"s3.example.com": ("192.0.2.7",)},
        ),
        [{"to": [block("192.0.2.7/32")], "ports": [tcp(443)]}],
    ),
    (
        "a Service that is another name of a Service: it is not followed",
        "https://minio.storage.svc",
        Network(services={"minio.storage.svc": Service(external_name="db.victim.svc.cluster.local")}),
        [],
    ),
    (
        "a short name that is a Service",
        "http://minio.storage:9000",
        Network(services={"minio.storage": MINIO}),
        [{"to": [namespace("storage", app="minio")], "ports": [tcp(9001)]}],
    ),
    (
        "a name that only looks like one",
        "https://example.com",
        Network(hosts={"example.com": ("192.0.2.7", "192.0.2.9")}),
        [{"to": [block("192.0.2.7/32"), block("192.0.2.9/32")], "ports": [tcp(443)]}],
    ),
    ("a name that nobody knows", "https://nobody.example.com", Network(), []),
    ("a port that is none", "https://minio.example.com:99999", Network(), []),
]


@pytest.mark.parametrize(("reason", "endpoint", "network", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_store(reason: str, endpoint: str, network: Network, expected: list[Json]) -> None:
    assert expected == rules(with_network(store(endpoint), network)), reason


@pytest.mark.parametrize(
    ("storage", "expected"),
    [({}, "https://registry.example.com:5000"), ({"endpoint": "http://10.0.0.7:5000"}, "http://10.0.0.7:5000")],
    ids=["its own host", "what stands in for it"],
)
def test_a_registry_is_on_the_way_out(storage: Json, expected: str) -> None:
    model = {"uri": "oci://registry.example.com:5000/risk/fraud:7", "storage": storage}
    words = way_out(make_given({"model": model, "security": OPEN})).words
    assert [expected] == [line.partition(": ")[0] for line in words if not line.startswith("DNS")]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (None, "not opened: Service storage/minio does not exist, or could not be read"),
        (Service(), "not opened: its Service selects no pods; open its addresses with egress.allowTo"),
        (Service(is_hidden=True), "every pod of namespace storage, every port: the operator may not read the Service"),
        (Service(external_name="a.example"), "not opened: its address is not known"),
    ],
    ids=["absent", "no selector", "hidden", "external"],
)
def test_the_status_says_what_became_of_a_service(service: Service | None, expected: str) -> None:
    url = "https://minio.storage.svc"
    network = Network(services={"minio.storage.svc": service} if service else {})
    assert f"{url}: {expected}" in way_out(with_network(store(url), network)).words


def test_aws_is_every_public_address_and_the_private_ones_of_its_name() -> None:
    given = make_given({"security": OPEN})
    public = rules(given)
    assert public[0]["to"][0]["ipBlock"] == {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}
    assert public[0]["to"][1]["ipBlock"] == {"cidr": "::/0", "except": list(PRIVATE_V6)}
    assert [tcp(443)] == public[0]["ports"]
    host = "s3.us-east-1.amazonaws.com"
    inside = with_network(given, Network(hosts={host: ("10.1.2.3", "52.216.1.1")}))
    assert [*public[0]["to"], block("10.1.2.3/32")] == rules(inside)[0]["to"]


NEVER = [
    "169.254.169.254", "169.254.170.23", "127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "100.100.100.200", "::", "::1", "fe80::1", "ff02::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "::ffff:169.254.169.254",
    "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe", "::7f00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", NEVER)
def test_a_name_opens_no_address_of_the_node_the_link_or_a_clouds_metadata(address: str) -> None:
    url = "https://rebind.example.com"
    alone = with_network(store(url), Network(hosts={"rebind.example.com": (address,)}))
    assert rules(alone) == []
    assert f"{url}: not opened: a name may not open {address}" in way_out(alone).words
    beside = with_network(store(url), Network(hosts={"rebind.example.com": ("192.0.2.7", address)}))
    assert [{"to": [block("192.0.2.7/32")], "ports": [tcp(443)]}] == rules(beside)
    assert address not in json.dumps(drawn(beside).find("NetworkPolicy")["metadata"]["annotations"])
    aws = Network(hosts={"s3.us-east-1.amazonaws.com": (address,)})
    assert rules(with_network(make_given({"security": OPEN}), aws)) == rules(make_given({"security": OPEN}))


@pytest.mark.parametrize("address", NEVER)
def test_nor_is_any_of_them_a_public_address(address: str) -> None:
    parsed = ipaddress.ip_address(address)
    excepted = PRIVATE if parsed.version == 4 else PRIVATE_V6
    assert any(parsed in ipaddress.ip_network(network) for network in excepted)


def test_what_an_earlier_release_opened_by_name_is_closed() -> None:
    known = with_network(store("https://a.example"), Network(hosts={"a.example": ("192.0.2.7",)}))
    live = drawn(known).find("NetworkPolicy")
    metadata = {**live["metadata"], "annotations": {names.OPENED: '{"a.example": ["169.254.169.254"]}'}}
    assert rules(replace(known, network=Network(), children=({**live, "metadata": metadata},))) == []


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::7", "192.168.1.1", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_private_address_of_a_name_is_opened_and_marked(address: str) -> None:
    given = with_network(store("https://a.example"), Network(hosts={"a.example": (address, "8.8.8.8")}))
    assert len(rules(given)[0]["to"]) == 2
    assert f"https://a.example: {address} (private), 8.8.8.8, port 443" in way_out(given).words


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1"])
def test_an_address_that_the_user_wrote_stays_as_it_is_written(address: str) -> None:
    assert [{"to": [block(f"{address}/32")], "ports": [tcp(80)]}] == rules(store(f"http://{address}"))


def test_dns_is_open_only_for_who_calls_by_name() -> None:
    named, numbered = way_out(store("https://minio.storage.svc")), way_out(store("http://10.0.0.7"))
    assert named.rules is not None
    assert numbered.rules is not None
    assert [list(DNS_PEERS)] == [named.rules[0]["to"]]
    assert list(DNS_PEERS) not in [rule["to"] for rule in numbered.rules]


def test_a_volume_and_no_authentication_need_no_way_out() -> None:
    given = make_given({"model": {"uri": "pvc://models/a/"}, "security": OPEN})
    assert way_out(given) == Egress([], (), {})
    policy = drawn(given).find("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy, "nothing is allowed, as the API server writes it"


def test_who_asks_the_api_server_reaches_its_service_and_what_is_behind_it() -> None:
    given = with_network(make_given({"model": {"uri": "pvc://models/a/"}}), API)
    expected = {"to": [block("10.96.0.1/32"), block("192.168.7.2/32")], "ports": [tcp(443), tcp(6443)]}
    assert [expected] == rules(given)
    assert "https://kubernetes.default.svc: 10.96.0.1, 192.168.7.2, port 443, 6443" in way_out(given).words


def test_what_was_opened_stays_open_while_it_cannot_be_looked_up() -> None:
    known = with_network(
        make_given({"model": {"uri": "s3://m/a/", "storage": {"endpoint": "https://example.com"}}}),
        replace(API, hosts={"example.com": ("192.0.2.7",)}),
    )
    live = drawn(known).find("NetworkPolicy")
    forgotten = replace(known, network=Network(), children=(live,))
    assert live["spec"] == drawn(forgotten).find("NetworkPolicy")["spec"]
    again = drawn(replace(forgotten, children=(drawn(forgotten).find("NetworkPolicy"),))).find("NetworkPolicy")
    assert live["spec"] == again["spec"], "and the memory itself stays"


@pytest.mark.parametrize(
    "edited",
    ["", "no JSON", "[]", '{"example.com": "192.0.2.7"}', '{"example.com": ["0.0.0.0/0"]}', '{"example.com": [7]}'],
)
def test_a_memory_that_a_hand_has_edited_opens_nothing(edited: str) -> None:
    given = store("https://example.com")
    live = drawn(given).find("NetworkPolicy")
    metadata = {**live["metadata"], "annotations": {names.OPENED: edited}}
    assert rules(replace(given, children=({**live, "metadata": metadata},))) == []


def test_an_open_way_out_has_no_policy() -> None:
    policy = drawn(store("https://example.com", networkPolicy={"egress": {"mode": "Open"}})).find("NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "egress" not in policy["spec"]


def test_networks_besides_are_opened_as_they_are_written() -> None:
    networks = [{"cidr": "192.0.2.0/24", "port": 3128}, {"cidr": "2001:db8::/32"}]
    given = store("http://10.0.0.7", networkPolicy={"egress": {"allowTo": networks}})
    expected = [{"to": [block("192.0.2.0/24")], "ports": [tcp(3128)]}, {"to": [block("2001:db8::/32")]}]
    assert expected == rules(given)[1:]
    assert way_out(given).words[1:] == ("allowTo: 192.0.2.0/24, port 3128", "allowTo: 2001:db8::/32, every port")


def test_a_proxy_is_on_the_way_out_unless_its_url_is_a_secret() -> None:
    env = [
        {"name": "HTTPS_PROXY", "value": "10.9.9.9:3128"},
        {"name": "NO_PROXY", "value": "10.8.8.8"},
        {"name": "HTTP_PROXY", "valueFrom": {"secretKeyRef": {"name": "p", "key": "k"}}},
    ]
    given = make_given({"model": {"uri": "pvc://m/a/"}, "runtime": {"env": env}, "security": OPEN})
    assert [{"to": [block("10.9.9.9/32")], "ports": [tcp(3128)]}] == rules(given)


def test_a_key_in_vault_or_kms_is_on_the_way_out() -> None:
    verification = {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]}
    vault = {"address": "https://10.0.0.9:8200", "key": "models", "role": "fraud"}
    kms = {"key": "alias/a", "region": "eu-central-1"}
    for keys, expected in (
        ({"provider": "Vault", "vault": vault}, ["https://10.0.0.9:8200"]),
        (
            {"provider": "AWSKMS", "awsKms": kms},
            [
                "http://169.254.170.23",
                "https://kms.eu-central-1.amazonaws.com",
                "https://sts.eu-central-1.amazonaws.com",
            ],
        ),
        (
            {"provider": "AWSKMS", "awsKms": {**kms, "secretRef": {"name": "a"}, "endpoint": "https://10.0.0.8"}},
            ["https://10.0.0.8"],
        ),
    ):
        encryption = {"mode": "Required", "keyRef": keys}
        security = {**OPEN, "encryption": encryption, "verification": verification}
        given = make_given({"model": {"uri": "pvc://m/a/"}, "security": security})
        words = [line.partition(": ")[0] for line in way_out(given).words if not line.startswith("DNS")]
        assert expected == words


def test_the_memory_is_on_the_policy_and_holds_looked_up_names_alone() -> None:
    given = with_network(store("https://example.com"), Network(hosts={"example.com": ("192.0.2.7",)}))
    annotations = drawn(given).find("NetworkPolicy")["metadata"]["annotations"]
    assert {"example.com": ["192.0.2.7"]} == json.loads(annotations[names.OPENED])
    plain = drawn(store("http://10.0.0.7")).find("NetworkPolicy")["metadata"]["annotations"]
    assert names.OPENED not in plain
