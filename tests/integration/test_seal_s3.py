"""Sealing straight into a real S3 server: whole, or nothing that passes for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from modelward_runtime import cli
from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.sealed import opening, writing
from tests.integration.objectstore import CREDENTIALS, ObjectStore, object_store
from tests.integration.peaks import growth
from tests.onnx_models import WEIGHTS, linear, save
from tests.sealed_folders import signing_key, write_kek, write_signing_key


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as running:
        running.put("models", "taken/README", b"something")
        yield running


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelward_runtime.main.harden", lambda: None)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def seal(home: Path, store: ObjectStore, prefix: str, *, code: int = 0) -> None:
    model = linear()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(6_000_000, np.float32), "big"))  # several parts
    with pytest.raises(SystemExit) as left:
        cli.main(command(home, store, save(model, home / "model.onnx"), prefix))
    assert left.value.code == code


def command(home: Path, store: ObjectStore, source: Path, prefix: str) -> list[str]:
    private, _ = write_signing_key(home)
    bind = ("--tenant", "t", "--name", "n", "--version", "1", "--json", "--s3-endpoint", store.endpoint)
    keys = ("--kek", write_kek(home), "--kek-id", "k1", "--sign-key", private)
    return [str(word) for word in ("seal", source, f"s3://models/{prefix}", *bind, *keys)]


def test_a_sealed_prefix_opens(store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seal(tmp_path, store, "fraud/7/")
    folder = store.data / "models" / "fraud" / "7"  # the server keeps its objects as files
    expected = opening.Expected("t", "n", "1", {"ci": signing_key().public_key()})
    checked = opening.check(folder, expected)
    assert json.loads(capsys.readouterr().out)["digest"] == checked.digest
    data_key = opening.unwrap(checked, SecretFile(tmp_path / "k1")).data_key
    found = opening.decrypt(checked, data_key, threads=2)
    assert (tmp_path / "model.onnx").read_bytes() == bytes(found["model.onnx"])
    assert WEIGHTS.tobytes() in bytes(found["model.onnx"])


def test_a_prefix_that_is_taken_or_an_object_is_refused(
    store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seal(tmp_path, store, "taken/", code=1)
    assert "give a prefix that is free" in capsys.readouterr().out
    seal(tmp_path, store, "fraud.onnx", code=1)
    assert "end it with /" in capsys.readouterr().out
    assert [path.name for path in (store.data / "models" / "taken").iterdir()] == ["README"]


@pytest.mark.parametrize("step", ["_seal_file", "wrap", "keys_files"])
def test_what_fails_leaves_nothing(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(writing, step)

    def failing(*arguments: object) -> object:
        real(*arguments)
        raise OSError(5, "a disk fails", "disk")

    monkeypatch.setattr(writing, step, failing)
    seal(tmp_path, store, f"fails/{step}/", code=1)
    home = store.data / "models" / "fails"
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_server_that_refuses_is_told(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    seal(tmp_path, store, "refused/", code=1)
    assert json.loads(capsys.readouterr().out)["reason"] == "AccessDenied"


def test_memory_stays_flat_whatever_the_size(store: ObjectStore, tmp_path: Path) -> None:
    """A process of its own seals 320 MB; its peak memory grows by less than half of that: some parts of 16 MiB on their way."""
    weights = tmp_path / "m" / "weights.bin"
    weights.parent.mkdir()
    with weights.open("wb") as file:
        for _ in range(320):
            file.write(bytes(1 << 20))
    save(linear(), tmp_path / "m" / "model.onnx")
    words = command(tmp_path, store, tmp_path / "m", "huge/")
    risen = growth(words)
    assert risen < 160, f"{risen} MB"
