"""Answers packed with gzip, for callers who ask for it by `Accept-Encoding` (RFC 9110, 12.5.3).

Called by `web.py` with answers that may be packed. Two kinds never are: small ones, which a packet holds anyway, unless the caller takes
nothing else; and those that hold text, because there what one party chose can stand beside what another keeps secret, and then the
length of what is packed tells an eavesdropper of TLS where they are alike (BREACH, 2013). It must not know what a body means.
"""

import asyncio
import re
import zlib
from collections.abc import Mapping
from typing import Final

LEAST_BYTES: Final = 4096
_INLINE: Final = 1 << 16  # larger ones are packed on a thread: 64 KiB take about a millisecond
_LEVEL: Final = 1  # numbers pack little better for five times the time
_GZIP: Final = zlib.MAX_WBITS | 16
_WEIGHT: Final = re.compile(rb"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")


def least_packed(accepted: bytes) -> int | None:
    """Bytes from which on this caller's answers are packed; None where no answer is. `accepted` is the header's value."""
    weights = _weights(accepted)
    anything = weights.get(b"*")
    gzip = weights.get(b"gzip", weights.get(b"x-gzip", anything or 0.0))
    identity = weights.get(b"identity", anything)
    if not gzip or (identity or 0.0) > gzip:
        return None
    return 0 if identity == 0.0 else LEAST_BYTES


async def pack(body: bytes) -> bytes:
    """The body in gzip's form; a large one is packed beside the event loop."""
    return _pack(body) if len(body) <= _INLINE else await asyncio.to_thread(_pack, body)


def _pack(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def _weights(accepted: bytes) -> Mapping[bytes, float]:
    """What weight the caller gives to a coding; 0, which is no, where it is not well spelled."""
    weights = {}
    for part in accepted.lower().split(b","):
        coding, *parameters = (piece.strip() for piece in part.split(b";"))
        weight = b"1"
        for parameter in parameters:
            name, _, value = parameter.partition(b"=")
            if name.strip() == b"q":
                weight = value.strip()
        if coding:
            weights[coding] = float(weight) if _WEIGHT.fullmatch(weight) else 0.0
    return weights
