"""Loading what is sealed or signed: the same answers as the plain file, and no way around signature, seal and key."""

import asyncio
import base64
import errno
import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelward_runtime import load as loading
from modelward_runtime.config import Boot, Encryption, SharedCache, VaultKeys, Verification, parse_boot
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import guard_of
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import Patience, load
from modelward_runtime.report import Report, State
from modelward_runtime.store import s3
from modelward_runtime.store.cache import Cache, Record
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.kek import connect
from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.remote import Reading, RemoteFile
from modelward_runtime.store.sealed import opening, signature, writing
from modelward_runtime.store.sealed.signature import fingerprint
from modelward_runtime.store.sealed.writing import Sealer
from modelward_runtime.store.shared import Shared
from modelward_runtime.store.verify import digest_of
from tests import sealed_mutations
from tests.certificates import ca, certificate, days_ago, issue, leaf, pem
from tests.recorded_vault import JWT, running
from tests.sealed_folders import IDENTITY, Bytes, make_sealed, random_like, signing_key, write_kek
from tests.sealed_models import MARKER, SIDE, make_model, model_files, put_plain, sealed_boot

ONE = Hardware(1, 1.0)
QUICK = Patience(stall=60.0, first_pause=0.001, longest_pause=0.002, tick=0.01)
ROWS = np.random.default_rng(3).standard_normal((4, SIDE)).astype(np.float32)


def attempt(boot: Boot, cache: Path, report: Report | None = None) -> Any:
    """The model, loaded as a pod would."""
    known = report or Report(boot, "b")
    return asyncio.run(load(boot, guard_of(boot.security), Cache(cache), known, ONE, QUICK))


def refusal(boot: Boot, cache: Path) -> LoadError:
    """Why it is not; what the report says is the same."""
    report = Report(boot, "b")
    with pytest.raises(LoadError) as caught:
        attempt(boot, cache, report)
    assert report.failure is not None
    assert str(caught.value.reason) == report.failure["reason"]
    assert not report.loaded
    return caught.value


def changed(boot: Boot, **security: Any) -> Boot:
    assert boot.security is not None
    return msgspec.structs.replace(boot, security=msgspec.structs.replace(boot.security, **security))


@pytest.mark.parametrize("split", [False, True])
def test_a_sealed_model_answers_as_onnxruntime_does_on_the_plain_file(tmp_path: Path, split: bool) -> None:
    sealed = make_model(tmp_path, split=split)
    plain = put_plain(tmp_path / "plain", sealed.files)
    expected = onnxruntime.InferenceSession(str(plain / "model.onnx")).run(None, {"x": ROWS})[0]
    (found,) = attempt(sealed_boot(tmp_path, sealed), tmp_path / "c").run({"x": ROWS}, ["y"])
    np.testing.assert_array_equal(expected, found)


def test_the_report_tells_who_signed_and_which_key_opened(tmp_path: Path) -> None:
    sealed = make_model(tmp_path)
    digest = digest_of(sealed.folder)
    boot = sealed_boot(tmp_path, sealed, digest=digest)
    report = Report(boot, "b", wall=lambda: 1_800_000_000.0)
    attempt(boot, tmp_path / "c", report)
    model = msgspec.json.decode(report.to_json())["model"]
    assert {"name": "ci", "fingerprint": fingerprint(signing_key().public_key())} == model["signer"]
    assert ("k1", True, True, "2027-01-15T08:00:00.000Z") == (
        model["keyId"],
        model["encrypted"],
        model["verified"],
        model["verifiedTime"],
    )
    assert (
        digest
        == model["digest"]
        == f"sha256:{hashlib.sha256((sealed.folder / 'manifest.json').read_bytes()).hexdigest()}"
    )
    assert {"fetch", "verify", "decrypt", "load"} == set(report.stage_seconds)


