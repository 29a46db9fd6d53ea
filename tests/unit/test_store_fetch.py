"""Fetching without a store: volumes in place, what the cache keeps, what the disk refuses, what the store's errors mean."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from modelward_runtime.config import S3, ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import receiving, s3
from modelward_runtime.store.cache import Cache, Record
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.locate import S3Location
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.remote import Reading, RemoteFile
from modelward_runtime.store.s3errors import explain
from modelward_runtime.store.verify import digest_of

HERE = S3Location("models", "iris/7", single=False)


def local(path: Path) -> ModelSource:
    return ModelSource(name="m", version="1", uri=f"pvc://claim/{path.name}", directory=str(path))


class FakeBucket:
    """A bucket in memory: the seam of `s3.Bucket`, for what a real store does not do on command."""

    files_by_name: dict[str, bytes] = {}  # noqa: RUF012  set per test
    announced: int | None = None
    opened = 0

    def __init__(self, *_: object) -> None:
        type(self).opened += 1

    def files(self) -> list[RemoteFile]:
        return [RemoteFile(f"iris/7/{name}", name, len(content)) for name, content in self.files_by_name.items()]

    def read(self, file: RemoteFile) -> Reading:
        content = self.files_by_name[file.name]
        pieces = iter([content[:3], content[3:]])
        return Reading(len(content) if self.announced is None else self.announced, pieces)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> type[FakeBucket]:
    class Fresh(FakeBucket):
        files_by_name = {"model.onnx": b"the model", "sub/weights.bin": b"weights"}  # noqa: RUF012  set per test

    monkeypatch.setattr(s3, "Bucket", Fresh)
    return Fresh


REMOTE = ModelSource(name="m", version="1", uri="s3://models/iris/7/", s3=S3(endpoint="http://store"))


def test_a_volume_is_used_in_place(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").write_bytes(b"abc")
    progress = Progress()
    fetched = fetch(local(tmp_path / "m"), Cache(tmp_path / "cache"), progress, 60)
    assert (tmp_path / "m/model.onnx", digest_of(tmp_path / "m"), 3) == (fetched.file, fetched.digest, fetched.size)
    assert progress.received == 3
    assert not (tmp_path / "cache").exists()


def test_a_single_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "any.onnx").write_bytes(b"abc")
    fetched = fetch(local(tmp_path / "any.onnx"), Cache(tmp_path), Progress(), 60)
    assert digest_of(tmp_path / "any.onnx") == fetched.digest


def test_a_missing_volume_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="nowhere does not exist") as caught:
        fetch(local(tmp_path / "nowhere"), Cache(tmp_path), Progress(), 60)
    assert caught.value.reason is LoadReason.MODEL_NOT_FOUND
    assert caught.value.permanent


def test_a_download_is_whole_hashed_and_remembered(tmp_path: Path, bucket: type[FakeBucket]) -> None:
    cache, progress = Cache(tmp_path / "cache"), Progress()
    fetched = fetch(REMOTE, cache, progress, 60)
    assert fetched.file.read_bytes() == b"the model"
    assert (fetched.file.parent / "sub/weights.bin").read_bytes() == b"weights"
    assert digest_of(fetched.file.parent) == fetched.digest
    assert (16, 16, 16) == (progress.received, progress.total, fetched.size)
    again = fetch(REMOTE, Cache(tmp_path / "cache"), Progress(), 60)
    assert again.cached
    assert fetched.digest == again.digest
    assert bucket.opened == 1


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("a file was changed on disk", lambda cache: (cache / "model/model.onnx").write_bytes(b"the modem")),
        ("a file is gone", lambda cache: (cache / "model/sub/weights.bin").unlink()),
        ("a file too many", lambda cache: (cache / "model/extra").write_bytes(b"")),
        ("the record is cut", lambda cache: (cache / "model.json").write_bytes(b'{"source":')),
        ("the record is gone", lambda cache: (cache / "model.json").unlink()),
        ("the folder is gone", lambda cache: shutil.rmtree(cache / "model")),
        ("a download was broken off", lambda cache: (cache / "partial").mkdir()),
    ],
)
def test_a_spoilt_cache_is_never_served(tmp_path: Path, bucket: type[FakeBucket], reason: str, spoil: object) -> None:
    first = fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    spoil(tmp_path)  # type: ignore[operator]
    second = fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    assert first.digest == second.digest == digest_of(second.file.parent), reason
    assert not (tmp_path / "partial").exists()


def test_another_uri_or_digest_is_fetched_anew(tmp_path: Path, bucket: type[FakeBucket]) -> None:
    fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    elsewhere = ModelSource(name="m", version="2", uri="s3://models/iris/8/", s3=REMOTE.s3)
    assert not fetch(elsewhere, Cache(tmp_path), Progress(), 60).cached
    pinned = ModelSource(name="m", version="2", uri=elsewhere.uri, s3=REMOTE.s3, digest="sha256:" + "0" * 64)
    assert not fetch(pinned, Cache(tmp_path), Progress(), 60).cached


def test_fewer_bytes_than_announced_is_a_truncation_and_leaves_nothing(
    tmp_path: Path, bucket: type[FakeBucket]
) -> None:
    bucket.announced = 20
    either = (
        r"iris/7/(model\.onnx: 9|sub/weights\.bin: 7) bytes came, 20 were announced"  # they are fetched side by side
    )
    with pytest.raises(LoadError, match=either) as caught:
        fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    assert (LoadReason.TRUNCATED, False) == (caught.value.reason, caught.value.permanent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a//b", "./x", "a\0b"])
def test_a_key_that_would_leave_the_folder_is_refused(tmp_path: Path, bucket: type[FakeBucket], name: str) -> None:
    bucket.files_by_name = {"model.onnx": b"abc", name: b"evil"}
    with pytest.raises(LoadError, match="is not a path below the model's folder"):
        fetch(REMOTE, Cache(tmp_path / "cache"), Progress(), 60)
    assert not (tmp_path / "evil").exists()


def test_a_folder_without_a_model_is_refused_before_anything_is_fetched(
    tmp_path: Path, bucket: type[FakeBucket]
) -> None:
    bucket.files_by_name = {"a.onnx": b"", "b.onnx": b""}
    with pytest.raises(LoadError) as caught:
        fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    assert caught.value.reason is LoadReason.AMBIGUOUS_MODEL_FILE


def test_a_model_larger_than_the_volume_is_refused_before_it_is_fetched(
    tmp_path: Path, bucket: type[FakeBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(LoadError, match=r"the model has 16 bytes and .* has room for 10") as caught:
        fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    assert caught.value.reason is LoadReason.OUT_OF_SPACE


def test_a_single_object_larger_than_the_volume_is_refused_before_it_is_fetched(
    tmp_path: Path, bucket: type[FakeBucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single object is not listed, so its size comes with its first byte."""
    bucket.files_by_name = {"model.onnx": b"the model"}
    monkeypatch.setattr(bucket, "files", lambda _: [RemoteFile("iris/7/model.onnx", "model.onnx", 0)])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8))
    single = ModelSource(name="m", version="1", uri="s3://models/iris/7/model.onnx", s3=REMOTE.s3)
    progress = Progress()
    with pytest.raises(LoadError, match=r"the model has 9 bytes and .* has room for 8") as caught:
        fetch(single, Cache(tmp_path), progress, 60)
    assert caught.value.reason is LoadReason.OUT_OF_SPACE
    assert progress.received == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "reason", "permanent"),
    [
        (errno.ENOSPC, LoadReason.OUT_OF_SPACE, True),
        (errno.EDQUOT, LoadReason.OUT_OF_SPACE, True),
        (errno.EACCES, LoadReason.ACCESS_DENIED, True),
        (errno.EIO, LoadReason.SOURCE_UNREACHABLE, False),
    ],
)
def test_what_the_disk_says(
    tmp_path: Path,
    bucket: type[FakeBucket],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    reason: LoadReason,
    permanent: bool,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/cache/model.onnx")

    monkeypatch.setattr(receiving, "stream", refuse)
    with pytest.raises(LoadError, match=r"/cache/model\.onnx: ") as caught:
        fetch(REMOTE, Cache(tmp_path), Progress(), 60)
    assert (reason, permanent) == (caught.value.reason, caught.value.permanent)


def test_a_fetch_that_was_given_up_stops_at_the_next_piece() -> None:
    progress = Progress()
    progress.cancelled = True
    with pytest.raises(InterruptedError):
        progress.touch(1)


def xml(code: str, message: str = "why") -> str:
    return f"Generic S3 error: <Error><Code>{code}</Code><Message>{message}</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>"


SAID = [
    (GenericError(xml("NoSuchBucket")), LoadReason.BUCKET_NOT_FOUND, True, "the bucket 'models' does not exist"),
    (FileNotFoundError(xml("NoSuchBucket")), LoadReason.BUCKET_NOT_FOUND, True, "the bucket 'models' does not exist"),
    (FileNotFoundError(xml("NoSuchKey")), LoadReason.MODEL_NOT_FOUND, True, "there is no such object"),
    (PermissionDeniedError(xml("SignatureDoesNotMatch")), LoadReason.ACCESS_DENIED, True, "SignatureDoesNotMatch: why"),
    (UnauthenticatedError("401"), LoadReason.ACCESS_DENIED, True, "401"),
    (GenericError(xml("ExpiredToken")), LoadReason.ACCESS_DENIED, True, "ExpiredToken"),
    (GenericError(xml("PermanentRedirect")), LoadReason.BUCKET_NOT_FOUND, True, "is the region right?"),
    (
        GenericError('x\n\nDebug source:\n"invalid peer certificate: UnknownIssuer"'),
        LoadReason.CERTIFICATE_INVALID,
        True,
        "UnknownIssuer; a private CA belongs into model.storage.caBundleRef",
    ),
    (
        GenericError('x\n\nDebug source:\nmessage: "Connection refused"'),
        LoadReason.SOURCE_UNREACHABLE,
        False,
        "Connection refused",
    ),
    (GenericError(xml("SlowDown")), LoadReason.SOURCE_UNREACHABLE, False, "SlowDown"),
    (
        GenericError("Server returned 503 at http://u:p@store/x?X-Amz-Signature=1"),
        LoadReason.SOURCE_UNREACHABLE,
        False,
        "the store",
    ),
]


@pytest.mark.parametrize(("error", "reason", "permanent", "text"), SAID, ids=[str(i) for i in range(len(SAID))])
def test_the_stores_words_become_a_reason(error: Exception, reason: LoadReason, permanent: bool, text: str) -> None:
    told = explain(error, "reading it", HERE)
    assert (reason, permanent, "fetch") == (told.reason, told.permanent, told.stage)
    assert text in told.message
    assert "AKIA" not in told.message
    assert "Signature=1" not in told.message


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "cannot be read"), (b"", "holds no PEM certificate"), (b"\x30\x82", "holds no PEM certificate")],
)
def test_a_useless_ca_bundle_is_named(tmp_path: Path, content: bytes | None, text: str) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LoadError, match=text) as caught:
        s3.Bucket(HERE, S3(endpoint="https://store"), str(file), 60)
    assert caught.value.reason is LoadReason.CERTIFICATE_INVALID


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_a_line_end_in_a_credential_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "sesame\n")
    with pytest.raises(LoadError, match=f"{name} begins or ends with white space") as caught:
        s3.Bucket(HERE, S3(endpoint="http://store"), None, 60)
    assert caught.value.reason is LoadReason.ACCESS_DENIED
    assert "sesame" not in caught.value.message


def test_record_knows_what_it_is_of(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    (cache.begin() / "model.onnx").write_bytes(b"x")
    cache.commit(Record("here", {"model.onnx": "0" * 64}))
    assert cache.recall("elsewhere", lambda _: None) is None
    assert cache.recall("here", lambda _: None) is None, "the hash does not fit"
