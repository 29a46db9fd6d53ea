"""The journal: how records hang together, what rotates, what is lost and told, and how a policy moves the log elsewhere."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelward_runtime.audit import journal as journals
from modelward_runtime.audit.journal import Journal
from modelward_runtime.errors import Unavailable
from modelward_runtime.sinks import outlet as outlets
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.sink import SinkFailed, Writer
from tests.audit_logs import (
    auditor_on,
    auditor_policy,
    check,
    files,
    journal_in,
    key,
    kinds,
    prediction,
    records,
    terms,
    write_log,
)
from tests.until import until


class Moody:
    """A sink that fails while it is told to, and keeps what it took."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.why = ""
        self.tries = 0
        self.is_closed = False

    def write(self, lines: Sequence[bytes], *, fresh: bool) -> None:
        self.tries += 1
        if self.why:
            raise SinkFailed(self.why)
        self.lines += lines

    def close(self) -> None:
        self.is_closed = True

    @property
    def kinds(self) -> list[str]:
        return kinds([json.loads(line) for line in self.lines])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(outlets, "LONGEST_PAUSE", 0.02)


def journal_on(sink: Moody) -> Journal:
    journal = Journal(Writer("pod", "b1"), terms(sink), OutletMetrics("t", "t"))
    journal.begin([])
    return journal


async def test_a_chain_begins_is_signed_and_ends(tmp_path: Path) -> None:
    await write_log(tmp_path, count=5, records=2)
    found = records(tmp_path)
    expected = ["genesis", "checkpoint", *["prediction", "prediction", "checkpoint"] * 2, "prediction", "checkpoint"]
    assert expected == kinds(found)
    assert [str(number) for number in range(len(found))] == [record["id"] for record in found]
    assert {"/pods/pod/boots/b1"} == {record["source"] for record in found}
    assert [first["hash"] for first in found[:-1]] == [second["previous"] for second in found[1:]]
    assert {"format": "modelward.audit/v1", "pod": "pod", "boot": "b1", "key": key().fingerprint, "found": []} == found[
        0
    ]["data"]
    (chain,) = check(tmp_path).chains
    assert (len(found), len(found) - 1, 0, True) == (chain.records, chain.last_checkpoint, chain.unsigned, chain.closed)


async def test_a_full_file_is_followed_by_one_that_continues_it(tmp_path: Path) -> None:
    await write_log(tmp_path, count=30, longest=4096)
    found = files(tmp_path)
    assert len(found) > 2
    assert [f"pod.b1.{number:06}.jsonl" for number in range(1, len(found) + 1)] == [file.name for file in found]
    for file in found[1:]:
        assert kinds(records(file))[:2] == ["continues", "checkpoint"]
    for file in found:
        assert kinds(records(file))[-1] == "checkpoint", "each file ends signed"
        assert file.stat().st_size < 4096 + 2000
    assert check(tmp_path).is_whole
    assert not check(*found[1:]).is_whole
    assert check(*found[1:], partial=True).is_whole
    assert not check(found[0], *found[2:], partial=True).is_whole, "a hole is no part"


async def test_a_restart_names_what_it_found(tmp_path: Path) -> None:
    await write_log(tmp_path, "b1", is_closed=False)
    await write_log(tmp_path, "b2")
    before, after = records(tmp_path / "pod.b1.000001.jsonl"), records(tmp_path / "pod.b2.000001.jsonl")
    head = {"source": before[-1]["source"], "id": before[-1]["id"], "hash": before[-1]["hash"]}
    assert [head] == after[0]["data"]["found"]
    verdict = check(tmp_path)
    assert (True, [False, True]) == (verdict.is_whole, [chain.closed for chain in verdict.chains])
    (tmp_path / "pod.b1.000001.jsonl").unlink()
    assert "which the genesis of /pods/pod/boots/b2 has seen" in check(tmp_path).findings[0].message


async def test_the_head_in_the_report_is_that_of_safe_records(tmp_path: Path) -> None:
    sink = Moody()
    journal = journal_on(sink)
    await until(lambda: len(sink.lines) == 2)
    await until(lambda: journal.report()["records"] == 2)
    sink.why = "full"
    journal.record("prediction", prediction())
    await until(lambda: journal.failure)
    told = journal.report()
    assert (2, "full", 1) == (told["records"], told["failure"], told["checkpoint"]["record"])
    assert json.loads(sink.lines[-1])["hash"] == told["head"] == told["checkpoint"]["hash"]
    sink.why = ""
    await until(lambda: not journal.failure)
    assert json.loads(sink.lines[-1])["hash"] == journal.report()["head"]
    await journal.close(5)