def test_a_plain_models_report_says_nothing_of_it(tmp_path: Path) -> None:
    plain = put_plain(tmp_path / "plain", model_files(split=False))
    boot = msgspec.structs.replace(sealed_boot(tmp_path, make_model(tmp_path), directory=str(plain)), security=None)
    report = Report(boot, "b")
    attempt(boot, tmp_path / "c", report)
    assert {"name", "version", "uri", "verified", "digest", "sizeBytes", "cached"} == set(
        msgspec.json.decode(report.to_json())["model"]
    )


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plain_model_where_encryption_is_required(tmp_path: Path) -> None:
    plain = put_plain(tmp_path / "plain", model_files(split=False))
    error = refusal(sealed_boot(tmp_path, make_model(tmp_path), directory=str(plain)), tmp_path / "c")
    assert (LoadReason.NOT_SEALED, "verify", True) == (error.reason, error.stage, error.permanent)


@pytest.mark.parametrize("verification", [True, False])
def test_a_sealed_model_where_no_key_is_named(tmp_path: Path, verification: bool) -> None:
    boot = sealed_boot(tmp_path, make_model(tmp_path))
    boot = changed(boot, encryption=None) if verification else msgspec.structs.replace(boot, security=None)
    error = refusal(boot, tmp_path / "c")
    assert (LoadReason.SEALED_WITHOUT_KEY, "verify", True) == (error.reason, error.stage, error.permanent)


def test_a_signer_whose_certificate_has_expired(tmp_path: Path) -> None:
    boot = sealed_boot(tmp_path, make_model(tmp_path))
    trusted = tmp_path / "trust" / "ci.pem"
    trusted.write_bytes(certificate(first=days_ago(30), last=days_ago(-30)))
    attempt(boot, tmp_path / "c")
    trusted.write_bytes(certificate(first=days_ago(30), last=days_ago(1)))
    error = refusal(boot, tmp_path / "c")
    assert (LoadReason.SIGNER_UNTRUSTED, "verify", True) == (error.reason, error.stage, error.permanent)
    assert "the certificate of the trusted signer ci expired on" in error.message


def test_a_signer_whom_a_trusted_ca_has_certified(tmp_path: Path) -> None:
    now: dict[str, Any] = {"first": days_ago(30), "last": days_ago(-30)}
    root = ca("root", **now)
    sealed = make_sealed(tmp_path, model_files(split=False), certificates=(issue(leaf(**now), root),))
    boot = sealed_boot(tmp_path, sealed)
    report = Report(boot, "b")
    (tmp_path / "trust" / "ci.pem").unlink()
    (tmp_path / "trust" / "corp.pem").write_bytes(pem(issue(root)))
    attempt(permitting(boot, "root"), tmp_path / "c", report)
    signer = msgspec.json.decode(report.to_json())["model"]["signer"]
    assert {"name": "corp", "fingerprint": key_of("ci"), "authority": key_of("root")} == signer
    error = refusal(permitting(boot, "ci"), tmp_path / "c")
    assert LoadReason.SIGNER_UNTRUSTED is error.reason, "policies name the key that is in the trust, the CA's"
    (tmp_path / "trust" / "corp.pem").write_bytes(pem(issue(ca("another", **now))))
    assert "was issued by CN=root, which is no CA that is trusted here" in refusal(boot, tmp_path / "c").message


def key_of(signer: str) -> str:
    return fingerprint(signing_key(signer).public_key())


def permitting(boot: Boot, *signers: str, mode: str = "Required") -> Boot:
    """boot.json under policies that permit these signers."""
    assert boot.security is not None
    assert boot.security.verification is not None
    directory = boot.security.verification.trust_directory
    bounded = Verification(mode=mode, trust_directory=directory, signers=frozenset(map(key_of, signers)))  # type: ignore[arg-type]
    return changed(boot, verification=bounded)


def test_a_trusted_key_that_policies_do_not_permit_does_not_count(tmp_path: Path) -> None:
    """The ConfigMap was exchanged after the operator compared it: the pod compares what it reads itself."""
    boot = sealed_boot(tmp_path, make_model(tmp_path))
    attempt(permitting(boot, "ci", "stranger"), tmp_path / "c")
    for others in (["stranger"], []):
        error = refusal(permitting(boot, *others), tmp_path / "c")
        assert (LoadReason.SIGNER_UNTRUSTED, "verify", True) == (error.reason, error.stage, error.permanent)
        only = f"{key_of('stranger')[:19]}…" if others else "nobody"
        assert f"trustedSigners of the ModelPolicies over this namespace permit only {only}" in error.message


