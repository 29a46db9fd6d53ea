"""The text that `nft -f` takes, from the lists of netpol_rules. Pure; called by netpol.py, checked by goldens.

    forward hook, before the filter priority          (bridged packets come by here too: bridge-nf-call-iptables)
      └─ established, related ─▶ accept               replies pass, whatever the lists say
      └─ policies
           ├─ source isolated      ─▶ egress_IP       return = allowed here, else drop
           └─ destination isolated ─▶ ingress_IP

kube-proxy's DNAT happens at prerouting and its masquerade at postrouting, so these chains see pod addresses on both
sides. Traffic between a pod and its own node uses the input and output hooks, which stay open: the API's text allows it
always. So does a pod's traffic to itself through a service.
"""

import ipaddress
from collections.abc import Iterable

from e2e.cluster.netpol_rules import EVERY_PORT, Allow, Isolation, Span

TABLE = "modelward_netpol"
_HOOK = """\
    chain forward {
        type filter hook forward priority filter - 5; policy accept;
        ct state established,related accept
        jump policies
    }
"""


def render(isolations: Iterable[Isolation]) -> str:
    """Write one transaction that puts these lists in the place of whatever stood in our table."""
    listed = tuple(isolations)
    chains = "".join(_chain(isolation) for isolation in listed)
    swap = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
    return f"{swap}table inet {TABLE} {{\n{chains}{_dispatch(listed)}{_HOOK}}}\n"


def _chain(isolation: Isolation) -> str:
    lines = "".join(f"        {_rule(allow, isolation)}\n" for allow in isolation.allows)
    owner = f"{isolation.pod.namespace}/{isolation.pod.name}"
    return f"    chain {_name(isolation)} {{  # {owner}\n{lines}        counter drop\n    }}\n"


def _name(isolation: Isolation) -> str:
    return f"{isolation.direction.lower()}_{isolation.pod.address.replace('.', '_')}"


def _dispatch(isolations: tuple[Isolation, ...]) -> str:
    lines = "        ip saddr . ip daddr { " + _selves(isolations) + " } return\n" if isolations else ""
    for direction, side in (("Egress", "saddr"), ("Ingress", "daddr")):
        jumps = [f"{one.pod.address} : jump {_name(one)}" for one in isolations if one.direction == direction]
        if jumps:
            lines += f"        ip {side} vmap {{ {', '.join(jumps)} }}\n"
    return f"    chain policies {{\n{lines}    }}\n"


def _selves(isolations: tuple[Isolation, ...]) -> str:
    addresses = dict.fromkeys(isolation.pod.address for isolation in isolations)
    return ", ".join(f"{address} . {address}" for address in addresses)


def _rule(allow: Allow, isolation: Isolation) -> str:
    side = "saddr" if isolation.direction == "Ingress" else "daddr"
    words = []
    if allow.peers is not None:
        words.append(f"ip {side} {_set(allow.peers)}")
    if allow.excepted:
        words.append(f"ip {side} != {_set(allow.excepted)}")
    if allow.protocol is not None:
        words.append(_ports(allow.protocol.lower(), allow.spans))
    return " ".join([*words, "return"])


def _set(blocks: tuple[str, ...]) -> str:
    """Write addresses as one set, merged: nft refuses overlapping elements."""
    networks = ipaddress.collapse_addresses(ipaddress.IPv4Network(block, strict=False) for block in blocks)
    return "{ " + ", ".join(str(network).removesuffix("/32") for network in networks) + " }"


def _ports(protocol: str, spans: tuple[Span, ...]) -> str:
    if spans == (EVERY_PORT,):
        return f"meta l4proto {protocol}"
    written = (str(first) if first == last else f"{first}-{last}" for first, last in spans)
    return f"{protocol} dport {{ {', '.join(written)} }}"
