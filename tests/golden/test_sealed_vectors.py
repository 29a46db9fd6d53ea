"""The vectors of the sealed format, and a second reader that was written from FORMAT.md alone.

`tests/vectors/sealed/` holds a small sealed folder, the keys to it, and `vectors.json` with every value on the way to its plaintext.
`make golden` writes them anew: a diff there is a change of the format, and needs another `format`.
"""

import base64
import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from modelward_runtime.store.sealed import keys, opening, stream
from modelward_runtime.store.sealed.manifest import associated_data
from modelward_runtime.store.sealed.trust import load_trust
from tests.certificates import FIRST, ca, issue, leaf, pem
from tests.sealed_folders import IDENTITY, make_sealed, random_like, signing_key, write_signing_key

HOME = Path(__file__).parent.parent / "vectors" / "sealed"
FILES = {"model.onnx": b"not a model, and nobody looks", "weights/layer-0.bin": bytes(range(256)), "empty": b""}
SIZES = [0, 1, 1048520, 1048521, 2097080, 2097081, 5_000_000]
AROUND = ("manifest.json", "model.sig", "keys.json", "keys.sig")
NAMES = [f"fraud-7/{name}" for name in (*AROUND, "data/0", "data/1", "data/2")]
CERTIFIED = [f"fraud-7-certified/{name}" for name in (*AROUND, "data/0")]
BETWEEN = ca("between", path_length=0)
CHAIN = (issue(leaf(), BETWEEN), issue(BETWEEN, ca("root")))


def produce(home: Path) -> dict[str, Any]:
    """The folder and keys, below `home`, and the values for vectors.json."""
    sealed = make_sealed(home, FILES, name="fraud-7", seed="vectors")
    private, _ = write_signing_key(home)
    private.unlink()  # a reader needs none, and a repository holds none
    files = {"model.onnx": FILES["model.onnx"]}
    make_sealed(home, files, name="fraud-7-certified", seed="certified", certificates=CHAIN)
    (home / "root.pem").write_bytes(pem(issue(ca("root"))))
    checked = opening.check(sealed.folder, sealed.expected)
    data_key = opening.unwrap(checked, sealed.kek).data_key
    (entry,) = checked.keys
    return {
        "identity": IDENTITY.__dict__,
        "signerFingerprint": checked.signer.fingerprint,
        "digest": checked.digest,
        "kek": base64.b64decode((home / "k1").read_bytes()).hex(),
        "kekVersion": entry.kek_version,
        "context": keys.context(checked.manifest_sha256, entry.kek_id).hex(),
        "dataKey": data_key.hex(),
        "keyCommitment": checked.manifest.key_commitment,
        "files": [
            {
                "path": file.path,
                "associatedData": checked.manifest.associated_data(file.path).hex(),
                "plaintext": FILES[file.path].hex(),
            }
            for file in checked.manifest.files
        ],
        "streams": {
            "about": "plaintext: SHAKE-256 of 'plaintext 1', so many bytes; header: 40, then 32 bytes of 1, then 7 bytes of 2",
            "dataKey": bytes(range(32)).hex(),
            "associatedData": associated_data("t", "m", "1", "p").hex(),
            "ciphertexts": [{"plaintextSize": size, **stream_of(size)} for size in SIZES],
        },
    }


def stream_of(size: int) -> dict[str, Any]:
    out = bytearray()
    draws = iter([b"\1" * 32, b"\2" * 7])
    bound = associated_data("t", "m", "1", "p")
    encryptor = stream.Encryptor(bytes(range(32)), bound, out.extend, lambda _: next(draws))
    encryptor.write(random_like("plaintext")(size))
    encryptor.finish()
    return {"size": len(out), "sha256": hashlib.sha256(out).hexdigest()}


def test_the_vectors_are_what_sealing_makes(rewrite: bool, tmp_path: Path) -> None:
    values = produce(tmp_path)
    if rewrite:
        shutil.rmtree(HOME, ignore_errors=True)
        shutil.copytree(tmp_path, HOME)
        (HOME / "vectors.json").write_text(json.dumps(values, indent=2) + "\n")
    assert json.loads((HOME / "vectors.json").read_text()) == values
    for name in ("k1", "ci.pub.pem", "root.pem", *NAMES, *CERTIFIED):
        assert (HOME / name).read_bytes() == (tmp_path / name).read_bytes(), name


# --- the second reader: FORMAT.md, and nothing of ours ---


def bind(*texts: str) -> bytes:
    return hashlib.sha256(b"".join(len(t.encode()).to_bytes(4, "big") + t.encode() for t in texts)).digest()


def hkdf(key: bytes, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def canonical(content: bytes) -> Any:
    value = json.loads(content)
    assert json.dumps(value, sort_keys=True, separators=(",", ":")).encode() == content
    return value


Trusted = ec.EllipticCurvePublicKey | x509.Certificate


def chained(material: Any, root: x509.Certificate) -> tuple[ec.EllipticCurvePublicKey, str]:
    """The leaf's key, and the digest over the chain."""
    raw = [base64.b64decode(one["rawBytes"], validate=True) for one in material["x509CertificateChain"]["certificates"]]
    chain = [*map(x509.load_der_x509_certificate, raw), root]
    for below, issuer in itertools.pairwise(chain):
        below.verify_directly_issued_by(issuer)
    key = chain[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key, hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in raw)).hexdigest()