def test_beside_a_permitted_key_the_exchanged_one_does_not_count_either(tmp_path: Path) -> None:
    boot = sealed_boot(tmp_path, make_sealed(tmp_path, model_files(split=False), signer="stranger"))
    pem = signing_key("stranger").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "trust" / "swapped.pem").write_bytes(pem)
    attempt(boot, tmp_path / "c")
    error = refusal(permitting(boot, "ci"), tmp_path / "c")
    assert LoadReason.SIGNER_UNTRUSTED is error.reason
    assert "trusted: ci (" in error.message
    assert "permit only" in error.message
    assert "permit" not in refusal(changed_trust(boot), tmp_path / "c").message, "without a policy none is named"


def changed_trust(boot: Boot) -> Boot:
    """The same without the swapped key."""
    assert boot.security is not None
    assert boot.security.verification is not None
    (Path(boot.security.verification.trust_directory) / "swapped.pem").unlink()
    return boot


def test_a_model_for_another_tenant_name_or_version(tmp_path: Path) -> None:
    boot = sealed_boot(tmp_path, make_model(tmp_path))
    others = [
        changed(boot, tenant="another"),
        msgspec.structs.replace(boot, model=msgspec.structs.replace(boot.model, name="another")),
        msgspec.structs.replace(boot, model=msgspec.structs.replace(boot.model, version="8")),
    ]
    for other in others:
        error = refusal(other, tmp_path / "c")
        assert (LoadReason.SEAL_MISMATCH, "verify", True) == (error.reason, error.stage, error.permanent)


def test_a_stranger_signed_it_or_nobody_is_trusted_or_the_key_is_another(tmp_path: Path) -> None:
    boot = sealed_boot(tmp_path, make_sealed(tmp_path, model_files(split=False), signer="stranger"))
    assert LoadReason.SIGNER_UNTRUSTED is refusal(boot, tmp_path / "c").reason
    (tmp_path / "trust" / "ci.pem").unlink()
    assert LoadReason.CONFIG_INVALID is refusal(boot, tmp_path / "c").reason
    good = sealed_boot(tmp_path, make_model(tmp_path, name="good"))
    (tmp_path / "keys" / "k1").write_bytes(write_kek(tmp_path, "other").read_bytes())
    assert LoadReason.KEY_WRONG is refusal(good, tmp_path / "c").reason
    (tmp_path / "keys" / "k1").unlink()
    assert LoadReason.KEY_NOT_FOUND is refusal(good, tmp_path / "c").reason


def test_a_digest_that_is_not_the_manifests(tmp_path: Path) -> None:
    boot = sealed_boot(tmp_path, make_model(tmp_path), digest="sha256:" + "0" * 64)
    assert LoadReason.DIGEST_MISMATCH is refusal(boot, tmp_path / "c").reason