async def test_what_had_no_room_is_told_in_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_WAITING", 4)
    sink = Moody()
    journal = journal_on(sink)
    auditor = auditor_on(journal, required=False)
    await until(lambda: journal.waiting == 0)
    sink.why = "full"
    for _ in range(7):
        auditor.end(auditor.begin("rest"), "Allowed", 200, "", 1)
    auditor.catch_up()
    assert 3 == journal._metrics.lost
    assert auditor.obstacle == "", "nobody demands a record"
    sink.why = ""
    await until(lambda: "lost" in sink.kinds)
    lost = [json.loads(line)["data"] for line in sink.lines if b"audit.lost" in line]
    assert [{"answered": 3, "refused": 0}] == lost
    await journal.close(5)


async def test_a_required_log_that_is_full_refuses_calls_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_WAITING", 4)
    sink = Moody()
    journal = journal_on(sink)
    auditor = auditor_on(journal)
    await until(lambda: journal.waiting == 0)
    sink.why = "no space"
    entries = [auditor.begin("rest") for _ in range(4)]
    with pytest.raises(Unavailable, match="the audit log takes no records"):
        auditor.begin("rest")
    for entry in entries:
        auditor.end(entry, "Allowed", 200, "", 1)
    await until(lambda: journal.failure)
    assert "the audit log is full: no space" == auditor.obstacle
    sink.why = ""
    await until(lambda: not auditor.obstacle)
    await until(lambda: "lost" in sink.kinds)
    assert [{"answered": 0, "refused": 1}] == [json.loads(line)["data"] for line in sink.lines if b"audit.lost" in line]
    assert 4 == sink.kinds.count("prediction")
    await journal.close(5)


async def test_synchronous_withholds_an_answer_whose_record_is_not_safe_and_says_so_later() -> None:
    sink = Moody()
    journal = journal_on(sink)
    auditor = auditor_on(journal, durability="Synchronous")
    await auditor.settle(auditor.end(auditor.begin("rest"), "Allowed", 200, "", 1))
    assert "prediction" in sink.kinds, "safe before settle returns"
    sink.why = "no space"
    pending = auditor.end(auditor.begin("rest"), "Allowed", 200, "", 1)
    with pytest.raises(Unavailable):
        await auditor.settle(pending)
    assert "the audit log cannot be written: no space" == auditor.obstacle
    with pytest.raises(Unavailable):
        auditor.begin("grpc")
    sink.why = ""
    await until(lambda: "withheld" in sink.kinds)
    told = [json.loads(line)["data"] for line in sink.lines if b"audit.withheld" in line]
    assert pending is not None
    assert pending.receipt is not None
    assert [{"ids": [str(pending.receipt.number)]}] == told
    assert auditor.obstacle == ""
    await journal.close(5)


async def test_synchronous_that_is_not_required_answers_all_the_same() -> None:
    sink = Moody()
    journal = journal_on(sink)
    auditor = auditor_on(journal, required=False, durability="Synchronous")
    await until(lambda: journal.waiting == 0)
    sink.why = "no space"
    await auditor.settle(auditor.end(auditor.begin("rest"), "Allowed", 200, "", 1))
    assert auditor.obstacle == ""
    sink.why = ""
    await journal.close(5)


async def test_before_there_is_a_chain_a_required_log_refuses_and_another_counts() -> None:
    required, other = auditor_on(None), auditor_on(None, required=False)
    assert required.obstacle == "the audit log is being opened"
    with pytest.raises(Unavailable):
        required.begin("rest")
    other.end(other.begin("rest"), "Allowed", 200, "", 1)
    other.catch_up()
    sink = Moody()
    journal = journal_on(sink)
    other.opened(journal)
    other.end(other.begin("rest"), "Allowed", 200, "", 1)
    other.catch_up()
    await journal.close(5)
    assert ["genesis", "checkpoint", "lost", "prediction", "checkpoint"] == sink.kinds


async def test_another_sink_gets_what_the_old_one_could_not_take(tmp_path: Path) -> None:
    sink = Moody()
    journal = journal_on(sink)
    await until(lambda: journal.waiting == 0)
    sink.why = "credentials are wrong"
    journal.record("prediction", prediction(1))
    await until(lambda: journal.failure)
    journal.record("prediction", prediction(2))
    new = FileSink(tmp_path, Writer("pod", "b1"))
    journal.move(terms(new, signer="next"))
    journal.record("prediction", prediction(3))
    await journal.close(5)
    assert sink.is_closed
    expected = ["prediction", "prediction", "checkpoint", "continues", "checkpoint", "prediction", "checkpoint"]
    assert expected == kinds(records(tmp_path))
    assert [1, 2, 3] == [r["data"]["requestBytes"] for r in records(tmp_path) if r["type"].endswith("prediction")]
    assert key("next").fingerprint == records(tmp_path)[3]["data"]["key"]


