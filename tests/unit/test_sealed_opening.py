"""A sealed folder opens for the one it was sealed for, and for nobody else; why not is said in one word."""

from pathlib import Path

import pytest

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek.secret import SecretDirectory, SecretFile
from modelward_runtime.store.sealed import opening
from modelward_runtime.store.sealed.decrypt import wipe
from tests.sealed_folders import Sealed, make_sealed, signing_key, write_kek

FILES = {"model.onnx": b"graph" * 100, "weights/a.bin": bytes(range(256)) * 9000, "empty": b""}


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return make_sealed(tmp_path, FILES)


def open_(sealed: Sealed) -> dict[str, bytes]:
    checked = opening.check(sealed.folder, sealed.expected)
    buffers = opening.decrypt(checked, opening.unwrap(checked, sealed.kek).data_key, threads=2)
    found = {path: bytes(buffer) for path, buffer in buffers.items()}
    wipe(buffers.values())
    return found


def test_it_opens_to_the_bytes_that_were_sealed(sealed: Sealed) -> None:
    assert open_(sealed) == FILES


def test_no_plaintext_lies_in_the_folder(sealed: Sealed) -> None:
    for file in sealed.folder.rglob("*"):
        assert not file.is_file() or b"graphgraph" not in file.read_bytes()


@pytest.mark.parametrize(
    ("reason", "field", "value"),
    [
        (LoadReason.SEAL_MISMATCH, "tenant", "another"),
        (LoadReason.SEAL_MISMATCH, "model", "fraud2"),
        (LoadReason.SEAL_MISMATCH, "version", "8"),
        (LoadReason.SIGNER_UNTRUSTED, "trust", {}),
        (LoadReason.SIGNER_UNTRUSTED, "trust", {"ci": signing_key("stranger").public_key()}),
    ],
)
def test_it_opens_for_no_other(sealed: Sealed, reason: LoadReason, field: str, value: object) -> None:
    expected = opening.Expected(**{**sealed.expected.__dict__, field: value})
    with pytest.raises(LoadError) as caught:
        opening.check(sealed.folder, expected)
    assert (reason, "verify", True) == (caught.value.reason, caught.value.stage, caught.value.permanent)


def test_another_key_under_the_right_id_is_wrong_and_no_key_is_not_found(sealed: Sealed, tmp_path: Path) -> None:
    checked = opening.check(sealed.folder, sealed.expected)
    other = SecretFile(write_kek(tmp_path, "other"), "k1")
    empty = tmp_path / "keks"
    empty.mkdir()
    for reason, kek in ((LoadReason.KEY_WRONG, other), (LoadReason.KEY_NOT_FOUND, SecretDirectory(empty))):
        with pytest.raises(LoadError) as caught:
            opening.unwrap(checked, kek)
        assert (reason, "decrypt") == (caught.value.reason, caught.value.stage)
    write_kek(empty, "k1")
    assert opening.unwrap(checked, SecretDirectory(empty)).key.kek_id == "k1"
