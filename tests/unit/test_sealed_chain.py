"""A CA certificate in the trust: whose signatures it makes count, and what is refused, with exact words."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import model_signing
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.sealed import opening, signature, trust
from modelward_runtime.store.sealed.opening import Expected
from modelward_runtime.store.sealed.signature import Signer, Trust
from modelward_runtime.store.sealed.writing import Sealer, seal
from tests.certificates import FIRST, LAST, ca, issue, leaf, pem
from tests.sealed_folders import IDENTITY, Bytes, signing_key, write_kek, write_signing_key

MIDDLE = FIRST + timedelta(days=100)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ROOT, BETWEEN, LEAF = ca("root"), ca("between", path_length=0), leaf()
ROOT_CERTIFICATE, BETWEEN_CERTIFICATE = issue(ROOT), issue(BETWEEN, ROOT)
LEAF_CERTIFICATE = issue(LEAF, BETWEEN)
CHAIN = (LEAF_CERTIFICATE, BETWEEN_CERTIFICATE)


def key_of(name: str) -> str:
    return signature.fingerprint(signing_key(name).public_key())


BY_ROOT = Signer("corp", key_of("ci"), key_of("root"))


def der(certificates: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(Encoding.DER) for one in certificates)


def trusted(home: Path, *certificates: x509.Certificate, at: datetime = MIDDLE) -> Trust:
    """What a trust directory with these, as corp.pem, corp1.pem and so on, counts for at that moment."""
    folder = home / "trust"
    folder.mkdir(exist_ok=True)
    for number, certificate in enumerate(certificates):
        (folder / f"corp{number or ''}.pem").write_bytes(pem(certificate))
    return trust.load_trust(folder, lambda: at)


def sealed(home: Path, certificates: Sequence[x509.Certificate], name: str = "sealed") -> Path:
    kek = SecretFile(write_kek(home), "k1")
    sealer = Sealer(kek, "k1", signing_key(), certificates=der(certificates))
    seal([Bytes("model.onnx", b"graph")], home / name, IDENTITY, sealer)
    return home / name


def check(folder: Path, counts: Trust) -> Signer:
    checked = opening.check(folder, Expected(IDENTITY.tenant, IDENTITY.model, IDENTITY.version, counts))
    assert checked.keys_signer == checked.signer
    return checked.signer


def refused(folder: Path, counts: Trust) -> LoadError:
    with pytest.raises(LoadError) as caught:
        check(folder, counts)
    assert (caught.value.stage, caught.value.permanent) == ("verify", True)
    return caught.value


ACCEPTED: dict[str, tuple[Sequence[x509.Certificate], Sequence[x509.Certificate], Signer]] = {
    "of the CA itself": ([issue(LEAF, ROOT)], [ROOT_CERTIFICATE], BY_ROOT),
    "by way of another CA": (CHAIN, [ROOT_CERTIFICATE], BY_ROOT),
    "with the trusted CA at its end": ([*CHAIN, ROOT_CERTIFICATE], [ROOT_CERTIFICATE], BY_ROOT),
    "where the nearer CA is trusted": (CHAIN, [BETWEEN_CERTIFICATE], Signer("corp", key_of("ci"), key_of("between"))),
    "where a CA of the same name is trusted too": (
        CHAIN,
        [issue(ca("root", key=signing_key("new root"))), ROOT_CERTIFICATE],
        Signer("corp1", key_of("ci"), key_of("root")),
    ),
    "where the signer's own certificate is trusted": (CHAIN, [LEAF_CERTIFICATE], Signer("corp", key_of("ci"))),
}


@pytest.mark.parametrize(("certificates", "counts", "signer"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_chain_counts(
    tmp_path: Path, certificates: Sequence[x509.Certificate], counts: Sequence[x509.Certificate], signer: Signer
) -> None:
    assert check(sealed(tmp_path, certificates), trusted(tmp_path, *counts)) == signer


OTHER = ca("other")
P384 = ec.generate_private_key(ec.SECP384R1())
REFUSED: dict[str, tuple[Sequence[x509.Certificate], str]] = {
    "of another CA": ([issue(LEAF, OTHER)], "CN=ci was issued by CN=other, which is no CA that is trusted here: corp"),
    "of another CA that calls itself the same": (
        [issue(LEAF, ca("root", key=signing_key("impostor")))],
        "CN=ci was not issued by the next one, CN=root",
    ),
    "without the CA between": ([LEAF_CERTIFICATE], "CN=ci was issued by CN=between, which is no CA that is trusted"),
    "in another order": (
        [LEAF_CERTIFICATE, ROOT_CERTIFICATE, BETWEEN_CERTIFICATE],
        "CN=ci was not issued by the next one, CN=root",
    ),
    "with a stranger behind": ([*CHAIN, issue(OTHER)], "CN=other is not needed to reach the trusted CA corp"),
    "expired": ([issue(leaf(last=MIDDLE - timedelta(days=1)), ROOT)], "CN=ci expired on 2026-04-10"),
    "of a CA that has expired": (
        [issue(LEAF, BETWEEN), issue(ca("between", last=MIDDLE - timedelta(days=1)), ROOT)],
        "CN=between expired on 2026-04-10",
    ),
    "not valid yet": ([issue(leaf(first=MIDDLE + timedelta(days=1)), ROOT)], "CN=ci is not valid before 2026-04-12"),
    "not for code signing": (
        [issue(leaf(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), ROOT)],
        "CN=ci lacks the extended key usage codeSigning",
    ),
    "for no purpose": ([issue(leaf(purposes=None), ROOT)], "CN=ci lacks the extended key usage codeSigning"),
    "not for signatures": (
        [issue(leaf(usage="key_agreement"), ROOT)],
        "CN=ci lacks the key usage digitalSignature",
    ),
    "for no use": ([issue(leaf(usage=None), ROOT)], "CN=ci lacks the key usage digitalSignature"),
    "of a CA, as the signer": (
        [issue(ca("ci"), ROOT)],
        "CN=ci is a CA's: a CA issues certificates and signs no models",
    ),
    "issued by a signer": (
        [issue(LEAF, leaf("alice")), issue(leaf("alice"), ROOT)],
        "CN=alice is no CA's, and issues certificates",
    ),
    "issued by what says nothing of being a CA": (
        [issue(LEAF, BETWEEN), issue(ca("between", is_ca=None), ROOT)],
        "CN=between is no CA's, and issues certificates",
    ),
    "of a CA that may not issue": (
        [issue(LEAF, BETWEEN), issue(ca("between", usage="digital_signature"), ROOT)],
        "CN=between lacks the key usage keyCertSign",
    ),
    "of a CA for something else": (
        [issue(LEAF, BETWEEN), issue(ca("between", purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), ROOT)],
        "CN=between is limited to other purposes than code signing",
    ),
    "of a CA below one that allows none": (
        [issue(LEAF, ca("deep")), issue(ca("deep"), BETWEEN), BETWEEN_CERTIFICATE],
        "CN=between allows 0 CAs below it, and there are 1",
    ),
    "with a rule that is not understood": (
        [issue(leaf(critical=b"\x05\x00"), ROOT)],
        "CN=ci has the critical extension 1.3.6.1.4.1.99999.1, which is not understood",
    ),
    "of a CA with another curve": (
        [issue(LEAF, ca("between", key=P384)), issue(ca("between", key=P384), ROOT)],
        "CN=between has no key of the curve P-256",
    ),
}


@pytest.mark.parametrize(("certificates", "words"), REFUSED.values(), ids=REFUSED)
def test_a_chain_that_does_not_hold_is_refused(
    tmp_path: Path, certificates: Sequence[x509.Certificate], words: str
) -> None:
    error = refused(sealed(tmp_path, certificates), trusted(tmp_path, ROOT_CERTIFICATE))
    assert LoadReason.SIGNER_UNTRUSTED is error.reason
    assert f"model.sig: the certificate {words}" in error.message


def test_a_leaf_of_another_curve_is_refused(tmp_path: Path) -> None:
    error = refused(sealed(tmp_path, [issue(leaf(key=P384), ROOT)]), trusted(tmp_path, ROOT_CERTIFICATE))
    assert LoadReason.SIGNER_UNTRUSTED is error.reason
    assert "CN=ci has no key of the curve P-256" in error.message


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    error = refused(sealed(tmp_path, [issue(leaf("alice"), ROOT)]), trusted(tmp_path, ROOT_CERTIFICATE))
    assert LoadReason.SIGNATURE_INVALID is error.reason


def test_a_cas_own_key_signs_nothing(tmp_path: Path) -> None:
    counts = trusted(tmp_path, issue(ca("ci")))
    assert LoadReason.SIGNER_UNTRUSTED is refused(sealed(tmp_path, []), counts).reason


def test_the_trusted_cas_own_dates_count(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="the certificate of the trusted signer corp expired on 2026-12-31") as caught:
        trusted(tmp_path, ROOT_CERTIFICATE, at=LAST + timedelta(days=1))
    assert caught.value.reason is LoadReason.SIGNER_UNTRUSTED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"usage": "digital_signature"}, "of a CA that lacks the key usage keyCertSign"),
        ({"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}, "of a CA that is limited to other purposes"),
        ({"critical": b"\x05\x00"}, "of a CA that has the critical extension"),
        ({"key": P384}, "is no key of the curve P-256"),
    ],
)
def test_a_ca_that_could_never_count_is_a_mistake_in_the_trust(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(LoadError, match=words) as caught:
        trusted(tmp_path, issue(ca("root", **changes)))
    assert caught.value.reason is LoadReason.CONFIG_INVALID


def test_policies_permit_a_ca_by_its_keys_fingerprint(tmp_path: Path) -> None:
    counts = trusted(tmp_path, ROOT_CERTIFICATE)
    assert check(sealed(tmp_path, CHAIN), trust.permit(counts, [key_of("root")])) == BY_ROOT
    with pytest.raises(LoadError, match=r"no key in security\.verification\.trust counts"):
        trust.permit(counts, [key_of("ci")])


def other_s(certificate: x509.Certificate) -> bytes:
    """The same certificate with the other one of two equivalent ECDSA signatures."""
    r, s = decode_dss_signature(certificate.signature)
    old, new = certificate.signature, encode_dss_signature(r, ORDER - s)
    body = certificate.tbs_certificate_bytes + bytes.fromhex("300a06082a8648ce3d040302")
    bits = b"\x03" + bytes([len(new) + 1]) + b"\0" + new
    whole = body + bits
    made = b"\x30\x82" + len(whole).to_bytes(2, "big") + whole
    assert old not in made
    return made


def encoded(content: bytes) -> dict[str, str]:
    return {"rawBytes": base64.b64encode(content).decode()}


def rewritten(folder: Path, name: str, certificates: Sequence[bytes]) -> None:
    bundle = json.loads((folder / name).read_bytes())
    chain = [encoded(one) for one in certificates]
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = chain
    (folder / name).write_text(json.dumps(bundle, separators=(",", ":")))


@pytest.mark.parametrize("name", ["model.sig", "keys.sig"])
@pytest.mark.parametrize(
    "chain",
    [
        [other_s(LEAF_CERTIFICATE), *der([BETWEEN_CERTIFICATE])],
        [*der([LEAF_CERTIFICATE]), other_s(BETWEEN_CERTIFICATE)],
        der([LEAF_CERTIFICATE]),
        der([*CHAIN, ROOT_CERTIFICATE]),
        der([issue(leaf(last=LAST - timedelta(days=1)), BETWEEN), BETWEEN_CERTIFICATE]),
    ],
    ids=["the leaf's other s", "a CA's other s", "cut", "the CA added", "another certificate of the same key"],
)
def test_a_chain_has_one_spelling_in_a_sealed_folder(tmp_path: Path, name: str, chain: Sequence[bytes]) -> None:
    folder, counts = sealed(tmp_path, CHAIN), trusted(tmp_path, BETWEEN_CERTIFICATE, ROOT_CERTIFICATE)
    check(folder, counts)
    rewritten(folder, name, chain)
    error = refused(folder, counts)
    assert error.reason in {LoadReason.SIGNATURE_INVALID, LoadReason.SIGNER_UNTRUSTED}
    if error.reason is LoadReason.SIGNER_UNTRUSTED:
        assert "is not needed to reach" in error.message


def test_a_chain_cannot_become_a_hint_nor_a_hint_a_chain(tmp_path: Path) -> None:
    counts = {**trusted(tmp_path, ROOT_CERTIFICATE), "ci": signing_key().public_key()}
    folder = sealed(tmp_path, CHAIN)
    bundle = json.loads((folder / "model.sig").read_bytes())
    hint = {"publicKey": {"hint": signature._hint(signing_key().public_key())}, "tlogEntries": []}
    material, bundle["verificationMaterial"] = bundle["verificationMaterial"], hint
    (folder / "model.sig").write_text(json.dumps(bundle, separators=(",", ":")))
    assert LoadReason.SIGNATURE_INVALID is refused(folder, counts).reason
    plain = sealed(tmp_path, [], "hinted")
    bundle = json.loads((plain / "model.sig").read_bytes())
    bundle["verificationMaterial"] = material
    (plain / "model.sig").write_text(json.dumps(bundle, separators=(",", ":")))
    assert LoadReason.SIGNATURE_INVALID is refused(plain, counts).reason


MALFORMED: dict[str, Any] = {
    "no certificate": lambda material: material["x509CertificateChain"].update(certificates=[]),
    "no certificate at all in it": lambda material: material["x509CertificateChain"]["certificates"].append(
        encoded(b"x")
    ),
    "too many": lambda material: material["x509CertificateChain"].update(
        certificates=material["x509CertificateChain"]["certificates"] * 5
    ),
    "an unknown field": lambda material: material["x509CertificateChain"]["certificates"][0].update(note=""),
    "a hint beside it": lambda material: material.update(publicKey={"hint": "0" * 64}),
    "a byte behind a certificate": lambda material: material["x509CertificateChain"]["certificates"].__setitem__(
        0, encoded(der(CHAIN)[0] + b"\0")
    ),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_chain_has_one_form(tmp_path: Path, change: Any) -> None:
    folder = sealed(tmp_path, CHAIN)
    bundle = json.loads((folder / "model.sig").read_bytes())
    change(bundle["verificationMaterial"])
    (folder / "model.sig").write_text(json.dumps(bundle, separators=(",", ":")))
    assert LoadReason.SIGNATURE_INVALID is refused(folder, trusted(tmp_path, ROOT_CERTIFICATE)).reason


def test_no_byte_of_a_signature_with_a_chain_can_change(tmp_path: Path) -> None:
    counts = trusted(tmp_path, ROOT_CERTIFICATE)
    whole = (sealed(tmp_path, CHAIN) / "model.sig").read_bytes()
    signature.verify(whole, counts, "model.sig", low_s=True)
    for at in range(0, len(whole), 5):
        for byte in (b"", bytes([whole[at] ^ 1]), bytes([whole[at] ^ 0x20])):
            with pytest.raises(LoadError):
                signature.verify(whole[:at] + byte + whole[at + 1 :], counts, "model.sig", low_s=True)


def test_the_tool_verifies_a_sealed_folder_by_its_ca(tmp_path: Path) -> None:
    folder, root = sealed(tmp_path, CHAIN), tmp_path / "root.pem"
    root.write_bytes(pem(ROOT_CERTIFICATE))
    stranger = tmp_path / "other.pem"
    stranger.write_bytes(pem(issue(OTHER)))
    for name in ("model.sig", "keys.sig"):
        config = model_signing.verifying.Config()
        config.use_certificate_verifier(certificate_chain=[root]).verify(folder, folder / name)
        with pytest.raises(Exception, match="unable to get local issuer"):
            config.use_certificate_verifier(certificate_chain=[stranger]).verify(folder, folder / name)


def test_what_the_tool_signs_with_a_certificate_verifies_here(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    private, _ = write_signing_key(tmp_path)
    for name, certificate in (("leaf", LEAF_CERTIFICATE), ("between", BETWEEN_CERTIFICATE)):
        (tmp_path / f"{name}.pem").write_bytes(pem(certificate))
    signing = model_signing.signing.Config().use_certificate_signer(
        private_key=private,
        signing_certificate=tmp_path / "leaf.pem",
        certificate_chain=[tmp_path / "between.pem"],
    )
    signing.set_hashing_config(model_signing.hashing.Config().set_ignored_paths(paths=[Path("model.sig")]))
    signing.sign(folder, folder / "model.sig")
    assert opening.verify_plain(folder, trusted(tmp_path, ROOT_CERTIFICATE)) == BY_ROOT
    with pytest.raises(LoadError) as caught:
        opening.verify_plain(folder, {"corp": trusted(tmp_path, issue(OTHER))["corp"]})
    assert caught.value.reason is LoadReason.SIGNER_UNTRUSTED
