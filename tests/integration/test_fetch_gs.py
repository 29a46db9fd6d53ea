"""Fetching from Google Cloud Storage: its client against a real store that speaks its XML API, behind a gate (googlestore.py).

What Google's own servers say beyond that, no test here has heard.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime.config import Gs, ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import lanes
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.verify import digest_of
from tests.integration.googlestore import Gate, account_key, gate
from tests.integration.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore, object_store
from tests.onnx_models import WEIGHTS, external, linear
from tests.processes import run

LINEAR = linear().SerializeToString()
BIG = os.urandom(5 << 20)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as running:
        running.put("models", "iris/7/model.onnx", LINEAR)
        running.put("models", "deep/model.onnx", external("data/w.bin", offset=0, length=48).SerializeToString())
        running.put("models", "deep/data/w.bin", WEIGHTS.tobytes())
        running.put("models", "big.onnx", BIG)
        yield running


@pytest.fixture
def google(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GCE_"))]:
        monkeypatch.delenv(name)
    with gate(store.endpoint, ACCESS_KEY, SECRET_KEY) as running:
        monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
        yield running


def key_file(folder: Path, **changed: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.json").write_text(account_key(**changed))
    return folder / "key.json"


def fetched(path: str, google: Gate, folder: Path, key: Path | None = None, **more: Any) -> Fetched:
    gs = Gs(endpoint=f"http://{google.host}", service_account_file=str(key) if key else None)
    return fetch(ModelSource(name="m", version="1", uri=f"gs://{path}", gs=gs, **more), Cache(folder), Progress(), 60)


def refusal(path: str, google: Gate, folder: Path, key: Path | None = None) -> LoadError:
    with pytest.raises(LoadError) as caught:
        fetched(path, google, folder, key)
    assert not list(folder.rglob("*.onnx"))
    assert "PRIVATE" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("path", ["models/deep/", "models/deep", "models/iris/7/model.onnx"])
def test_a_service_accounts_key_opens(google: Gate, tmp_path: Path, path: str) -> None:
    got = fetched(path, google, tmp_path / "c", key_file(tmp_path))
    assert digest_of(got.folder or got.file) == got.digest
    assert not any("computeMetadata" in path for path in google.asked)


def test_the_metadata_server_says_who_we_are_where_there_is_one(
    google: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", google.host)
    assert fetched("models/deep/", google, tmp_path).file.exists()
    assert any(path.startswith("/computeMetadata/v1/instance/service-accounts/default/token") for path in google.asked)


@pytest.mark.parametrize("case", ["none", "without an account", "of another cloud"])
def test_a_public_bucket_is_read_without_credentials(
    google: Gate, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    google.public, google.account = True, False
    if case != "none":
        monkeypatch.setenv(
            "GCE_METADATA_HOST", google.host if case == "without an account" else f"127.0.0.1:{store.port}"
        )
    began = time.monotonic()
    assert fetched("models/deep/", google, tmp_path).file.exists()
    assert time.monotonic() - began < 30


def test_a_large_object_comes_in_parts(google: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    assert fetched("models/big.onnx", google, tmp_path / "c", key_file(tmp_path)).file.read_bytes() == BIG
    assert len(google.asked) >= 5


REFUSED = [
    ("no such bucket", "nowhere/a/", LoadReason.BUCKET_NOT_FOUND, "the bucket 'nowhere' does not exist"),
    ("no such object", "models/none.onnx", LoadReason.MODEL_NOT_FOUND, "there is no such object"),
    ("nothing there", "models/none/", LoadReason.MODEL_NOT_FOUND, "gs://models/none/: there is nothing under this"),
]


@pytest.mark.parametrize(("case", "path", "reason", "text"), REFUSED, ids=[case for case, *_ in REFUSED])
def test_what_is_not_there(google: Gate, tmp_path: Path, case: str, path: str, reason: LoadReason, text: str) -> None:
    error = refusal(path, google, tmp_path / "c", key_file(tmp_path))
    assert (reason, True) == (error.reason, error.permanent), error.message
    assert text in error.message


@pytest.mark.parametrize("path", ["models/iris/7/model.onnx", "models/deep/"])
def test_who_is_nobody_or_a_stranger_is_not_let_in(google: Gate, tmp_path: Path, path: str) -> None:
    stranger = key_file(tmp_path, client_email="stranger@project.iam.gserviceaccount.com")
    for key in (None, stranger):
        error = refusal(path, google, tmp_path / "c", key)
        assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
        assert "AuthenticationRequired" in error.message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read: No such file"),
        ("PRIVATE", "is no JSON of a service account's key"),
        ('{"type": "external_account"}', "is of the type 'external_account', and only"),
        ('{"type": "service_account", "private_key": "PRIVATE KEY"}', "lacks client_email"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(
    google: Gate, tmp_path: Path, content: str | None, text: str
) -> None:
    if content is not None:
        (tmp_path / "key.json").write_text(content)
    error = refusal("models/deep/", google, tmp_path / "c", tmp_path / "key.json")
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
    assert text in error.message


def test_a_key_that_is_no_key_is_refused_without_quoting_it(google: Gate, tmp_path: Path) -> None:
    broken = key_file(tmp_path, private_key="-----BEGIN PRIVATE KEY-----\nMIIBsesame\n-----END PRIVATE KEY-----\n")
    error = refusal("models/deep/", google, tmp_path / "c", broken)
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
    assert "holds a private key that cannot be used" in error.message
    assert "sesame" not in error.message


def test_a_process_serves_from_google(google: Gate, tmp_path: Path) -> None:
    where = {
        "uri": "gs://models/deep/",
        "gs": {"endpoint": f"http://{google.host}", "serviceAccountFile": str(key_file(tmp_path))},
    }
    with run(tmp_path, where) as process:
        process.until_ready()
        assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[2]["outputs"][0]["data"] == WEIGHTS[0].tolist()
