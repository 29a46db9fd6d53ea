"""The digest of a file and of a folder, as a person would compute them with sha256sum."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime import cli
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import verify
from modelward_runtime.store.verify import combine, digest_of, files_below, hash_file

HELLO = hashlib.sha256(b"hello").hexdigest()
WORLD = hashlib.sha256(b"world").hexdigest()


def folder(root: Path) -> Path:
    for name, content in {"model.onnx": b"hello", "a/b.bin": b"world", "Z": b"", "ä.txt": b"hello"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_a_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"hello")
    assert f"sha256:{HELLO}" == digest_of(tmp_path / "m.onnx")


def test_a_folder_is_the_hash_of_its_sha256sum_lines(tmp_path: Path) -> None:
    command = "find -L . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d ' ' -f 1"
    told = subprocess.run(command, shell=True, cwd=folder(tmp_path), capture_output=True, text=True, check=True)
    assert f"sha256:{told.stdout.strip()}" == digest_of(tmp_path)


def test_lines_are_sorted_by_path_as_bytes() -> None:
    lines = f"{HELLO}  B\n{WORLD}  a\n{HELLO}  a.b\n{WORLD}  a/b\n"
    expected = "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert expected == combine({"a/b": WORLD, "a": WORLD, "a.b": HELLO, "B": HELLO})


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1), st.sampled_from([HELLO, WORLD])
    )
)
def test_order_of_listing_does_not_matter(hashes: dict[str, str]) -> None:
    assert combine(hashes) == combine(dict(reversed(hashes.items())))


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("a byte", lambda root: (root / "a/b.bin").write_bytes(b"worle")),
        ("a name", lambda root: (root / "Z").rename(root / "Y")),
        ("a place", lambda root: (root / "a/b.bin").rename(root / "b.bin")),
        ("one file more", lambda root: (root / "new").write_bytes(b"")),
        ("one file less", lambda root: (root / "Z").unlink()),
    ],
)
def test_every_change_changes_the_digest(tmp_path: Path, reason: str, change: object) -> None:
    before = digest_of(folder(tmp_path))
    change(tmp_path)  # type: ignore[operator]
    assert before != digest_of(tmp_path), reason


def test_empty_folders_and_lost_found_do_not_count(tmp_path: Path) -> None:
    before = digest_of(folder(tmp_path))
    (tmp_path / "empty").mkdir()
    (tmp_path / "lost+found").mkdir(mode=0o700)
    (tmp_path / "lost+found" / "x").write_bytes(b"")
    assert before == digest_of(tmp_path)


def test_a_link_counts_as_the_file_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"hello")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").symlink_to(tmp_path / "elsewhere")
    assert combine({"model.onnx": HELLO}) == digest_of(tmp_path / "m")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["a pipe", "a device"])
def test_what_has_no_end_counts_as_empty_and_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "model.onnx")
    assert hashlib.sha256().hexdigest() == hash_file(tmp_path / "model.onnx")


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path)


def test_names_that_are_no_utf8_are_hashed_as_bytes(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"hello")
    expected = hashlib.sha256(HELLO.encode() + b"  \xff\n").hexdigest()
    assert f"sha256:{expected}" == digest_of(tmp_path)


@pytest.mark.parametrize(("what", "make"), [("files", Path.touch), ("empty folders", Path.mkdir)])
def test_a_volume_with_more_than_a_model_has_is_refused(
    what: str,
    make: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(verify, "MOST_ENTRIES", 20)
    (tmp_path / "sub").mkdir()
    for number in range(19):
        make(tmp_path / "sub" / str(number))
    digest_of(tmp_path)
    make(tmp_path / "sub" / "one more")
    with pytest.raises(LoadError, match="holds more than 20 files and folders") as caught:
        list(files_below(tmp_path))
    assert (LoadReason.NO_MODEL_FILE, "fetch", True) == (
        caught.value.reason,
        caught.value.stage,
        caught.value.permanent,
    ), what
    with pytest.raises(SystemExit) as left:
        cli.main(["digest", str(tmp_path)])
    assert 1 == left.value.code
    assert "holds more than 20 files and folders" in capsys.readouterr().err
