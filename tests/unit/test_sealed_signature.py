"""Signatures go both ways: the model-signing tool verifies ours, and what it signs verifies here."""

import base64
import json
import subprocess
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import model_signing
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.sealed import opening, signature
from modelward_runtime.store.sealed.signature import Signer
from modelward_runtime.store.sealed.trust import load_trust
from tests.certificates import FIRST, LAST, certificate
from tests.sealed_folders import make_sealed, signing_key, write_signing_key

TRUST = {"ci": signing_key().public_key()}
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CI = Signer("ci", signature.fingerprint(TRUST["ci"]))


def command(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    (folder / "weights").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "weights" / "é a.bin").write_bytes(b"weights")
    (folder / "weights-old").write_bytes(b"sorts between a folder and what is in it")
    return folder


def sign_with_tool(folder: Path, home: Path, *ignored: str) -> None:
    """By the tool's library, which starts faster than its command."""
    private, _ = write_signing_key(home)
    leave_out = [Path("model.sig"), *map(Path, ignored)]
    signing = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
    signing.set_hashing_config(model_signing.hashing.Config().set_ignored_paths(paths=leave_out))
    signing.sign(folder, folder / "model.sig")


def reason(folder: Path, trust: signature.Trust = TRUST) -> LoadReason:
    with pytest.raises(LoadError) as caught:
        opening.verify_plain(folder, trust)
    assert caught.value.stage == "verify"
    return caught.value.reason


def test_the_tool_verifies_a_sealed_folder_and_its_keys(tmp_path: Path) -> None:
    sealed = make_sealed(tmp_path, {"model.onnx": b"graph", "weights.bin": b"w" * 2_000_000})
    _, public = write_signing_key(tmp_path)
    for name in ("model.sig", "keys.sig"):
        done = command("verify", "key", sealed.folder, "--public_key", public, "--signature", sealed.folder / name)
        assert done.returncode == 0, done.stderr + done.stdout
    with (sealed.folder / "data" / "1").open("r+b") as file:
        file.write(b"?")
    done = command("verify", "key", sealed.folder, "--public_key", public, "--signature", sealed.folder / "model.sig")
    assert done.returncode != 0


def test_what_the_tool_signs_verifies_here(plain: Path, tmp_path: Path) -> None:
    private, _ = write_signing_key(tmp_path)
    done = command("sign", "key", plain, "--private_key", private, "--signature", plain / "model.sig")
    assert done.returncode == 0, done.stderr + done.stdout
    assert opening.verify_plain(plain, TRUST) == CI


def test_a_sealed_folder_may_be_signed_by_the_tool(tmp_path: Path) -> None:
    sealed = make_sealed(tmp_path, {"model.onnx": b"graph"})
    for _ in range(20):  # the tool's signature has a low s every other time
        sign_with_tool(sealed.folder, tmp_path, "keys.json", "keys.sig")
        _, s = decode_dss_signature(base64.b64decode(bundle(sealed.folder)["dsseEnvelope"]["signatures"][0]["sig"]))
        if s <= ORDER // 2:
            break
    assert opening.check(sealed.folder, sealed.expected).signer == CI


def bundle(folder: Path) -> Any:
    return json.loads((folder / "model.sig").read_bytes())


def rewrite(folder: Path, content: Any, **options: Any) -> None:
    (folder / "model.sig").write_text(json.dumps(content, **{"separators": (",", ":"), **options}))


def test_a_file_more_or_less_or_changed_is_refused(plain: Path, tmp_path: Path) -> None:
    sign_with_tool(plain, tmp_path)
    (plain / ".gitattributes").write_bytes(b"the tool itself would not look at this")
    assert reason(plain) is LoadReason.SIGNATURE_INVALID
    (plain / ".gitattributes").unlink()
    (plain / "model.onnx").write_bytes(b"grapH")
    assert reason(plain) is LoadReason.SIGNATURE_INVALID
    (plain / "model.onnx").unlink()
    assert reason(plain) is LoadReason.SIGNATURE_INVALID
    (plain / "model.onnx").write_bytes(b"graph")
    opening.verify_plain(plain, TRUST)
    (plain / "model.sig").unlink()
    assert reason(plain) is LoadReason.SIGNATURE_MISSING


def test_a_stranger_is_not_trusted(plain: Path, tmp_path: Path) -> None:
    sign_with_tool(plain, tmp_path)
    assert reason(plain, {"ci": signing_key("other").public_key()}) is LoadReason.SIGNER_UNTRUSTED
    assert reason(plain, {}) is LoadReason.SIGNER_UNTRUSTED