async def test_a_moved_chain_is_whole_over_both_sinks(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    journal = journal_in(first)
    journal.begin([])
    for number in range(50):
        journal.record("prediction", prediction(number))
    journal.move(terms(FileSink(second, Writer("pod", "b1"))))
    for number in range(50):
        journal.record("prediction", prediction(number))
    await journal.close(5)
    assert check(first, second).is_whole
    assert check(first).is_whole
    assert not check(first).chains[0].closed, "the rest is elsewhere"
    assert not check(second).is_whole


async def test_a_day_old_piece_is_followed_by_the_next_and_an_idle_log_gives_a_sign_of_life(tmp_path: Path) -> None:
    now = [0.0]
    journal = journal_in(tmp_path, clock=lambda: now[0])
    journal.begin([])
    now[0] = 3600
    journal.beat()
    journal.beat()
    now[0] = 86_401
    journal.beat()
    journal.beat()
    await journal.close(5)
    first, second = files(tmp_path)
    assert ["Start", "Hour", "Rotation"] == [
        r["data"]["cause"] for r in records(first) if r["type"].endswith("checkpoint")
    ]
    assert ["continues", "checkpoint", "checkpoint"] == kinds(records(second))


async def test_a_checkpoint_comes_after_some_seconds(tmp_path: Path) -> None:
    writer = Writer("pod", "b1")
    said = terms(FileSink(tmp_path, writer))
    journal = Journal(writer, type(said)(said.key, said.sink, 0.0, said.longest, 1000, 1), OutletMetrics("t", "t"))
    journal.begin([])
    journal.record("prediction", prediction())
    await until(lambda: kinds(records(tmp_path))[-1:] == ["checkpoint"] and len(records(tmp_path)) == 4)
    assert "Seconds" == records(tmp_path)[-1]["data"]["cause"]
    await journal.close(5)


async def test_a_wall_clock_that_jumps_makes_no_run_that_verification_would_refuse(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    writer = Writer("pod", "b1")
    journal = Journal(writer, terms(FileSink(tmp_path, writer)), OutletMetrics("t", "t"), wall=lambda: now[0])
    journal.begin([])
    for jump in (0, 4000, -9000, 60, 9100):
        now[0] += jump
        journal.record("prediction", prediction())
    await journal.close(5)
    assert check(tmp_path).is_whole, check(tmp_path).findings
    expected = ["Start", "Seconds", "Seconds", "Close"]
    assert expected == [r["data"]["cause"] for r in records(tmp_path) if r["type"].endswith("checkpoint")]


async def test_other_numbers_hold_once_they_are_signed(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, records=5)
    journal.begin([])
    for bound in (50, 2):
        journal.retune(terms(journal._terms.sink, records=bound))
        for number in range(20):
            journal.record("prediction", prediction(number))
    await journal.close(5)
    assert check(tmp_path).is_whole, check(tmp_path).findings


async def test_many_calls_at_once_are_all_there_and_in_order(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, longest=20_000, records=50)
    journal.begin([])
    auditor = auditor_on(journal, durability="Synchronous")

    async def one(number: int) -> None:
        entry = auditor.begin("rest")
        entry.request_bytes = number
        await asyncio.sleep(0)
        await auditor.settle(auditor.end(entry, "Allowed", 200, "", 1))

    await asyncio.gather(*(one(number) for number in range(2000)))
    assert 0 == journal.reserved
    await journal.close(5)
    found = [r["data"]["requestBytes"] for r in records(tmp_path) if r["type"].endswith("prediction")]
    assert list(range(2000)) == sorted(found)
    assert check(tmp_path).is_whole


async def test_a_buffered_record_is_made_when_its_answer_has_left_and_in_the_order_of_answers(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.begin([])
    auditor = auditor_on(journal)
    for number in range(3):
        entry = auditor.begin("rest")
        entry.request_bytes = number
        assert auditor.end(entry, "Allowed", 200, "", 1) is None
    assert 3 == journal.reserved
    await until(lambda: 0 == journal.reserved)
    auditor.end(auditor.begin("rest"), "Denied", 400, "BadRequest", 0)
    auditor.adopt(auditor_policy("Synchronous"), b"")
    receipt = auditor.end(auditor.begin("rest"), "Denied", 429, "QueueFull", 0)
    await auditor.settle(receipt)
    await journal.close(5)
    found = [r["data"] for r in records(tmp_path) if r["type"].endswith("prediction")]
    assert [(0, 200), (1, 200), (2, 200), (0, 400), (0, 429)] == [
        (data["requestBytes"], data["code"]) for data in found
    ]
