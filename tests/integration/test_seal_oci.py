"""Sealing straight into a real registry: whole, or nothing that anybody could name."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from modelward_runtime import cli
from modelward_runtime.config import ModelSource, Oci
from modelward_runtime.store import push
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.sealed import opening, writing
from tests.integration.objectstore import certificates, proxy
from tests.integration.peaks import growth
from tests.integration.registry import (
    MANIFEST_TYPE,
    PASSWORD,
    USER,
    Registry,
    docker_config,
    password,
    registry,
    token_service,
)
from tests.onnx_models import WEIGHTS, linear, save
from tests.sealed_folders import signing_key, write_kek, write_signing_key

BIG = np.random.default_rng(7).random(6_000_000, np.float32)  # 24 MB: more than a chunk


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("modelward_runtime.main.harden", lambda: None)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def command(home: Path, address: str, *more: str) -> list[str]:
    model = linear()
    model.graph.initializer.append(numpy_helper.from_array(BIG, "big"))
    private, _ = write_signing_key(home)
    bind = ("--tenant", "t", "--name", "n", "--version", "1", "--json", *more)
    keys = ("--kek", write_kek(home), "--kek-id", "k1", "--sign-key", private)
    return [str(word) for word in ("seal", save(model, home / "model.onnx"), f"oci://{address}", *bind, *keys)]


def seal(home: Path, address: str, *more: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(command(home, address, *(more or ("--plain-http",))))
    assert left.value.code == code


def test_a_sealed_artifact_opens(store: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seal(tmp_path, f"{store.host}/risk/fraud:7")
    told = json.loads(capsys.readouterr().out)
    source = ModelSource(
        name="n",
        version="1",
        uri=f"oci://{store.host}/risk/fraud:7",
        digest=told["digest"],
        oci=Oci(endpoint=store.endpoint),
    )
    fetched = fetch(source, Cache(tmp_path / "cache"), Progress(), 60)
    assert (True, told["digest"]) == (fetched.sealed, fetched.digest)
    assert fetched.folder is not None
    checked = opening.check(fetched.folder, opening.Expected("t", "n", "1", {"ci": signing_key().public_key()}))
    data_key = opening.unwrap(checked, SecretFile(tmp_path / "k1")).data_key
    found = opening.decrypt(checked, data_key, threads=2)
    assert (tmp_path / "model.onnx").read_bytes() == bytes(found["model.onnx"])
    assert WEIGHTS.tobytes() in bytes(found["model.onnx"])
    listed = json.loads(store.ask("GET", "/v2/risk/fraud/manifests/7", Accept=MANIFEST_TYPE)[2])
    assert listed["artifactType"] == "application/vnd.modelward.sealed.v1"
    assert all(WEIGHTS.tobytes() not in file.read_bytes() for file in store.data.rglob("data") if file.is_file())


def test_a_tag_that_is_taken_or_a_digest_is_refused(
    store: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.push("risk/taken", "1", {"README": b"something"})
    seal(tmp_path, f"{store.host}/risk/taken:1", code=1)
    assert "give a tag that is free" in capsys.readouterr().out
    seal(tmp_path, f"{store.host}/risk/taken@sha256:{'0' * 64}", code=1)
    assert "what is still to be made has no digest" in capsys.readouterr().out
    assert before == store.ask("HEAD", "/v2/risk/taken/manifests/1", Accept=MANIFEST_TYPE)[1]["docker-content-digest"]


@pytest.mark.parametrize("step", ["_seal_file", "wrap", "keys_files"])
def test_what_fails_leaves_no_artifact_and_no_upload(
    store: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(writing, step)

    def failing(*arguments: object) -> object:
        real(*arguments)
        raise OSError(5, "a disk fails", "disk")

    monkeypatch.setattr(writing, step, failing)
    name = step.strip("_").replace("_", "-")
    seal(tmp_path, f"{store.host}/fails/{name}:1", code=1)
    assert store.ask("GET", f"/v2/fails/{name}/manifests/1")[0] == 404
    assert not list(store.data.rglob(f"fails/{name}/_uploads/*/data"))


def test_an_upload_that_is_broken_off_is_cancelled(
    store: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, "a disk fails", "disk")

    monkeypatch.setattr("modelward_runtime.store.sealed.stream.Encryptor.finish", failing)
    seal(tmp_path, f"{store.host}/fails/halfway:1", code=1)
    assert not list(store.data.rglob("fails/halfway/_uploads/*/data"))


def test_who_may_write(store: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registry(store.data.parent, auth=password(tmp_path)) as locked:
        seal(tmp_path, f"{locked.host}/risk/locked:1", code=1)
        assert json.loads(capsys.readouterr().out)["reason"] == "AccessDenied"
        docker_config(tmp_path / "docker", locked.host)
        seal(tmp_path, f"{locked.host}/risk/locked:1")
        assert PASSWORD not in capsys.readouterr().out


def test_a_token_to_push_is_asked_for(store: Registry, tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls")
    with token_service(made) as service, registry(store.data.parent, auth=service.auth) as locked:
        seal(tmp_path, f"{locked.host}/risk/token:1", code=1)
        docker_config(tmp_path / "docker", locked.host)
        seal(tmp_path, f"{locked.host}/risk/token:1")
    assert USER in {who for _, who in service.asked}
    assert any({"pull", "push"} == set(scope.split(":")[-1].split(",")) for scope, _ in service.asked)


def test_over_tls_with_a_private_ca(store: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = certificates(tmp_path / "tls")
    with registry(store.data.parent, tls=made) as tls:
        seal(tmp_path, f"{tls.host}/risk/tls:1", "--ca-bundle", str(made.ca))
        seal(tmp_path, f"{tls.host}/risk/tls:2", "--s3-endpoint", "http://unused", code=1)
    assert '"reason": "CertificateInvalid"' in capsys.readouterr().out


@pytest.mark.parametrize("allowance", [[1400, 100, 700], [1800, 0, 0]])
def test_an_upload_whose_connection_breaks_is_taken_up_again(
    store: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowance: list[int]
) -> None:
    """The answers are cut somewhere in the middle of the first file, once or more often."""
    looks: list[int] = []
    real = push.Upload._look

    def look(upload: push.Upload, end: int) -> None:
        looks.append(end)
        real(upload, end)

    monkeypatch.setattr(push.Upload, "_look", look)
    with proxy(store.port) as middle:
        middle.allowance = [*allowance]
        name = f"risk/cut{allowance[0]}"
        seal(tmp_path, f"127.0.0.1:{middle.server_address[1]}/{name}:1")
    assert looks, "a chunk was taken up again"
    source = ModelSource(
        name="n", version="1", uri=f"oci://registry.example/{name}:1", oci=Oci(endpoint=store.endpoint)
    )
    assert fetch(source, Cache(tmp_path / "cache"), Progress(), 60).sealed


def test_memory_stays_flat_whatever_the_size(store: Registry, tmp_path: Path) -> None:
    """A process of its own seals 256 MB; its peak memory grows by less than 96 MB: a chunk, its copy, and segments."""
    weights = tmp_path / "m" / "weights.bin"
    weights.parent.mkdir()
    with weights.open("wb") as file:
        for _ in range(256):
            file.write(BIG.data.cast("B")[: 1 << 20])
    save(linear(), tmp_path / "m" / "model.onnx")
    words = command(tmp_path, f"{store.host}/risk/huge:1", "--plain-http")
    words[1] = str(tmp_path / "m")
    risen = growth(words)
    assert risen < 96, f"{risen} MB"
