"""Which addresses of a token issuer the activator connects to. Asked by `access/client.py` for what `route.py` opens.

A model's owner writes the issuer's URL, and owns what its name resolves to. Pods go where their own NetworkPolicy lets them; the activator
stands in the operator's namespace and asks for everybody. So it goes to no address of its own, the node, the link or a cloud's metadata
service, in no spelling: the rule of the operator's `plan/addresses.py`, and tests/unit/test_activator_addresses.py holds the two together.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.100.100.200/32",  # Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host
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
    """True for an address that an issuer may have."""
    return not any(form in network for form in _forms(address) for network in _NEVER)


def _forms(address: str) -> Iterator[Address]:
    """The address, and the IPv4 address that it stands for."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
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
