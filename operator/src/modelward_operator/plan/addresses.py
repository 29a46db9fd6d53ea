"""Which addresses a name may open, and which are public. Called by `egress.py`; pure.

Whoever owns a name says what it resolves to, and the operator's DNS believes it. So a name opens no address of the node, the link or a
cloud's metadata service, in no spelling; a private one it may open, and the status marks it.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Exceptions of 0.0.0.0/0; 168.63.129.16 is Azure's host."""
PRIVATE_V6: Final = ("::/80", "2002::/16", "64:ff9b:1::/48", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8")
"""Exceptions of ::/0. ::/80 holds ::1 and ::ffff:0:0/96, which the API server does not take by itself."""

_NEVER: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.100.100.200/32",  # Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::/127",
            "fd00:ec2::/32",  # AWS's metadata, name server and pod identity
            "fd20:ce::254/128",  # Google's metadata
            "fe80::/10",
            "ff00::/8",
        ),
    )
)
_CARRIERS: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""Whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, RFC 8215), and what RFC 4291 called compatible."""


def is_openable(address: str) -> bool:
    """True for an address that a name may open."""
    return not any(form in network for form in _forms(address) for network in _NEVER)


def is_private(address: str) -> bool:
    """True for an address that is not one of the whole Internet, or that carries such a one."""
    return not all(form.is_global for form in _forms(address))


def _forms(address: str) -> Iterator[Address]:
    """Yield the address, and the IPv4 address that it stands for; of one that stands for another, only what counts."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        yield parsed
        return
    if parsed.ipv4_mapped:
        yield parsed.ipv4_mapped
        return
    yield parsed
    if parsed.sixtofour:
        yield parsed.sixtofour
    if any(parsed in carrier for carrier in _CARRIERS):
        yield ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