def test_weights_that_are_not_in_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed, sealed and whole, and still its graph may not have weights read from where the process is."""
    files = model_files(split=True)
    put_plain(tmp_path / "cwd", {"weights.bin": files["weights.bin"]})
    monkeypatch.chdir(tmp_path / "cwd")
    sealed = make_sealed(tmp_path, {"model.onnx": files["model.onnx"]})
    error = refusal(sealed_boot(tmp_path, sealed), tmp_path / "c")
    assert (LoadReason.EXTERNAL_DATA_MISSING, "load", True) == (error.reason, error.stage, error.permanent)


def test_a_sealed_folder_without_a_model(tmp_path: Path) -> None:
    error = refusal(sealed_boot(tmp_path, make_sealed(tmp_path, {"readme": b"x"})), tmp_path / "c")
    assert LoadReason.NO_MODEL_FILE is error.reason


SERVED_KINDS = 25


def test_every_class_of_tampering_is_refused_on_the_way_to_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first mutations of each class, against the load path; unharmed, the same folder loads and answers."""
    length = len(sealed_mutations.FILES["model.onnx.data"])
    padding = length - len(model_files(split=False)["model.onnx"])
    # A protobuf field that ONNX does not know (number 999, bytes) fills the model up to the three segments of the mutations.
    model = model_files(split=False)["model.onnx"] + b"\xba\x3e" + varint(padding - 2 - 4) + bytes(padding - 2 - 4)
    files = {"a/small.bin": b"a file of one short segment", "model.onnx": model, "tail.bin": b""}
    assert length == len(model)
    monkeypatch.setattr(sealed_mutations, "FILES", files)
    victim, others = sealed_mutations.make_victim(tmp_path)
    copies = sealed_mutations.Copies(victim, tmp_path)
    boot = sealed_boot(tmp_path, victim)
    tried: dict[str, int] = {}
    served = []
    for mutation in sealed_mutations.mutations(victim, others, every=997):
        if tried.get(mutation.kind, 0) >= 3:
            continue
        folder = copies.fresh()
        mutation.apply(folder)
        tried[mutation.kind] = tried.get(mutation.kind, 0) + 1
        if (outcome := outcome_of(at(boot, folder), tmp_path / "c")) != "refused":
            served.append(f"{outcome}: {mutation.kind}: {mutation.description}")
    sys.stdout.write(
        f"{sum(tried.values())} mutations of {len(tried)} classes on the load path, {len(served)} served\n"
    )
    assert [] == served
    assert len(tried) >= SERVED_KINDS
    assert attempt(at(boot, copies.fresh()), tmp_path / "c").run({"x": ROWS}, ["y"])[0].shape == ROWS.shape


def at(boot: Boot, folder: Path) -> Boot:
    return msgspec.structs.replace(boot, model=msgspec.structs.replace(boot.model, directory=str(folder)))


def outcome_of(boot: Boot, cache: Path) -> str:
    """`refused`: for good, before anything was made of the bytes."""
    report = Report(boot, "b")
    try:
        attempt(boot, cache, report)
    except LoadError as error:
        early = report.state in {State.FETCHING, State.VERIFYING, State.DECRYPTING}
        return "refused" if early and error.permanent else f"{report.state} {error!r}"
    return "served"


def varint(number: int) -> bytes:
    """Four bytes of base 128."""
    return bytes([number >> shift & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21)])


@pytest.mark.parametrize("remote", [False, True], ids=["on a volume", "from a bucket"])
def test_an_older_sealing_of_the_same_version_is_refused_where_the_digest_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    """Who can write to the store and kept an older sealing puts it in the newer one's place: all but the digest holds."""
    newer, older = (make_model(tmp_path, name=name, seed=name) for name in ("newer", "older"))
    where: dict[str, Any] = {"uri": "s3://b/m/", "directory": None} if remote else {}
    boot, pinned = (sealed_boot(tmp_path, older, **where, **more) for more in ({}, {"digest": digest_of(newer.folder)}))
    monkeypatch.setattr(s3, "Bucket", Store)
    monkeypatch.setattr(Store, "folder", older.folder)
    error = refusal(pinned, tmp_path / "c")
    assert (LoadReason.DIGEST_MISMATCH, "verify", True) == (error.reason, error.stage, error.permanent)
    report = Report(boot, "b")
    attempt(boot, tmp_path / "c", report)  # without a digest it is as good as the newer one: SECURITY.md says so
    assert (digest_of(older.folder), False) == (report.digest, report.verified)


# ── key services, rotation, caches ────────────────────────────────────────────────────────────────────────────────────