def test_a_claimed_hint_does_not_make_a_stranger_trusted(plain: Path, tmp_path: Path) -> None:
    sign_with_tool(plain, tmp_path)
    forged = bundle(plain)
    victim = signing_key("other").public_key()
    forged["verificationMaterial"]["publicKey"]["hint"] = signature._hint(victim)
    rewrite(plain, forged)
    assert reason(plain, {"victim": victim}) is LoadReason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["verificationMaterial"]["publicKey"].pop("hint"),
        lambda b: b["verificationMaterial"].pop("tlogEntries"),
        lambda b: b["verificationMaterial"].update(timestampVerificationData={}),
        lambda b: b.update(note="unknown"),
        lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.3"),
        lambda b: b["dsseEnvelope"].update(payloadType="text/plain"),
        lambda b: b["dsseEnvelope"]["signatures"][0].update(keyid="k"),
        lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0]),
        lambda b: b["dsseEnvelope"]["signatures"].clear(),
        lambda b: b["dsseEnvelope"].update(payload=b["dsseEnvelope"]["payload"] + "\n"),
        lambda b: b["dsseEnvelope"].update(payload=b["dsseEnvelope"]["payload"].rstrip("=") + "===="),
    ],
)
def test_a_bundle_has_one_form(plain: Path, tmp_path: Path, change: Any) -> None:
    sign_with_tool(plain, tmp_path)
    changed = bundle(plain)
    rewrite(plain, changed)
    opening.verify_plain(plain, TRUST)  # unchanged so far
    change(changed)
    rewrite(plain, changed)
    assert reason(plain) is LoadReason.SIGNATURE_INVALID


@pytest.mark.parametrize("options", [{"indent": 1}, {"separators": (", ", ": ")}, {"sort_keys": True}])
def test_a_bundle_has_one_spelling(plain: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    sign_with_tool(plain, tmp_path)
    rewrite(plain, bundle(plain), **options)
    assert reason(plain) is LoadReason.SIGNATURE_INVALID


def test_of_two_equivalent_signatures_a_sealed_folder_takes_one(tmp_path: Path) -> None:
    sealed = make_sealed(tmp_path, {"model.onnx": b"graph"})
    content = bundle(sealed.folder)
    r, s = decode_dss_signature(base64.b64decode(content["dsseEnvelope"]["signatures"][0]["sig"]))
    high = base64.b64encode(encode_dss_signature(r, ORDER - s)).decode()
    content["dsseEnvelope"]["signatures"][0]["sig"] = high
    rewrite(sealed.folder, content)
    with pytest.raises(LoadError) as caught:
        opening.check(sealed.folder, sealed.expected)
    assert caught.value.reason is LoadReason.SIGNATURE_INVALID


def test_trust_is_a_directory_of_p256_keys(tmp_path: Path) -> None:
    home = tmp_path / "trust"
    home.mkdir()
    _, public = write_signing_key(tmp_path)
    with pytest.raises(LoadError, match=r"no NAME\.pem"):
        load_trust(home)
    (home / "ci.pem").write_bytes(public.read_bytes())
    assert signature.fingerprint(load_trust(home)["ci"]) == CI.fingerprint
    (home / "broken.pem").write_bytes(b"nothing")
    with pytest.raises(LoadError, match=r"broken\.pem") as caught:
        load_trust(home)
    assert caught.value.reason is LoadReason.CONFIG_INVALID


def test_a_certificate_counts_from_its_first_day_to_its_last(tmp_path: Path) -> None:
    home = tmp_path / "trust"
    home.mkdir()
    (home / "ci.pem").write_bytes(certificate("ci"))
    known = load_trust(home, lambda: FIRST + timedelta(days=30))
    assert signature.fingerprint(known["ci"]) == CI.fingerprint
    for moment, words in (
        (LAST + timedelta(days=1), "expired on 2026-12-31"),
        (FIRST - timedelta(days=1), "not valid before 2026"),
    ):
        with pytest.raises(LoadError, match=f"the certificate of the trusted signer ci .*{words}") as caught:
            load_trust(home, partial(datetime.astimezone, moment))
        assert caught.value.reason is LoadReason.SIGNER_UNTRUSTED


def test_an_expired_certificate_takes_no_other_signer_down(tmp_path: Path) -> None:
    home = tmp_path / "trust"
    home.mkdir()
    (home / "old.pem").write_bytes(certificate("old"))
    (home / "ci.pem").write_bytes(write_signing_key(tmp_path)[1].read_bytes())
    assert set(load_trust(home, lambda: LAST + timedelta(days=1))) == {"ci"}


SPKI = signing_key("decoy").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PUBLIC = signing_key("other").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
MISLEADING = {
    "two certificates": certificate("ci") + certificate("other"),
    "a key beside it": certificate("ci") + PUBLIC,
    "another curve": certificate("ci", key=ec.generate_private_key(ec.SECP384R1())),
    "another key in an extension": certificate("ci", extension=SPKI),
    "another curve with a P-256 key in an extension": certificate(
        "ci", key=ec.generate_private_key(ec.SECP384R1()), extension=SPKI
    ),
}


@pytest.mark.parametrize("pem", MISLEADING.values(), ids=MISLEADING)
def test_a_certificate_that_two_readers_could_read_differently_is_refused(tmp_path: Path, pem: bytes) -> None:
    home = tmp_path / "trust"
    home.mkdir()
    (home / "ci.pem").write_bytes(pem)
    with pytest.raises(LoadError, match=r"ci\.pem") as caught:
        load_trust(home, lambda: FIRST + timedelta(days=30))
    assert caught.value.reason is LoadReason.CONFIG_INVALID
