"""The certificate of the model's ports: what is taken, what is refused, and that the last good pair holds."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from modelward_runtime.access.certificate import Certificates, Pair, Unusable, read_pair
from modelward_runtime.errors import LoadError, LoadReason
from tests.serving_certificates import Authority, Issued, mount
from tests.until import until

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.issue("EC"), AUTHORITY.issue("RSA")


def write(directory: Path, certificate: bytes | None, key: bytes | None) -> None:
    directory.mkdir(exist_ok=True)
    for name, content in (("tls.crt", certificate), ("tls.key", key)):
        if content is None:
            (directory / name).unlink(missing_ok=True)
        else:
            (directory / name).write_bytes(content)


def locked(pair: Issued) -> bytes:
    key = load_pem_private_key(pair.key, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("reason", "certificate", "key", "words"),
    [
        ("no certificate", None, FIRST.key, "tls.crt cannot be read: No such file"),
        ("no key", FIRST.certificate, None, "tls.key cannot be read: No such file"),
        ("an older key", FIRST.certificate, SECOND.key, "not the key of the first certificate"),
        ("the CA first", AUTHORITY.pem + FIRST.certificate, FIRST.key, "not the key of the first certificate"),
        ("swapped", FIRST.key, FIRST.certificate, "not PEM"),
        ("empty", b"", b"", "not PEM"),
        ("cut", FIRST.certificate[:-100], FIRST.key, "not PEM"),
        ("a key with a password", FIRST.certificate, locked(FIRST), "has a password"),
    ],
)
def test_what_is_no_pair_is_refused_and_the_last_good_one_holds(
    tmp_path: Path, reason: str, certificate: bytes | None, key: bytes | None, words: str
) -> None:
    told: list[Pair] = []
    write(tmp_path, FIRST.certificate, FIRST.key)
    certificates = Certificates(tmp_path, told.append)
    assert "" == certificates.refresh()
    context = certificates._contexts
    write(tmp_path, certificate, key)
    with pytest.raises(Unusable, match=words):
        read_pair(tmp_path)
    assert words in certificates.refresh(), reason
    assert words in certificates.refresh(), "and still, when nothing has changed"
    assert [FIRST.sha256] == [pair.sha256 for pair in told]
    assert context is certificates._contexts
    write(tmp_path, SECOND.certificate, SECOND.key)
    assert "" == certificates.refresh()
    assert SECOND.sha256 == told[-1].sha256


def test_both_files_are_read_behind_one_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount(tmp_path, FIRST.certificate, FIRST.key)
    real = Path.open

    def swapping(self: Path, mode: str = "r") -> object:
        opened = real(self, mode)
        monkeypatch.setattr(Path, "open", real)
        mount(tmp_path, SECOND.certificate, SECOND.key)  # between the certificate and the key
        return opened

    monkeypatch.setattr(Path, "open", swapping)
    assert FIRST.sha256 == read_pair(tmp_path).sha256
    assert SECOND.sha256 == read_pair(tmp_path).sha256


def test_the_report_names_the_leaf_and_its_end(tmp_path: Path) -> None:
    mount(tmp_path, FIRST.certificate + AUTHORITY.pem, FIRST.key)
    told = read_pair(tmp_path).told
    assert FIRST.sha256 == told["sha256"]
    assert told["notAfter"].endswith("Z")
    assert "PRIVATE" not in repr(read_pair(tmp_path))


async def test_a_pair_is_waited_for_and_what_is_missing_is_told(tmp_path: Path) -> None:
    failures: list[LoadError] = []
    certificates = Certificates(tmp_path / "tls")
    arriving = asyncio.ensure_future(certificates.arrive(failures.append, every=0.01))
    await until(lambda: failures)
    assert not arriving.done()
    assert (LoadReason.SERVING_CERTIFICATE_UNUSABLE, False) == (failures[-1].reason, failures[-1].permanent)
    assert "tls.crt cannot be read" in failures[-1].message
    mount(tmp_path / "tls", FIRST.certificate, FIRST.key)
    await asyncio.wait_for(arriving, 60)


def test_without_a_pair_there_is_no_listener(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.refresh()
    for make in (certificates.for_http, certificates.for_grpc):
        with pytest.raises(Unusable):
            make()


def test_contexts_speak_tls_1_2_or_newer(tmp_path: Path) -> None:
    mount(tmp_path, FIRST.certificate, FIRST.key)
    certificates = Certificates(tmp_path)
    certificates.refresh()
    assert ssl.TLSVersion.TLSv1_2 == certificates.for_http().minimum_version