def test_a_key_service_that_is_down_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report shows it meanwhile; when the service is back the model loads."""
    (tmp_path / "token").write_text(JWT)
    with running() as vault:
        keys = VaultKeys(address=vault.address, key="fraud", role="risk", token_file=str(tmp_path / "token"))
        vault.tokens.add("ci")
        kek = connect(keys)
        sealer = Sealer(kek, "transit/fraud", signing_key(), random_like("v"))
        sources = [Bytes(path, content) for path, content in model_files(split=True).items()]
        writing.seal(sources, tmp_path / "sealed", IDENTITY, sealer)
        boot = sealed_boot(tmp_path, make_model(tmp_path, name="other"), directory=str(tmp_path / "sealed"))
        boot = changed(boot, encryption=Encryption(mode="Required", keys=keys))
        vault.answer = (503, {"errors": ["Vault is sealed"]})
        report = Report(boot, "b")
        seen: list[Any] = []
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            seen.append((str(report.state), dict(report.failure or {})))
            if len(seen) == 3:
                vault.answer = None
            await real(seconds)

        monkeypatch.setattr(loading.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
        model = attempt(boot, tmp_path / "c", report)
    assert model.name == IDENTITY.model
    assert 3 == len(seen)
    state, failure = seen[-1]
    assert ("Decrypting", "decrypt", "KeyServiceUnreachable", False) == (
        state,
        failure["stage"],
        failure["reason"],
        failure["permanent"],
    )
    assert report.failure is None
    assert ("transit/fraud", "v1") == (report.key_id, report.key_version)


def test_a_key_in_the_mounted_secret_may_change_without_a_restart(tmp_path: Path) -> None:
    sealed = make_model(tmp_path)
    boot = sealed_boot(tmp_path, sealed)
    guard = guard_of(boot.security)
    (tmp_path / "keys" / "k1").unlink()
    assert guard.kek is not None
    kek = guard.kek()
    (tmp_path / "keys" / "k1").write_bytes(sealed.kek_file.read_bytes())
    wrapped = SecretFile(sealed.kek_file, "k1").wrap(bytes(32), bytes(32))
    assert bytes(32) == kek.unwrap(wrapped, bytes(32))


def test_a_cached_model_whose_keys_were_changed_since_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `rewrap` and the end of the old key: a restarted container finds the old keys.json on its disk."""
    old, new = make_model(tmp_path), make_model(tmp_path, name="new", kek="k2")
    boot = sealed_boot(tmp_path, new, uri="s3://b/m/", directory=None)
    cache = Cache(tmp_path / "c")
    given: list[Path] = []

    def fetch(*_: object) -> Fetched:
        source = new.folder if given else old.folder
        shutil.copytree(source, cache.begin(), dirs_exist_ok=True)
        cache.commit(Record("s3://b/m/", {}))
        given.append(source)
        return Fetched(
            cache.model / "manifest.json",
            digest_of(cache.model),
            1,
            cached=len(given) == 1,
            sealed=True,
            folder=cache.model,
        )

    monkeypatch.setattr(loading, "fetch", fetch)
    report = Report(boot, "b")
    assert attempt(boot, tmp_path / "c", report).name == IDENTITY.model
    assert [old.folder, new.folder] == given
    assert ("k2", False, None) == (report.key_id, report.cached, report.failure)


class Store:
    """A bucket that holds a folder: the seam of `s3.Bucket`."""

    folder = Path()
    reads: list[str] = []  # noqa: RUF012  set per test

    def __init__(self, *_: object) -> None:
        pass

    def files(self) -> list[RemoteFile]:
        names = [file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*") if file.is_file()]
        return [RemoteFile(f"m/{name}", name, (self.folder / name).stat().st_size) for name in names]

    def read(self, file: RemoteFile) -> Reading:
        self.reads.append(file.name)
        content = (self.folder / file.name).read_bytes()
        return Reading(len(content), iter([content]))


def test_from_a_bucket_the_cache_holds_ciphertext_and_what_was_spoilt_in_it_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = make_model(tmp_path, split=True)
    monkeypatch.setattr(s3, "Bucket", Store)
    monkeypatch.setattr(Store, "folder", sealed.folder)
    boot = sealed_boot(tmp_path, sealed, uri="s3://b/m/", directory=None, digest=digest_of(sealed.folder))
    cache = tmp_path / "c"
    files = 6
    for spoil, cached, read in (
        (None, False, files),
        (None, True, 0),
        ("data/1", False, files),
        ("keys.sig", False, files),
    ):
        monkeypatch.setattr(Store, "reads", [])
        if spoil:
            spoilt = cache / "model" / spoil
            spoilt.write_bytes(spoilt.read_bytes()[::-1])
        report = Report(boot, "b")
        assert attempt(boot, cache, report).name == IDENTITY.model
        assert (cached, read) == (report.cached, len(Store.reads)), spoil
        held = [file.read_bytes() for file in cache.rglob("*") if file.is_file()]
        assert not any(MARKER in content for content in held)


# ── plain models with signatures ──────────────────────────────────────────────────────────────────────────────────────


def signed_plain(home: Path, signer: str = "ci") -> Path:
    folder = put_plain(home / f"plain-{signer}", model_files(split=True))
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in model_files(split=True).items()}
    (folder / "model.sig").write_bytes(signature.sign(signing_key(signer), hashes, "fraud", ()))
    return folder


