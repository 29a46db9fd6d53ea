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
    private, _ = write_signing_key(home)
    bind = ("--tenant", "t", "--name", "n", "--version", "1", "--json", "--s3-endpoint", store.endpoint)
    keys = ("--kek", write_kek(home), "--kek-id", "k1", "--sign-key", private)
    source = save(model, home / "model.onnx")
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in ("seal", source, f"s3://models/{prefix}", *bind, *keys)])
    assert left.value.code == code


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
