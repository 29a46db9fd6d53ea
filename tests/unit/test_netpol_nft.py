"""The nftables text of the test enforcer, whole, for a ruleset that uses every clause."""

import textwrap

from e2e.cluster.netpol_nft import render
from e2e.cluster.netpol_rules import Allow, Isolation, Pod

DB = Pod("default", "db", "10.244.0.2", {}, ())
WEB = Pod("shop", "web", "10.244.0.5", {}, ())


def test_the_whole_table_is_swapped_in_one_transaction() -> None:
    isolations = (
        Isolation(
            DB,
            "Ingress",
            (
                Allow(("172.17.0.0/16",), ("172.17.1.0/24",), "TCP", ((6379, 6379), (32000, 32768))),
                Allow(("10.244.0.3", "10.244.0.9"), (), "UDP"),
                Allow(None, (), "SCTP", ((7, 7),)),
            ),
        ),
        Isolation(DB, "Egress", ()),
        Isolation(WEB, "Ingress", (Allow(None),)),
    )
    expected = """\
        table inet modelward_netpol
        delete table inet modelward_netpol
        table inet modelward_netpol {
            chain ingress_10_244_0_2 {  # default/db
                ip saddr { 172.17.0.0/16 } ip saddr != { 172.17.1.0/24 } tcp dport { 6379, 32000-32768 } return
                ip saddr { 10.244.0.3, 10.244.0.9 } meta l4proto udp return
                sctp dport { 7 } return
                counter drop
            }
            chain egress_10_244_0_2 {  # default/db
                counter drop
            }
            chain ingress_10_244_0_5 {  # shop/web
                return
                counter drop
            }
            chain policies {
                ip saddr . ip daddr { 10.244.0.2 . 10.244.0.2, 10.244.0.5 . 10.244.0.5 } return
                ip saddr vmap { 10.244.0.2 : jump egress_10_244_0_2 }
                ip daddr vmap { 10.244.0.2 : jump ingress_10_244_0_2, 10.244.0.5 : jump ingress_10_244_0_5 }
            }
            chain forward {
                type filter hook forward priority filter - 5; policy accept;
                ct state established,related accept
                jump policies
            }
        }
        """
    assert textwrap.dedent(expected) == render(isolations)


def test_overlapping_blocks_are_merged_because_nft_refuses_them() -> None:
    text = render([Isolation(DB, "Ingress", (Allow(("10.0.0.0/8", "10.1.0.0/16", "10.2.3.4"), (), None),))])
    assert "ip saddr { 10.0.0.0/8 } return" in text


def test_nothing_isolated_leaves_an_empty_list() -> None:
    assert "    chain policies {\n    }\n" in render([])
