"""The fingerprint of a public key, from its PEM file. Called by `rule.py`.

Strict on purpose: the runtime reads the same file with another parser, and a file that the two could read differently (two keys, a
certificate beside the key, another curve) has no fingerprint here. PEM: RFC 7468. SubjectPublicKeyInfo of P-256: RFC 5480.
"""

import base64
import binascii
import hashlib
import re
from typing import Final

FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_PEM: Final = re.compile(
    r"\s*-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]{1,400})-----END PUBLIC KEY-----\s*", re.ASCII
)
_P256_POINT: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
"""How the DER of every P-256 SubjectPublicKeyInfo with an uncompressed point begins; 64 bytes of the point follow."""


def fingerprint(pem: str) -> str:
    """Return `sha256:` and the SHA-256 of the key's DER in hex; empty for what is not exactly one P-256 public key."""
    block = _PEM.fullmatch(pem)
    if block is None:
        return ""
    try:
        der = base64.b64decode(re.sub(r"[\r\n]", "", block[1]), validate=True)
    except binascii.Error:
        return ""
    if not der.startswith(_P256_POINT) or len(der) != len(_P256_POINT) + 64:
        return ""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"