def plain_boot(home: Path, directory: Path, mode: str) -> Boot:
    boot = sealed_boot(home, make_model(home, name=mode), directory=str(directory))
    return changed(
        boot,
        encryption=None,
        verification=Verification(mode=mode, trust_directory=str(home / "trust")),  # type: ignore[arg-type]
    )


def test_a_signed_plain_model_is_verified(tmp_path: Path) -> None:
    boot = plain_boot(tmp_path, signed_plain(tmp_path), "Required")
    report = Report(boot, "b")
    attempt(boot, tmp_path / "c", report)
    assert report.signer is not None
    assert "ci" == report.signer["name"]
    assert not report.encrypted


def test_a_signed_plain_model_of_a_key_that_policies_do_not_permit(tmp_path: Path) -> None:
    boot = plain_boot(tmp_path, signed_plain(tmp_path), "Required")
    attempt(permitting(boot, "ci"), tmp_path / "c")
    assert "permit only" in refusal(permitting(boot, "stranger"), tmp_path / "c").message
    report = Report(boot, "b")
    attempt(permitting(boot, "stranger", mode="Warn"), tmp_path / "c", report)
    assert msgspec.json.decode(report.to_json())["model"]["verificationWarning"].startswith("SignerUntrusted: ")


def break_file(folder: Path) -> Path:
    content = bytearray((folder / "weights.bin").read_bytes())
    content[100] ^= 1
    (folder / "weights.bin").write_bytes(content)
    return folder


PLAIN = [
    ("unsigned", lambda home: put_plain(home / "p", model_files(split=False)), LoadReason.SIGNATURE_MISSING),
    ("a single file", lambda home: put_plain(home / "p", model_files(split=False)) / "model.onnx", LoadReason.SIGNATURE_MISSING),
    ("a stranger", lambda home: signed_plain(home, "stranger"), LoadReason.SIGNER_UNTRUSTED),
    ("changed", lambda home: break_file(signed_plain(home)), LoadReason.SIGNATURE_INVALID),
]  # fmt: skip


@pytest.mark.parametrize(("what", "make", "reason"), PLAIN, ids=[case[0] for case in PLAIN])
def test_a_plain_model_without_a_good_signature(tmp_path: Path, what: str, make: Any, reason: LoadReason) -> None:
    """Required refuses it; Warn serves it, and says so."""
    path = make(tmp_path)
    assert reason is refusal(plain_boot(tmp_path, path, "Required"), tmp_path / "c").reason
    boot = plain_boot(tmp_path, path, "Warn")
    report = Report(boot, "b")
    assert attempt(boot, tmp_path / "c", report).name == IDENTITY.model
    model = msgspec.json.decode(report.to_json())["model"]
    assert model["verificationWarning"].startswith(f"{reason}: ")
    assert "signer" not in model


