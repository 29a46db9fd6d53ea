"""A sealed folder opens for the one it was sealed for, and for nobody else; why not is said in one word."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek.secret import SecretDirectory, SecretFile
from modelward_runtime.store.sealed import opening
from modelward_runtime.store.sealed.decrypt import wipe
from tests.sealed_folders import Sealed, make_sealed, random_like, signing_key, write_kek, write_signing_key

FILES = {"model.onnx": b"graph" * 100, "weights/a.bin": bytes(range(256)) * 9000, "empty": b""}


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return make_sealed(tmp_path, FILES)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


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
    expected = structs.replace(sealed.expected, **{field: value})
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


def test_a_disk_that_fails_is_a_refusal_too(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = opening.check(sealed.folder, sealed.expected)
    key = opening.unwrap(checked, sealed.kek).data_key

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(LoadError, match="cannot be read: Input/output error") as caught:
        opening.decrypt(checked, key, threads=3)
    assert caught.value.reason is LoadReason.SEAL_INVALID


def test_lost_and_found_of_a_volume_does_not_count(sealed: Sealed) -> None:
    (sealed.folder / "lost+found").mkdir()
    assert open_(sealed) == FILES


def test_what_lost_and_found_shows_does_not_belong(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    (sealed.folder / "lost+found").mkdir()
    (sealed.folder / "lost+found/#123").write_bytes(b"x")
    with pytest.raises(LoadError, match=r"lost\+found/#123 does not belong to the sealed model") as caught:
        open_(sealed)
    assert caught.value.reason is LoadReason.SEAL_INVALID
    monkeypatch.setattr(os, "access", lambda *_: False)  # as a pod's user finds it; the tests may be root
    assert open_(sealed) == FILES


def test_a_file_that_shrinks_or_grows_after_the_check_is_refused(sealed: Sealed) -> None:
    for size in (10, 3_000_000):
        checked = opening.check(sealed.folder, sealed.expected)
        content = (sealed.folder / "data" / "2").read_bytes()
        os.truncate(sealed.folder / "data" / "2", size)
        with pytest.raises(LoadError, match="data/2 has"):
            opening.decrypt(checked, opening.unwrap(checked, sealed.kek).data_key, threads=2)
        (sealed.folder / "data" / "2").write_bytes(content)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_many_files_on_any_number_of_threads_and_few_open_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    files = {f"f{number:03}": random_like(str(number))(number * 37 % 5000) for number in range(300)}
    files |= {f"large{number}": random_like("large")((3 << 20) + number) for number in range(4)}
    sealed = make_sealed(tmp_path, files)
    checked = opening.check(sealed.folder, sealed.expected)
    most = 0

    def look(*arguments: Any) -> int:
        nonlocal most
        most = max(most, open_files())
        return int(preadv(*arguments))

    preadv, before = os.preadv, open_files()
    monkeypatch.setattr(os, "preadv", look)
    buffers = opening.decrypt(checked, opening.unwrap(checked, sealed.kek).data_key, threads)
    assert {path: bytes(buffer) for path, buffer in buffers.items()} == files
    assert most <= before + 2 * threads + 6
    assert open_files() == before


def test_an_interruption_leaves_no_thread_and_no_plaintext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = make_sealed(tmp_path, {"model.onnx": random_like("large")(6 << 20)})
    checked = opening.check(sealed.folder, sealed.expected)
    join = threading.Thread.join
    interrupted: list[threading.Thread] = []

    def interrupt(self: threading.Thread, timeout: float | None = None) -> None:
        if not interrupted:
            interrupted.append(self)
            raise KeyboardInterrupt
        join(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupt)
    data_key = opening.unwrap(checked, sealed.kek).data_key
    with pytest.raises(KeyboardInterrupt):
        opening.decrypt(checked, data_key, threads=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decrypt-")]


def test_a_key_is_verified_without_the_slow_half_of_cryptography(tmp_path: Path) -> None:
    """Importing it would take a start as long again as all else in verification does."""
    made = make_sealed(tmp_path, {"model.onnx": b"graph"})
    (tmp_path / "trust").mkdir()
    write_signing_key(tmp_path / "trust")[0].unlink()
    program = (
        "import sys; from pathlib import Path; from modelward_runtime.store.sealed import opening, trust\n"
        "home = Path(sys.argv[1])\n"
        "opening.check(home / 'sealed', opening.Expected('risk', 'fraud', '7', trust.load_trust(home / 'trust')))\n"
        "print(*(name for name in sys.modules if name.startswith(('cryptography.x509', 'cryptography.hazmat.backends'))))"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert (made.folder.is_dir(), done.stdout.split()) == (True, [])
