"""Public keys of the curve P-256 as SubjectPublicKeyInfo, in the one spelling that tools write.

`trust.py` reads signers' keys with it, `signature.py` makes fingerprints. `cryptography`'s own `serialization` can do more, and its
import takes as long as all else in verification. It must not take anything but this one form: `read_pem` gives None then.

    RFC 5480: SEQUENCE { SEQUENCE { ecPublicKey, prime256v1 }, BIT STRING { 04 | x (32 bytes) | y (32 bytes) } }
"""

import base64
import binascii
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

_HEAD: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----\n", b"-----END PUBLIC KEY-----\n"
_POINT: Final = 65  # bytes
_LINE: Final = 64  # characters


def read_pem(content: bytes) -> ec.EllipticCurvePublicKey | None:
    """The key in a PEM file; None when it is spelt in another way, or is another key. ValueError: the point is not on the curve."""
    body = content.removeprefix(_BEGIN).removesuffix(_END)
    try:
        encoded = base64.b64decode(body.replace(b"\n", b""), validate=True)
    except binascii.Error:
        return None
    if (
        len(encoded) != len(_HEAD) + _POINT
        or _armoured(encoded) != content
        or encoded[: len(_HEAD) + 1] != _HEAD + b"\4"
    ):
        return None
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded[len(_HEAD) :])


def der(key: ec.EllipticCurvePublicKey) -> bytes:
    """A P-256 key's SubjectPublicKeyInfo."""
    numbers = key.public_numbers()
    return _HEAD + b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """The same as text."""
    return _armoured(der(key))


def _armoured(content: bytes) -> bytes:
    text = base64.b64encode(content)
    lines = [text[at : at + _LINE] + b"\n" for at in range(0, len(text), _LINE)]
    return _BEGIN + b"".join(lines) + _END