def test_a_file_that_cannot_be_read_is_refused_and_is_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails beneath the volume, after the digest was computed."""
    boot = plain_boot(tmp_path, signed_plain(tmp_path), "Required")

    def fail(file: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(file))

    monkeypatch.setattr(opening, "hash_file", fail)
    error = refusal(boot, tmp_path / "c")
    assert (LoadReason.SIGNATURE_INVALID, "verify") == (error.reason, error.stage)
    assert "model.onnx cannot be read: Input/output error" in error.message


# ── boot.json ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [None, "Warn"])
def test_encryption_without_a_required_signature_is_refused(tmp_path: Path, mode: str | None) -> None:
    boot = sealed_boot(tmp_path, make_model(tmp_path))
    verification = mode and Verification(mode=mode, trust_directory="/t")  # type: ignore[arg-type]
    content = msgspec.json.encode(changed(boot, verification=verification))
    with pytest.raises(
        LoadError, match=r"security\.encryption demands security\.verification with mode Required"
    ) as caught:
        parse_boot(content)
    assert LoadReason.CONFIG_INVALID is caught.value.reason
    assert boot == parse_boot(msgspec.json.encode(boot))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boot:
    """A sealed model in a bucket, and pods that share a volume."""
    sealed = make_model(tmp_path, split=True)
    monkeypatch.setattr(s3, "Bucket", Store)
    monkeypatch.setattr(Store, "folder", sealed.folder)
    monkeypatch.setattr(Store, "reads", [])
    (tmp_path / "claim").mkdir()
    shared = SharedCache(directory=str(tmp_path / "claim"), max_bytes=1 << 20)
    return sealed_boot(tmp_path, sealed, uri="s3://b/m/", directory=None, digest=digest_of(sealed.folder), cache=shared)


def shared_pod(boot: Boot, name: str) -> Report:
    """A new pod of the model, with a disk of its own."""
    report = Report(boot, "b")
    assert attempt(boot, Path(boot.model.cache.directory).parent / name, report).name == IDENTITY.model  # type: ignore[union-attr]
    return report


def test_a_shared_volume_holds_ciphertext_only_and_nobody_holds_it_once_the_model_is_in_memory(
    tmp_path: Path, bucket: Boot
) -> None:
    first, second = shared_pod(bucket, "a"), shared_pod(bucket, "b")
    assert (False, True, 6) == (first.cached, second.cached, len(Store.reads))
    held = [file for folder in ("claim", "a", "b") for file in (tmp_path / folder).rglob("*") if file.is_file()]
    assert {"data", "claim"} <= {part for file in held for part in file.parts}
    assert not any(MARKER in file.read_bytes() for file in held)
    (entry,) = (tmp_path / "claim" / "entries").iterdir()
    assert Shared(tmp_path / "claim", 1).discard(entry.name)


@pytest.mark.parametrize("spoil", ["data/1", "keys.sig", "keys.json", "model.sig"])
def test_a_sealed_entry_that_was_changed_is_passed_by_and_goes_once_the_stores_own_opens(
    tmp_path: Path, bucket: Boot, spoil: str
) -> None:
    shared_pod(bucket, "a")
    (entry,) = (tmp_path / "claim" / "entries").iterdir()
    content = (entry / spoil).read_bytes()
    (entry / spoil).write_bytes(content[::-1])
    assert (False, 12) == (shared_pod(bucket, "b").cached, len(Store.reads))
    assert not entry.exists()
    assert (False, 18) == (shared_pod(bucket, "c").cached, len(Store.reads))
    assert content == (entry / spoil).read_bytes(), "healed for all"
    assert shared_pod(bucket, "d").cached


def test_a_sealed_entry_with_another_manifest_is_replaced_at_once(tmp_path: Path, bucket: Boot) -> None:
    shared_pod(bucket, "a")
    (entry,) = (tmp_path / "claim" / "entries").iterdir()
    (entry / "manifest.json").write_bytes(b"{}")
    assert not shared_pod(bucket, "b").cached
    assert shared_pod(bucket, "c").cached


def test_a_pod_with_the_wrong_key_leaves_the_shared_entry_to_the_others(tmp_path: Path, bucket: Boot) -> None:
    shared_pod(bucket, "a")
    (key,) = (tmp_path / "keys").iterdir()
    right = key.read_bytes()
    key.write_bytes(base64.b64encode(bytes(32)))
    report = Report(bucket, "b")
    with pytest.raises(LoadError) as caught:
        attempt(bucket, tmp_path / "b", report)
    assert caught.value.reason is LoadReason.KEY_WRONG
    key.write_bytes(right)
    assert shared_pod(bucket, "c").cached


def test_a_sealed_entry_that_others_read_stays(tmp_path: Path, bucket: Boot) -> None:
    shared_pod(bucket, "a")
    (entry,) = (tmp_path / "claim" / "entries").iterdir()
    (entry / "data/1").write_bytes(b"x")
    reader = Shared(tmp_path / "claim", 1).lease(entry.name)
    assert reader is not None
    assert not shared_pod(bucket, "b").cached
    assert (entry / "data/1").read_bytes() == b"x"
    reader.release()
