"""Keys of a Secret: a file per id, read at each use; wrong, missing and malformed ones are told apart."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek import KeyEncryptionKey, WrappedKey
from modelward_runtime.store.kek.secret import SecretDirectory, SecretFile, key_version, read_key
from modelward_runtime.store.sealed import keys, opening, writing
from modelward_runtime.store.sealed.refusals import refuse
from tests.sealed_folders import Sealed, make_sealed, signing_key, write_kek

DATA_KEY, CONTEXT = bytes(range(32)), b"c" * 32


def reason(call: Callable[[], object]) -> LoadReason:
    with pytest.raises(LoadError) as caught:
        call()
    assert (caught.value.stage, caught.value.permanent) == ("decrypt", True)
    return caught.value.reason


def test_what_is_wrapped_unwraps_in_its_context_and_in_no_other(tmp_path: Path) -> None:
    kek = SecretFile(write_kek(tmp_path), "k1")
    wrapped = kek.wrap(DATA_KEY, CONTEXT)
    assert ("Secret", "k1", key_version(read_key(tmp_path / "k1")), 60) == (
        wrapped.provider,
        wrapped.kek_id,
        wrapped.kek_version,
        len(wrapped.wrapped),
    )
    assert wrapped.wrapped != kek.wrap(DATA_KEY, CONTEXT).wrapped, "a fresh nonce each time"
    assert kek.unwrap(wrapped, CONTEXT) == SecretDirectory(tmp_path).unwrap(wrapped, CONTEXT) == DATA_KEY
    assert reason(lambda: kek.unwrap(wrapped, b"d" * 32)) is LoadReason.KEY_WRONG


@pytest.mark.parametrize(
    "kek_id", ["../k1", "/etc/passwd", "..data", ".", "", "a/b", "projects/p/keys/k", "a\0b", "k" * 300]
)
def test_an_id_cannot_leave_the_directory(tmp_path: Path, kek_id: str) -> None:
    (tmp_path / "keks").mkdir()
    write_kek(tmp_path)
    wrapped = WrappedKey("Secret", kek_id, "1", b"w" * 60)
    assert reason(lambda: SecretDirectory(tmp_path / "keks").unwrap(wrapped, CONTEXT)) is LoadReason.KEY_NOT_FOUND


def test_a_key_of_another_provider_is_not_found(tmp_path: Path) -> None:
    write_kek(tmp_path)
    wrapped = WrappedKey("Vault", "k1", "1", b"w" * 60)
    assert reason(lambda: SecretDirectory(tmp_path).unwrap(wrapped, CONTEXT)) is LoadReason.KEY_NOT_FOUND


@pytest.mark.parametrize(
    "content", [b"", b"short", base64.b64encode(b"k" * 31), base64.b64encode(b"k" * 33), b"k" * 32]
)
def test_a_file_that_holds_no_key_is_wrong(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k1").write_bytes(content)
    wrapped = WrappedKey("Secret", "k1", "1", b"w" * 60)
    assert reason(lambda: SecretDirectory(tmp_path).unwrap(wrapped, CONTEXT)) is LoadReason.KEY_WRONG


def test_a_key_is_read_at_each_use(tmp_path: Path) -> None:
    directory = SecretDirectory(tmp_path)
    wrapped = SecretFile(write_kek(tmp_path), "k1").wrap(DATA_KEY, CONTEXT)
    (tmp_path / "k1").write_bytes(base64.b64encode(b"n" * 32))
    assert reason(lambda: directory.unwrap(wrapped, CONTEXT)) is LoadReason.KEY_WRONG
    write_kek(tmp_path)
    assert directory.unwrap(wrapped, CONTEXT) == DATA_KEY


class Failing:
    """A key-encryption key that says of each id what it is told to; any other id it opens."""

    def __init__(self, kek: KeyEncryptionKey, reasons: dict[str, LoadReason]) -> None:
        self.kek_id = kek.kek_id
        self._kek = kek
        self._reasons = reasons

    def wrap(self, data_key: bytes, context: bytes, tenant: str = "") -> WrappedKey:
        raise NotImplementedError

    def unwrap(self, wrapped: WrappedKey, context: bytes, tenant: str = "") -> bytes:
        if found := self._reasons.get(wrapped.kek_id):
            raise refuse(found, "as told")
        return self._kek.unwrap(wrapped, context)


@pytest.fixture
def three_keys(tmp_path: Path) -> Sealed:
    sealed = make_sealed(tmp_path, {"model.onnx": b"graph"})
    checked = opening.check(sealed.folder, sealed.expected)
    data_key = opening.unwrap(checked, sealed.kek).data_key
    wrapped = []
    for name in ("k1", "k2", "k3"):
        kek = SecretFile(write_kek(tmp_path, name), name)
        wrapped.append(kek.wrap(data_key, keys.context(checked.manifest_sha256, name)))
    writing.replace_keys(sealed.folder, writing.keys_files(checked.manifest_sha256, wrapped, signing_key()))
    return sealed


def test_any_entry_that_opens_is_enough(three_keys: Sealed, tmp_path: Path) -> None:
    checked = opening.check(three_keys.folder, three_keys.expected)
    kek = Failing(SecretDirectory(tmp_path), {"k1": LoadReason.KEY_SERVICE_UNREACHABLE, "k2": LoadReason.KEY_WRONG})
    assert opening.unwrap(checked, kek).key.kek_id == "k3"
    (tmp_path / "only").mkdir()
    write_kek(tmp_path / "only", "k2")
    assert opening.unwrap(checked, SecretDirectory(tmp_path / "only")).key.kek_id == "k2"


@pytest.mark.parametrize(
    ("told", "reasons"),
    [
        (
            LoadReason.KEY_SERVICE_UNREACHABLE,
            (LoadReason.KEY_WRONG, LoadReason.KEY_SERVICE_UNREACHABLE, LoadReason.KEY_DENIED),
        ),
        (LoadReason.KEY_DENIED, (LoadReason.KEY_WRONG, LoadReason.KEY_NOT_FOUND, LoadReason.KEY_DENIED)),
        (LoadReason.KEY_WRONG, (LoadReason.KEY_NOT_FOUND, LoadReason.KEY_WRONG, LoadReason.KEY_NOT_FOUND)),
        (LoadReason.KEY_NOT_FOUND, (LoadReason.KEY_NOT_FOUND,) * 3),
    ],
)
def test_when_none_opens_the_most_telling_reason_is_given(
    three_keys: Sealed, told: LoadReason, reasons: tuple[LoadReason, ...]
) -> None:
    checked = opening.check(three_keys.folder, three_keys.expected)
    kek = Failing(three_keys.kek, dict(zip(("k1", "k2", "k3"), reasons, strict=True)))
    with pytest.raises(LoadError) as caught:
        opening.unwrap(checked, kek)
    assert told is caught.value.reason
    assert caught.value.permanent == (told is not LoadReason.KEY_SERVICE_UNREACHABLE)


def test_a_key_that_opens_but_is_not_the_committed_one_is_wrong(tmp_path: Path) -> None:
    sealed = make_sealed(tmp_path, {"model.onnx": b"graph"})
    checked = opening.check(sealed.folder, sealed.expected)
    other = sealed.kek_file
    wrapped = SecretFile(other, "k1").wrap(b"x" * 32, keys.context(checked.manifest_sha256, "k1"))
    writing.replace_keys(sealed.folder, writing.keys_files(checked.manifest_sha256, [wrapped], signing_key()))
    checked = opening.check(sealed.folder, sealed.expected)
    assert reason(lambda: opening.unwrap(checked, sealed.kek)) is LoadReason.KEY_WRONG


def test_no_key_is_shown_by_accident(tmp_path: Path) -> None:
    sealed = make_sealed(tmp_path, {"model.onnx": b"graph"})
    unwrapped = opening.unwrap(opening.check(sealed.folder, sealed.expected), sealed.kek)
    assert unwrapped.data_key.hex() not in repr(unwrapped)
    assert repr(unwrapped.data_key) not in repr(unwrapped)