def signed(folder: Path, name: str, trusted: Trusted) -> dict[str, str]:
    """The files and digests in a bundle of this signer, or of one whom this CA has certified."""
    content = (folder / name).read_bytes()
    bundle = json.loads(content)
    assert json.dumps(bundle, separators=(",", ":")).encode() == content
    material, annotations = bundle["verificationMaterial"], None
    assert material.pop("tlogEntries") == []
    if isinstance(trusted, x509.Certificate):
        public, chain = chained(material, trusted)
        annotations = {"modelward.dev/certificates": chain}
    else:
        public = trusted
        text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert material == {"publicKey": {"hint": hashlib.sha256(text).hexdigest()}}
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    public.verify(base64.b64decode(signature["sig"], validate=True), encoded, ec.ECDSA(hashes.SHA256()))
    assert json.loads(payload)["subject"][0].get("annotations") == annotations
    resources = json.loads(payload)["predicate"]["resources"]
    return {resource["name"]: resource["digest"] for resource in resources}


def decrypt(data_key: bytes, associated: bytes, ciphertext: bytes) -> bytes:
    assert ciphertext[0] == 40
    aead = AESGCM(hkdf(data_key, ciphertext[1:33], associated))
    starts = [40, *range(1 << 20, len(ciphertext), 1 << 20)]
    out = b""
    for number, start in enumerate(starts):
        is_last = number == len(starts) - 1
        piece = ciphertext[start : (number + 1) << 20]
        out += aead.decrypt(ciphertext[33:40] + number.to_bytes(4, "big") + bytes([is_last]), piece, None)
    return out


def read(folder: Path, public: Trusted, kek: bytes, identity: dict[str, str]) -> dict[str, bytes]:
    """Sealed folder in, plaintext out."""
    content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    manifest, wrapped = canonical(content["manifest.json"]), canonical(content["keys.json"])
    data = [f"data/{index}" for index in range(len(manifest["files"]))]
    assert set(content) == {"manifest.json", "model.sig", "keys.json", "keys.sig", *data}
    assert signed(folder, "model.sig", public) == {name: digests[name] for name in ("manifest.json", *data)}
    assert signed(folder, "keys.sig", public) == {"keys.json": digests["keys.json"]}
    assert {field: manifest[field] for field in identity} == identity
    assert wrapped["manifestSha256"] == digests["manifest.json"]
    (entry,) = wrapped["keys"]
    box = base64.b64decode(entry["wrapped"])
    context = bind("modelward.keys/v1", digests["manifest.json"], entry["kekId"])
    data_key = AESGCM(kek).decrypt(box[:12], box[12:], context)
    assert hkdf(data_key, None, b"modelward.sealed/v1 commitment").hex() == manifest["keyCommitment"]
    found = {}
    for name, file in zip(data, manifest["files"], strict=True):
        assert (file["size"], file["sha256"]) == (len(content[name]), digests[name])
        associated = bind("modelward.sealed/v1", *identity.values(), file["path"])
        found[file["path"]] = decrypt(data_key, associated, content[name])
        assert len(found[file["path"]]) == file["plaintextSize"]
    return found


def test_a_second_reader_opens_the_vectors() -> None:
    public = load_pem_public_key((HOME / "ci.pub.pem").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    identity = {"tenant": "risk", "model": "fraud", "version": "7"}
    kek = base64.b64decode((HOME / "k1").read_bytes())
    assert read(HOME / "fraud-7", public, kek, identity) == FILES
    root = x509.load_pem_x509_certificate((HOME / "root.pem").read_bytes())
    assert read(HOME / "fraud-7-certified", root, kek, identity) == {"model.onnx": FILES["model.onnx"]}


@pytest.mark.parametrize("size", [1, 1048521, 5_000_000])
def test_a_second_reader_opens_streams_of_several_segments(size: int) -> None:
    out = bytearray()
    encryptor = stream.Encryptor(b"k" * 32, b"bound", out.extend)
    encryptor.write(random_like("plaintext")(size))
    encryptor.finish()
    assert decrypt(b"k" * 32, b"bound", bytes(out)) == random_like("plaintext")(size)


def test_the_vectors_open() -> None:
    expected = opening.Expected(**IDENTITY.__dict__, trust={"ci": signing_key().public_key()})
    checked = opening.check(HOME / "fraud-7", expected)
    values = json.loads((HOME / "vectors.json").read_text())
    buffers = opening.decrypt(checked, bytes.fromhex(values["dataKey"]), threads=1)
    assert {path: bytes(buffer) for path, buffer in buffers.items()} == FILES


def test_the_vectors_of_a_chain_verify(tmp_path: Path) -> None:
    shutil.copy(HOME / "root.pem", tmp_path)
    expected = opening.Expected(**IDENTITY.__dict__, trust=load_trust(tmp_path, lambda: FIRST))
    assert opening.check(HOME / "fraud-7-certified", expected).signer.name == "root"
