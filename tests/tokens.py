"""Mints tokens of any shape, right and wrong ones, without asking a library whether it likes them."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Json = Mapping[str, Any]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def raw(header: str | Json, claims: str | Json, signature: bytes) -> str:
    """A token of these parts; text is taken as it is, to say things twice."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    return ".".join([*(b64(part.encode()) for part in parts), b64(signature)])


def signed(header: str | Json, claims: str | Json, key: PrivateKey | bytes) -> str:
    """Signed as RS256, ES256 or (bytes) HS256, whatever the header says."""
    unsigned = raw(header, claims, b"").rstrip(".")
    return f"{unsigned}.{b64(signature(unsigned.encode(), key))}"


def signature(content: bytes, key: PrivateKey | bytes) -> bytes:
    if isinstance(key, bytes):
        mac = hmac.HMAC(key, hashes.SHA256())
        mac.update(content)
        return mac.finalize()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(key.sign(content, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PrivateKey, kid: str, **more: str) -> dict[str, str]:
    """The public key as a JSON Web Key."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        parts = {"n": numbers.n.to_bytes(public.key_size // 8, "big"), "e": numbers.e.to_bytes(3, "big")}
        return {"kty": "RSA", "kid": kid, **{name: b64(part) for name, part in parts.items()}, **more}
    point = public.public_numbers()
    parts = {"x": point.x.to_bytes(32, "big"), "y": point.y.to_bytes(32, "big")}
    return {"kty": "EC", "crv": "P-256", "kid": kid, **{name: b64(part) for name, part in parts.items()}, **more}


@dataclass(frozen=True)
class Mint:
    """Makes tokens like a good one, but for what a test changes. `...` leaves something out."""

    key: PrivateKey
    header: Json
    claims: Json
    stranger: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @classmethod
    def like(cls, token: str, key: PrivateKey) -> "Mint":
        """By the header and claims of a token that somebody else has made."""
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
        return cls(key, header, claims)

    def token(self, header: Json | None = None, key: PrivateKey | bytes | None = None, **claims: Any) -> str:
        said = _changed({**self.claims, "exp": int(time.time()) + 600}, claims)
        return signed(_changed(self.header, header or {}), said, key or self.key)


def _changed(content: Json, changes: Json) -> dict[str, Any]:
    return {name: value for name, value in {**content, **changes}.items() if value is not ...}
