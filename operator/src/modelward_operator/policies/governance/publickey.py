"""The fingerprint of a public key, from its PEM file: the bare key, or a certificate of it, be it a CA's. Called by `rule.py`.

Strict on purpose: the runtime reads the same file with another parser, and a file that the two could read differently (two keys, a
certificate beside the key, another curve) has no fingerprint here. A certificate is not parsed: the bytes that begin every P-256 key
must stand in it once, and the runtime demands the same. PEM: RFC 7468. SubjectPublicKeyInfo of P-256: RFC 5480.
"""

import base64
import binascii
import hashlib
import re
from typing import Final

FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_PEM: Final = re.compile(
    r"\s*-----BEGIN (PUBLIC KEY|CERTIFICATE)-----\r?\n([A-Za-z0-9+/=\r\n]{1,65536})-----END \1-----\s*", re.ASCII
)
_P256_POINT: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
"""How the DER of every P-256 SubjectPublicKeyInfo with an uncompressed point begins; 64 bytes of the point follow."""


def fingerprint(pem: str) -> str:
    """Return `sha256:` and the SHA-256 of the key's DER in hex; empty for what is not exactly one P-256 public key or certificate."""
    block = _PEM.fullmatch(pem)
    if block is None:
        return ""
    try:
        der = base64.b64decode(re.sub(r"[\r\n]", "", block[2]), validate=True)
    except binascii.Error:
        return ""
    begin, end = der.find(_P256_POINT), der.find(_P256_POINT) + len(_P256_POINT) + 64
    is_bare = (begin, end) == (0, len(der))
    if der.count(_P256_POINT) != 1 or len(der) < end or is_bare != (block[1] == "PUBLIC KEY"):
        return ""
    return f"sha256:{hashlib.sha256(der[begin:end]).hexdigest()}"
