"""`spec.security.networkPolicy` of a ModelDeployment: who may connect to the pods, and to whom the pods may connect.

Read by `security.py`; the room `policies/access` rules on it and `plan/networkpolicy.py` draws it.
"""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import ListedBy, NamespaceName, Rule, Struct

_CIDR: Final = re.compile(r"[0-9a-fA-F:.]+/(0|[1-9][0-9]{0,2})", re.ASCII)


def is_network(text: str) -> bool:
    """True for a network in CIDR form whose host bits are zero, as CEL's `isCIDR` and `masked` see it."""
    if not _CIDR.fullmatch(text):
        return False
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    return isinstance(network, ipaddress.IPv4Network) or network.network_address.ipv4_mapped is None


class AllowedPeer(Struct):
    """A namespace whose pods may connect."""

    namespace: NamespaceName = Field(description="Name of the namespace.")


class EgressMode(StrEnum):
    """Whether the pods' way out is closed."""

    RESTRICTED = "Restricted"
    OPEN = "Open"


class AllowedNetwork(Struct):
    """A network that the pods may connect to."""

    rules = (
        Rule(
            "isCIDR(self.cidr) && cidr(self.cidr).masked() == cidr(self.cidr)",
            lambda it: is_network(it.cidr),
            "cidr must be a network in CIDR form without host bits, for example 192.0.2.0/24, or 192.0.2.7/32 for one address",
        ),
    )

    cidr: Annotated[str, StringConstraints(min_length=1, max_length=43)] = Field(
        description="The network.", examples=["192.0.2.0/24"]
    )
    port: StrictInt | None = Field(
        default=None, ge=1, le=65535, description="TCP port. Absent: every port and protocol.", examples=[443]
    )


class Egress(Struct):
    """Where the pods may connect to."""

    rules = (
        Rule(
            "self.mode != 'Open' || !has(self.allowTo) || size(self.allowTo) == 0",
            lambda it: it.mode is not EgressMode.OPEN or not it.allow_to,
            "mode Open opens everything, so leave allowTo out",
        ),
    )

    mode: EgressMode = Field(
        default=EgressMode.RESTRICTED,
        description="Restricted: the pods reach what the spec makes them need and nothing else: DNS, the API server where authentication "
        "asks it, the model store, the key service, the issuer's keys. NetworkPolicy knows no host names, so names are looked up and "
        "their addresses opened; status.effective.egress says what was opened and what could not be. The public endpoints of "
        "AWS and of Google Cloud Storage have no fixed addresses: port 443 of every public address is opened for them, and of no private "
        "one. Protects against: a model or "
        "library that sends data out, and a pod that was taken over and looks around. Does not protect against: data that leaves by DNS "
        "queries, or to the very addresses that are open. Open: no policy for what leaves the pods. Cost: none for a call; the network "
        "plug-in's for a connection.",
    )
    allow_to: Annotated[list[AllowedNetwork], Field(max_length=64)] = Field(
        default=[],
        description="Networks to open besides, for what cannot be known here: a proxy whose URL is in a Secret, a store whose name answers "
        "with ever other addresses, DNS elsewhere than in kube-system.",
        examples=[[{"cidr": "192.0.2.0/24", "port": 443}]],
    )


class NetworkPolicyRules(Struct):
    """Who may connect to the pods, and to whom the pods may connect."""

    allow_from: Annotated[list[AllowedPeer], Field(max_length=64), ListedBy("namespace")] = Field(
        default=[],
        description="Namespaces whose pods may connect, beside the ModelDeployment's own. The cluster's network plug-in enforces it, and "
        "some do not: the operator tries a connection that the policy forbids to it, and EndpointSecured says what came of it. Protects "
        "against: pods elsewhere in the cluster that knock at the endpoint. Does not protect against: who is on the node itself or has "
        "its address, and pods of allowed namespaces, for which authentication is.",
    )
    egress: Egress | None = Field(default=None, description="Where the pods may connect to. Absent: mode Restricted.")
