"""A log in an object store while policies change: no object is overwritten, and the chain is whole. The store is in memory."""

import asyncio
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore
from prometheus_client import CollectorRegistry

from modelward_runtime.audit.auditor import Auditor
from modelward_runtime.audit.config import Audit
from modelward_runtime.audit.keys import fingerprint
from modelward_runtime.audit.running import AuditLog
from modelward_runtime.audit.verify import Verdict, verify
from modelward_runtime.report import Report
from modelward_runtime.sinks import outlet as outlets
from modelward_runtime.sinks import s3
from modelward_runtime.sinks.config import S3
from modelward_runtime.sinks.s3 import S3Sink
from modelward_runtime.sinks.sink import SinkFailed, Writer
from tests.audit_logs import BOOT, key, kinds, lost_answer, records, write_keys
from tests.until import PATIENCE


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    made = MemoryStore()
    monkeypatch.setattr(s3, "_open", lambda *_: made)
    return made


def copied(store: MemoryStore, folder: Path) -> list[Path]:
    """Every object as a file."""
    files = []
    for page in obstore.list(store):
        for entry in page:
            files.append(folder / entry["path"])
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            files[-1].write_bytes(bytes(obstore.get(store, entry["path"]).bytes()))
    return files


def checked(files: list[Path]) -> Verdict:
    public = [key(name).private.public_key() for name in ("audit", "next")]
    return verify(files, {fingerprint(one): one for one in public})


def policy(home: Path, prefix: str = "a", signer: str = "audit", durability: str = "Synchronous") -> Audit:
    return Audit(
        sink=S3(uri=f"s3://b/{prefix}/"),
        signing_key_file=str(home / f"{signer}.pem"),
        required=durability == "Synchronous",
        durability=durability,  # type: ignore[arg-type]
    )


async def call(auditor: Auditor | None, count: int = 2) -> None:
    assert auditor
    for _ in range(count):
        await auditor.settle(auditor.end(auditor.begin("rest"), "Allowed", 200, "", 1))


MOVES = [
    ("another key", [{}, {"signer": "next"}]),
    ("away and back", [{}, {"prefix": "b"}, {}]),
    ("away and back with other keys", [{}, {"prefix": "b", "signer": "next"}, {"signer": "next"}, {}]),
]


@pytest.mark.parametrize(("reason", "moves"), MOVES, ids=[row[0] for row in MOVES])
async def test_another_policy_overwrites_nothing(
    tmp_path: Path, store: MemoryStore, reason: str, moves: list[dict[str, str]]
) -> None:
    for name in ("audit", "next"):
        write_keys(tmp_path, name)
    log = AuditLog(Report(BOOT, "b"), CollectorRegistry(), lambda _: None)
    for move in moves:
        log.prepare(policy(tmp_path, **move))()
        await log.opened()
        await call(log.auditor)
        await asyncio.sleep(0.05)
    await log.close()
    files = copied(store, tmp_path / "log")
    verdict = checked(files)
    assert verdict.is_whole, (reason, verdict.findings)
    assert 2 * len(moves) == kinds(records(*files)).count("prediction")


def test_a_batch_keeps_the_name_of_its_first_try(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [3599.0]
    writer = Writer("pod", "b1")
    sink = S3Sink(S3(uri="s3://b/p/"), writer, "X", lambda: now[0])
    now[0] = 3599.0 + 3599.9
    with monkeypatch.context() as patched:
        patched.setattr(obstore, "put", lost_answer(obstore.put))
        with pytest.raises(SinkFailed):
            sink.write([b"one\n"], fresh=False)
    now[0] += 0.2
    sink.write([b"one\n"], fresh=False)
    sink.write([b"two\n"], fresh=False)
    names = [entry["path"].partition("b1/")[2] for page in obstore.list(store) for entry in page]
    assert ["000000/000000001.jsonl", "000001/000000002.jsonl"] == sorted(names)


def test_a_store_without_conditions_is_written_to_all_the_same(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, modes = obstore.put, []

    def put(*given: object, mode: str, **named: object) -> None:
        modes.append(mode)
        if mode == "create":
            raise obstore.exceptions.NotSupportedError("If-None-Match")
        real(*given, mode=mode, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(obstore, "put", put)
    sink = S3Sink(S3(uri="s3://b/p/"), Writer("pod", "b1"), "X")
    for content in (b"one\n", b"two\n"):
        sink.write([content], fresh=False)
    assert ["create", "overwrite", "overwrite"] == modes


async def test_a_batch_that_arrived_unanswered_before_a_move_is_in_both_sinks_and_no_tampering(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlets, "FIRST_PAUSE", 0.01)
    write_keys(tmp_path)
    log = AuditLog(Report(BOOT, "b"), CollectorRegistry(), lambda _: None)
    log.prepare(policy(tmp_path))()
    await log.opened()
    await call(log.auditor)
    log.prepare(policy(tmp_path, durability="Buffered"))()
    with monkeypatch.context() as patched:
        patched.setattr(obstore, "put", lost_answer(obstore.put))
        patched.setattr(s3.S3Sink, "_put", lambda sink, name, content: obstore.put(sink._store, name, content))
        await call(log.auditor)
        assert log.auditor
        log.auditor.catch_up()
        journal = log.auditor.journal
        assert journal
        journal._outlet._hurry.set()
        async with asyncio.timeout(PATIENCE):
            while not journal.failure:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        log.prepare(policy(tmp_path, prefix="b", durability="Buffered"))()
        await asyncio.sleep(0.1)
    await log.close()
    files = copied(store, tmp_path / "log")
    assert 4 < kinds(records(*files)).count("prediction"), "some stand there twice"
    verdict = checked(files)
    assert verdict.is_whole, verdict.findings
    assert 4 == verdict.records - sum(kind != "prediction" for kind in kinds_once(files))


def kinds_once(files: list[Path]) -> list[str]:
    """The kind of each record, of repeated ones once."""
    return kinds(list({record["id"]: record for record in records(*files)}.values()))
