"""What the pods' certificates are checked against, in the form that each transport wants.

Made by `route.py` from a route's `tls`. A pod is dialled by its address and must show the certificate of its Service: whoever has got hold
of a pod's address without it is not spoken to.
"""

import ssl
from dataclasses import dataclass, field

from modelward_runtime.activator.config import Tls


@dataclass(frozen=True)
class Trust:
    """A bundle of certificates, and the name that a pod's certificate must have; a context for each protocol."""

    bundle: str = field(repr=False)
    server_name: str
    http1: ssl.SSLContext = field(compare=False, repr=False)
    http2: ssl.SSLContext = field(compare=False, repr=False)


def trust_of(tls: Tls | None) -> Trust | None:
    """None without TLS. Raises ssl.SSLError for a bundle that is none."""
    if tls is None:
        return None
    http2 = _context(tls)
    http2.set_alpn_protocols(["h2"])
    return Trust(tls.ca_bundle, tls.dns_names[0], _context(tls), http2)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=tls.ca_bundle)
    return context
