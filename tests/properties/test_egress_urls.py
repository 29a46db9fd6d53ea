"""Whatever URL a room asks for, the NetworkPolicy stays one that the API server takes, and opens no more than one destination."""

import ipaddress
import re
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from modelward_operator.facts import Network
from modelward_operator.plan.egress import DNS_PEERS, NOT_OPENED, egress
from modelward_operator.rulings import Addition, Ruling, Slot
from tests.makers import make_given, parsed

LABEL = re.compile(r"[a-z0-9A-Z]([-a-z0-9A-Z_.]{0,61}[a-z0-9A-Z])?")
FACTS = make_given()
SPEC = parsed(FACTS)

hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.from_regex(
        r"[a-z0-9-]{1,10}(\.[a-z0-9-]{1,10}){0,4}(\.svc|\.svc\.cluster\.local|\.amazonaws\.com)?", fullmatch=True
    ),
    st.text(max_size=20),
)
urls = st.one_of(
    st.tuples(st.sampled_from(["http", "https", "s3"]), hosts, st.sampled_from(["", ":1", ":443", ":0", ":65536", ":x"]))
    .map(lambda parts: f"{parts[0]}://{parts[1]}{parts[2]}"),
    st.text(max_size=40),
)  # fmt: skip
addresses = st.lists(st.ip_addresses().map(str), max_size=3)


@given(url=urls, known=addresses)
@example(url="http://[::1", known=[])
@example(url="http://[fe80::1%25eth0]", known=[])
@example(url="http://[::ffff:10.0.0.1]:0", known=[])
@example(url="https://..svc", known=[])
@example(url="http://:65536", known=["192.0.2.1"])
@example(url="https://a.b.svc:65535", known=["::ffff:192.0.2.1"])
def test_any_url_is_one_destination_or_is_said_to_be_none(url: str, known: list[str]) -> None:
    host = url.partition("://")[2].partition(":")[0]
    network = Network(hosts={host: known} if known else {})
    ruling = Ruling(additions=frozenset({Addition(Slot.EGRESS, url, url)}))
    out = egress(replace(FACTS, network=network), SPEC, ruling)
    assert out.rules is not None
    opened = [rule for rule in out.rules if rule["to"] != list(DNS_PEERS)]
    assert len(opened) <= 1
    assert bool(opened) != any(f": {NOT_OPENED}" in words for words in out.words)
    for rule in opened:
        for port in rule.get("ports", ()):
            assert 1 <= port["port"] <= 65535
        for peer in rule["to"]:
            if "ipBlock" in peer:
                network_ = ipaddress.ip_network(peer["ipBlock"]["cidr"])
                assert getattr(network_.network_address, "ipv4_mapped", None) is None
            else:
                assert all(map(LABEL.fullmatch, peer["namespaceSelector"]["matchLabels"].values()))
