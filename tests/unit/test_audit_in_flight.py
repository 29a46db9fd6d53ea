"""Calls in flight while the policy changes: each keeps to its end what it began under, and its record says which policy that was."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from modelward_runtime.audit.auditor import Auditor
from modelward_runtime.audit.config import Audit
from modelward_runtime.audit.entry import Entry, audited
from modelward_runtime.audit.running import AuditLog
from modelward_runtime.caller import Caller
from modelward_runtime.errors import Unavailable
from modelward_runtime.exchange import Exchange
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array
from modelward_runtime.payloads.log import PayloadLog
from modelward_runtime.report import Report
from modelward_runtime.sinks.config import File
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.sink import Writer
from tests.audit_logs import BOOT, auditor_on, check, journal_in, kinds, records, write_keys
from tests.runtime_models import doubler
from tests.unit.test_runtime_web import Client

Change = Callable[[Audit], Audit | None]


class House:
    """An audit log as a process has it, and a call that can be held."""

    def __init__(self, home: Path) -> None:
        write_keys(home)
        self.folder = home / "log"
        self.report = Report(BOOT, "b", policy_generation="g1")
        self.said = Audit(
            sink=File(directory=str(self.folder)),
            signing_key_file=str(home / "audit.pem"),
            required=True,
            durability="Synchronous",
        )
        self.auditor: Auditor | None = None
        self.log = AuditLog(self.report, CollectorRegistry(), self._take)
        self.gate = asyncio.Event()

    def _take(self, auditor: Auditor | None) -> None:
        self.auditor = auditor

    async def open(self) -> None:
        self.log.prepare(self.said)()
        await self.log.opened()

    async def call(self) -> "asyncio.Task[int]":
        """In flight; the answer is how many records of calls are on the disk as it leaves."""
        auditor, entered = self.auditor, asyncio.Event()

        async def work(entry: Entry | None) -> bytes:
            assert entry
            entry.identify(Caller("alice"))
            entry.govern()
            entered.set()
            await self.gate.wait()
            return b"answer"

        async def answer() -> int:
            await audited(auditor, "rest", work, len)
            return kinds(records(self.folder)).count("prediction")

        task = asyncio.ensure_future(answer())
        await asyncio.wait_for(entered.wait(), 60)
        return task

    def change(self, said: Audit | None, generation: str = "g2") -> None:
        self.log.prepare(said)()
        self.report.policy_generation = generation


@pytest.fixture
async def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    await made.open()
    return made


CHANGES: list[tuple[str, Change]] = [
    ("the log is switched off", lambda _: None),
    (
        "it becomes Buffered and not required",
        lambda said: Audit(sink=said.sink, signing_key_file=said.signing_key_file),
    ),
    ("nothing of it changes", lambda said: said),
    (
        "it moves",
        lambda said: Audit(
            sink=File(directory=said.sink.directory + "/b"),  # type: ignore[union-attr]
            signing_key_file=said.signing_key_file,
        ),
    ),
]


@pytest.mark.parametrize(("reason", "change"), CHANGES, ids=[row[0] for row in CHANGES])
async def test_a_call_in_flight_is_recorded_before_its_answer_leaves(house: House, reason: str, change: Change) -> None:
    call = await house.call()
    house.change(change(house.said))
    await asyncio.sleep(0.1)
    house.gate.set()
    seen = await call
    await house.log.close()
    folders = [folder for folder in (house.folder, house.folder / "b") if folder.exists()]
    found = [r["data"] for r in records(*folders) if r["type"].endswith("prediction")]
    assert ["g1"] == [data["policyGeneration"] for data in found], reason
    if reason != "it moves":
        assert 1 == seen, "on the disk as the answer left"
    assert check(*folders).is_whole


async def test_the_end_of_the_process_does_not_wait_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelward_runtime.audit.running._STRAGGLERS_SECONDS", 0.1)
    call = await house.call()
    house.change(None)
    await house.log.close()
    house.gate.set()
    with pytest.raises(Unavailable):
        await call
    (chain,) = check(house.folder).chains
    assert chain.closed
    assert 1 == house.log._metrics.refused, "it is counted"


@pytest.mark.parametrize("durability", ["Buffered", "Synchronous"])
async def test_a_record_that_cannot_be_written_down_takes_no_other_along(tmp_path: Path, durability: str) -> None:
    """A lone surrogate in a subject, which UTF-8 has no bytes for."""
    journal = journal_in(tmp_path)
    journal.begin([])
    auditor = auditor_on(journal, durability=durability)
    withheld = 0
    for subject in ("alice", "bad\ud800", "bob", "carol"):
        entry = auditor.begin("rest")
        entry.subject = subject
        try:
            await auditor.settle(auditor.end(entry, "Allowed", 200, "", 1))
        except Unavailable:
            withheld += 1
    auditor.catch_up()
    await journal.close(5)
    found = records(tmp_path)
    assert ["alice", "bob", "carol"] == [r["data"]["subject"] for r in found if r["type"].endswith("prediction")]
    synchronous = durability == "Synchronous"
    told = {"answered": int(not synchronous), "refused": int(synchronous)}
    assert ([told], int(synchronous)) == ([r["data"] for r in found if r["type"].endswith("lost")], withheld)
    assert (0, 1) == (journal.reserved, journal._metrics.lost + journal._metrics.refused)
    assert check(tmp_path).is_whole


async def test_the_records_of_a_call_name_the_policy_whose_rules_it_was_held_to(tmp_path: Path) -> None:
    """The policy changes while the model runs."""
    house = House(tmp_path)
    await house.open()
    writer = Writer("pod_payloads", "b1")
    payloads = PayloadLog(writer, house.report, OutletMetrics("t", "t"))
    payloads.move(FileSink(tmp_path / "payloads", writer), 0.0, 4096)
    payloads._share = 1.0
    exchange = Exchange("tiny", "1", Metrics())
    plain = doubler()

    def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
        house.report.policy_generation = "g2"
        return plain.compute(inputs)

    exchange.serve(replace(plain, compute=compute), None)
    exchange.auditor, exchange.payloads = house.auditor, payloads
    assert 200 == (await Client(exchange).infer())[0]
    await payloads.close(5)
    await house.log.close()
    exchange.close()
    calls = [r["data"] for r in records(house.folder) if r["type"].endswith("prediction")]
    logged = [r["data"] for r in records(tmp_path / "payloads")]
    assert (["g1"], ["g1"], "g2") == (
        [data["policyGeneration"] for data in calls],
        [data["policyGeneration"] for data in logged],
        house.report.policy_generation,
    )
