"""Audit and payload logs in a real S3 server: every batch an object, a store that is away, a restart, retention by the store's clock."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from modelward_runtime.sinks.clock import DAY, HOUR, SteadyClock
from modelward_runtime.sinks.config import S3, Retention
from modelward_runtime.sinks.keeping import Keeper
from modelward_runtime.sinks.s3 import S3Sink
from modelward_runtime.sinks.sink import Piece, SinkFailed, Writer, model_id, new_boot
from tests.audit_logs import check, lost_answer, write_keys
from tests.integration.objectstore import (
    ACCESS_KEY,
    SECRET_KEY,
    Certificates,
    ObjectStore,
    certificates,
    object_store,
)
from tests.onnx_models import linear, save
from tests.processes import run

ROWS = [[1.0, 0.0, 0.0, 0.0]]
PREFIX = "MODELWARD_AUDIT_"
OWN = {f"{PREFIX}AWS_ACCESS_KEY_ID": ACCESS_KEY, f"{PREFIX}AWS_SECRET_ACCESS_KEY": SECRET_KEY}
MODELS = {"AWS_ACCESS_KEY_ID": "of-another", "AWS_SECRET_ACCESS_KEY": "store", "AWS_SESSION_TOKEN": "and-its-token"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as running:
        running.put("audit", "other/README", b"not ours")
        yield running


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {**OWN, **MODELS}.items():
        monkeypatch.setenv(name, content)


def settings(store: ObjectStore, prefix: str, **more: Any) -> S3:
    return S3(uri=f"s3://audit/{prefix}/", endpoint=store.endpoint, **more)


def files_of(store: ObjectStore, prefix: str, series: str = "") -> list[Path]:
    root = store.data / "audit" / prefix
    return sorted(file for file in root.rglob("*.jsonl") if series in str(file.parent)) if root.exists() else []


def policy(home: Path, store: ObjectStore, prefix: str, **changes: Any) -> str:
    sink = {"type": "S3", "uri": f"s3://audit/{prefix}/", "endpoint": store.endpoint}
    audit = {"sink": sink, "signingKeyFile": str(home / "audit.pem"), **changes}
    return json.dumps({"apiVersion": "runtime/v1", "kind": "Policy", "generation": "1", "audit": audit})


@pytest.mark.parametrize("durability", ["Buffered", "Synchronous"])
def test_a_restart_goes_on_where_the_log_ended(tmp_path: Path, store: ObjectStore, durability: str) -> None:
    save(linear(), tmp_path / "m/model.onnx")
    write_keys(tmp_path)
    prefix = f"served/{durability}"
    said = policy(tmp_path, store, prefix, durability=durability, required=True)
    for number in range(2):
        with run(
            tmp_path / f"p{number}",
            {"directory": str(tmp_path / "m"), "name": "m"},
            policy=said,
            environment=OWN | MODELS,
        ) as process:
            process.until_ready()
            for _ in range(5):
                assert 200 == process.infer("m", ROWS)[0]
            if durability == "Synchronous":
                assert 7 <= process.report()["audit"]["records"], "in the store before the answers left"
            process.signal()
            assert process.exit_code() == 0
    files = files_of(store, prefix)
    told = check(*files)
    assert told.is_whole, told.findings
    assert [(True, 8), (True, 8)] == [(chain.closed, chain.records) for chain in told.chains]
    first = [line for file in files for line in file.read_text().splitlines() if "audit.genesis" in line]
    assert [0, 1] == [len(json.loads(line)["data"]["found"]) for line in first], "files sort by their starts"
    assert not check(*[file for file in files if str(file.parent.parent) != str(files[0].parent.parent)]).is_whole


def test_a_store_that_is_away_stops_a_required_log_and_heals(tmp_path: Path, store: ObjectStore) -> None:
    """The bucket is taken away and brought back: the server answers, and refuses."""
    save(linear(), tmp_path / "m/model.onnx")
    write_keys(tmp_path)
    said = policy(tmp_path, store, "away", durability="Synchronous", required=True)
    with run(
        tmp_path / "p", {"directory": str(tmp_path / "m"), "name": "m"}, policy=said, environment=OWN | MODELS
    ) as process:
        process.until_ready()
        assert 200 == process.infer("m", ROWS)[0]
        bucket = store.data / "audit"
        bucket.rename(store.data.parent / "hidden")
        try:
            assert 503 == process.infer("m", ROWS)[0]
            assert 503 == process.get("/readyz")[0]
            assert "'audit' does not exist" in process.report()["audit"]["failure"]
            assert SECRET_KEY not in process.log()
        finally:
            (store.data.parent / "hidden").rename(bucket)
        process.until(lambda: process.get("/readyz")[0] == 200, 30)
        assert 200 == process.infer("m", ROWS)[0]
        process.signal()
        assert process.exit_code() == 0
    told = check(*files_of(store, "away"))
    assert told.is_whole, told.findings


def test_wrong_credentials_keep_a_required_log_from_being_opened(tmp_path: Path, store: ObjectStore) -> None:
    save(linear(), tmp_path / "m/model.onnx")
    write_keys(tmp_path)
    said = policy(tmp_path, store, "denied", required=True)
    wrong = {**OWN, f"{PREFIX}AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    with run(
        tmp_path / "p", {"directory": str(tmp_path / "m"), "name": "m"}, policy=said, environment=wrong
    ) as process:
        process.until(lambda: "SignatureDoesNotMatch" in ((process.report()["audit"] or {}).get("failure") or ""))
        process.until(lambda: process.report()["state"] == "Ready")
        status, why = process.get("/readyz")
        assert (503, True) == (status, why.startswith("the audit log cannot be opened: "))
        assert 503 == process.infer("m", ROWS)[0]
        assert "wrong-secret" not in process.log()


async def test_objects_are_ordered_and_a_batch_that_is_tried_again_is_one_object(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    sink = S3Sink(settings(store, "ordered"), Writer("pod", "b1"), PREFIX, lambda: now[0])
    sink.write([b"one\n", b"two\n"], fresh=False)
    now[0] = 2.5 * HOUR
    sink.write([b"three\n"], fresh=True)
    with monkeypatch.context() as patched:
        patched.setattr(obstore, "put", lost_answer(obstore.put))
        with pytest.raises(SinkFailed):
            sink.write([b"four\n"], fresh=True)
    now[0] = 3.5 * HOUR
    sink.write([b"four\n"], fresh=True)
    names = [str(file.relative_to(store.data / "audit/ordered")) for file in files_of(store, "ordered")]
    assert [f"pod/b1/{name}.jsonl" for name in ("000000/000000001", "000002/000000002", "000002/000000003")] == names
    other = S3Sink(settings(store, "ordered"), Writer("pod", "b2"), PREFIX)
    assert [b"four"] == other.heads()
    assert [] == sink.heads(), "its own is no other's"


def test_an_object_is_never_overwritten(store: ObjectStore) -> None:
    writer = Writer("pod", "b1")
    first, second = (S3Sink(settings(store, "twice"), writer, PREFIX) for _ in range(2))
    first.write([b"one\n"], fresh=False)
    second.write([b"two\n"], fresh=False)
    first.write([b"three\n"], fresh=False)
    stranger = S3Sink(settings(store, "twice"), Writer("pod", "b1"), PREFIX)
    with pytest.raises(SinkFailed, match=r"000000001\.jsonl is there already, and another"):
        stranger.write([b"new\n"], fresh=False)
    assert [b"one\n", b"two\n", b"three\n"] == [file.read_bytes() for file in files_of(store, "twice")]


async def test_retention_deletes_by_the_stores_clock(store: ObjectStore) -> None:
    old = S3Sink(settings(store, "kept"), Writer("pod", "b1"), PREFIX)
    for number in range(3):
        old.write([b'{"time":"2026-01-01T00:00:00Z"}\n'], fresh=bool(number))
    noted: list[int] = []

    async def note(pieces: list[Piece], last: bytes) -> bool:
        noted.append(len(pieces))
        assert last
        return True

    class Later(S3Sink):
        """The same store, so many seconds later."""

        ahead = 0.0

        def server_time(self) -> float | None:
            found = super().server_time()
            return None if found is None else found + self.ahead

    class Wall:
        def __init__(self) -> None:
            self.ahead, self.steady = 100 * DAY, 0.0

        def clock(self) -> SteadyClock:
            return SteadyClock(lambda: time.time() + self.ahead, lambda: self.steady)

    wall = Wall()
    sink = Later(settings(store, "kept"), Writer("pod", "b2"), PREFIX)
    sink.write([b'{"time":"2026-01-01T00:00:00Z"}\n'], fresh=False)
    keeper = Keeper(sink, Retention(min_days=10, max_days=20), note, wall.clock())
    wall.steady = 2 * HOUR
    assert 0 == await keeper.look(), "our clock is a hundred days ahead, the store's is not"
    sink.ahead = 15 * DAY
    assert 0 == await keeper.look(), "older than minDays, younger than maxDays"
    sink.ahead = 21 * DAY
    assert 3 == await keeper.look()
    assert ([3], 1) == (noted, len(files_of(store, "kept")))


def test_a_models_retention_deletes_nothing_of_another(store: ObjectStore) -> None:
    writers = [Writer("pod", new_boot(0, model_id("risk", name))) for name in ("fraud", "churn", "churn")]
    sinks = [S3Sink(settings(store, "shared"), writer, PREFIX) for writer in writers]
    for sink in sinks:
        sink.write([b'{"time":"2026-01-01T00:00:00Z"}\n'], fresh=False)
    found = sinks[2].pieces(time.time() + DAY)
    assert [writers[1].series] == [piece.series for piece in found]


def test_what_is_wrong_is_said_without_secrets(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = S3Sink(S3(uri="s3://nobucket/a/", endpoint=store.endpoint), Writer("pod", "b1"), PREFIX)
    with pytest.raises(SinkFailed, match="the bucket 'nobucket' does not exist"):
        missing.write([b"x\n"], fresh=False)
    with pytest.raises(SinkFailed, match="the CA bundle /absent cannot be read"):
        S3Sink(settings(store, "a", ca_bundle_file="/absent"), Writer("pod", "b1"), PREFIX)
    monkeypatch.setenv(f"{PREFIX}AWS_SECRET_ACCESS_KEY", SECRET_KEY + "\n")
    with pytest.raises(SinkFailed, match="begins or ends with white space"):
        S3Sink(settings(store, "a"), Writer("pod", "b1"), PREFIX)


async def test_a_private_ca_is_trusted_by_its_bundle(tmp_path: Path) -> None:
    made: Certificates = certificates(tmp_path / "tls")
    with object_store(tmp_path / "s", certificate=made.certificate, key=made.key) as secure:
        (secure.data / "audit").mkdir()
        trusted = S3Sink(settings(secure, "a", ca_bundle_file=str(made.ca)), Writer("pod", "b1"), PREFIX)
        await asyncio.to_thread(trusted.write, [b"x\n"], fresh=False)
        stranger = S3Sink(settings(secure, "a"), Writer("pod", "b2"), PREFIX)
        with pytest.raises(SinkFailed, match="UnknownIssuer") as caught:
            await asyncio.to_thread(stranger.write, [b"x\n"], fresh=False)
        assert "caBundleRef" not in str(caught.value)
        shutil.rmtree(secure.data / "audit")
