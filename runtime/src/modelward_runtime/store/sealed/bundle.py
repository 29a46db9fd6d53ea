"""The file form of a signature: a sigstore bundle around a DSSE envelope, as OpenSSF Model Signing writes it, read strictly.

`signature.py` reads and writes through it. It must not judge keys or certificates, nor look into the payload.

    bundle    {"mediaType","verificationMaterial":{MATERIAL,"tlogEntries":[]},"dsseEnvelope":{…}}   one spelling, see `write`
    MATERIAL  "publicKey":{"hint"}                                       key mode
              "x509CertificateChain":{"certificates":[{"rawBytes"}…]}     certificate mode: the leaf, then its issuers

A bundle proves nothing about its own bytes: JSON and base64 could be spelt otherwise. So it is written again from what was understood
and compared.
"""

import base64
import json
from typing import Annotated, Any, Final, Literal

import msgspec

from modelward_runtime.store.sealed.refusals import signature_invalid

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MOST_CERTIFICATES: Final = 8
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What every record of a signature has in common."""


class _PublicKey(Strict, frozen=True):
    hint: Hex


class _Certificate(Strict, frozen=True):
    raw_bytes: str


class _Chain(Strict, frozen=True):
    certificates: Annotated[list[_Certificate], msgspec.Meta(min_length=1, max_length=MOST_CERTIFICATES)]


class _Material(Strict, frozen=True, kw_only=True):
    public_key: _PublicKey | None = None
    x509_certificate_chain: _Chain | None = msgspec.field(default=None, name="x509CertificateChain")
    tlog_entries: Annotated[list[str], msgspec.Meta(max_length=0)]


class _Signature(Strict, frozen=True):
    sig: str
    keyid: Literal[""]


class _Envelope(Strict, frozen=True):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_Signature], msgspec.Meta(min_length=1, max_length=1)]


class _File(Strict, frozen=True):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


class Bundle(msgspec.Struct, frozen=True):
    """What a bundle says: the hint of a key, or certificates in DER, the leaf first; the payload; its signature in DER."""

    hint: str
    certificates: tuple[bytes, ...]
    payload: bytes
    signature: bytes


def write(bundle: Bundle) -> bytes:
    """The one spelling of a bundle, which is also the model-signing tool's."""
    material: dict[str, Any] = {"publicKey": {"hint": bundle.hint}}
    if bundle.certificates:
        raw = [{"rawBytes": base64.b64encode(certificate).decode()} for certificate in bundle.certificates]
        material = {"x509CertificateChain": {"certificates": raw}}
    envelope = {
        "payload": base64.b64encode(bundle.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(bundle.signature).decode(), "keyid": ""}],
    }
    whole = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {**material, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def read(content: bytes, name: str) -> Bundle:
    """A bundle in its one spelling; LoadError SignatureInvalid says what is wrong with the file `name`."""
    try:
        found = _bundle(msgspec.json.decode(content, type=_File))
    except (RecursionError, ValueError) as error:
        raise signature_invalid(
            f"{name} is no model-signing bundle with a public key's hint or a certificate chain: {error}"
        ) from None
    if write(found) != content:
        raise signature_invalid(f"{name} is not in canonical form: it was changed after signing")
    return found


def _bundle(file: _File) -> Bundle:
    key, chain = file.verification_material.public_key, file.verification_material.x509_certificate_chain
    if (key is None) == (chain is None):
        raise ValueError("there must be a public key's hint or a certificate chain, and not both")
    envelope = file.dsse_envelope
    return Bundle(
        key.hint if key else "",
        tuple(base64.b64decode(one.raw_bytes, validate=True) for one in chain.certificates) if chain else (),
        base64.b64decode(envelope.payload, validate=True),
        base64.b64decode(envelope.signatures[0].sig, validate=True),
    )
