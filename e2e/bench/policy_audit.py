"""Rows of the suite policy about the audit log: what a call pays for its record. Needs no cluster; `policy.py` asks for them.

Buffered       begin ▶ end ▶ settle of one call on the event loop's thread, into a real file, while the outlet's thread writes; beside it
               all processor time of the process, that thread's included
Synchronous    the same, awaited until the record is on the disk: one caller after the other, and 64 at once (they share an fsync)
verification   a log of 100,000 records, from its files
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelward_runtime.audit.auditor import Auditor
from modelward_runtime.audit.config import Audit
from modelward_runtime.audit.entry import Entry, audited
from modelward_runtime.audit.journal import Journal, Terms
from modelward_runtime.audit.keys import SigningKey, fingerprint
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.report import Report
from modelward_runtime.sinks.config import File
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.opening import PROMPT_SECONDS
from modelward_runtime.sinks.sink import Writer

BAR_BUFFERED = 20e-6  # seconds a call, p50
BAR_VERIFY = 10.0  # seconds for 100,000 records
RECORDS = 100_000
_CHUNK = 500  # calls between two looks at the clock, and a pause in which the loop hears of what was written
_TOGETHER = 64


@dataclass(frozen=True)
class Row:
    """One figure: seconds, a call or altogether; whether it holds its bar, None where there is none."""

    name: str
    p50: float
    p99: float
    note: str
    is_held: bool | None = None


def rows() -> list[Row]:
    """All rows, measured now."""
    with tempfile.TemporaryDirectory(prefix="modelward-bench-") as home:
        folder = Path(home)
        key = Ed25519PrivateKey.generate()
        public = folder / "key.pub.pem"
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        signing = SigningKey(key, fingerprint(key.public_key()))
        measured = asyncio.run(_buffered(folder / "buffered", signing))
        measured += asyncio.run(_synchronous(folder / "synchronous", signing))
        return [*measured, _verified(folder / "buffered", public)]


def section(folder: Path, durability: Literal["Buffered", "Synchronous"]) -> dict[str, Any]:
    """The section `audit` of a policy.json whose key and log lie in this folder: for whole calls, side by side with a server without."""
    folder.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return {
        "sink": {"type": "File", "directory": str(folder / "log"), "maxFileBytes": 64 << 20},
        "signingKeyFile": str(folder / "key.pem"),
        "required": True,
        "durability": durability,
    }


async def _buffered(folder: Path, key: SigningKey) -> list[Row]:
    auditor, journal = _open(folder, key, synchronous=False)
    await _answer_many(auditor, 2000)
    cpu, began = time.process_time(), time.perf_counter()
    calls: list[float] = []
    bare: list[float] = []
    for _ in range(RECORDS // _CHUNK):
        calls += await _answer_many(auditor, _CHUNK)
        bare += await _answer_many(None, _CHUNK)
        while journal.waiting > 4 * _CHUNK:  # noqa: ASYNC110  as calls would: they have pauses
            await asyncio.sleep(0.01)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - began
    lost = journal.report()["failure"]
    await journal.close(30)
    p50 = _percentile(calls, 50) - _percentile(bare, 50)
    return [
        Row("audit Buffered, a call", p50, _percentile(calls, 99), f"{RECORDS} calls {lost}", p50 <= BAR_BUFFERED),
        Row(
            "audit Buffered, processor",
            cpu / RECORDS,
            cpu / RECORDS,
            f"record and threads included; {wall:.1f} s in all",
        ),
    ]


async def _synchronous(folder: Path, key: SigningKey) -> list[Row]:
    auditor, journal = _open(folder, key, synchronous=True)
    alone = await _answer_many(auditor, 500)
    began = time.perf_counter()
    batches = [await asyncio.gather(*(_answer_many(auditor, 1) for _ in range(_TOGETHER))) for _ in range(50)]
    rate = 50 * _TOGETHER / (time.perf_counter() - began)
    together = [seconds for batch in batches for times in batch for seconds in times]
    await journal.close(30)
    return [
        Row("audit Synchronous, one caller", _percentile(alone, 50), _percentile(alone, 99), "fdatasync each"),
        Row(
            f"audit Synchronous, {_TOGETHER} callers",
            _percentile(together, 50),
            _percentile(together, 99),
            f"{rate:.0f} calls/s, they share it",
        ),
    ]


def _verified(folder: Path, public: Path) -> Row:
    command = [str(Path(sys.executable).with_name("modelward")), "audit", "verify", str(folder), "--trust", str(public)]
    began = time.perf_counter()
    told = subprocess.run([*command, "--json"], capture_output=True, check=True)
    seconds = time.perf_counter() - began
    records = json.loads(told.stdout)["records"]
    size = sum(file.stat().st_size for file in folder.iterdir())
    note = f"{records} records, {size / 1e6:.0f} MB, start of the command included"
    return Row("audit verify", seconds, seconds, note, seconds <= BAR_VERIFY and records >= RECORDS)


def _open(folder: Path, key: SigningKey, *, synchronous: bool) -> tuple[Auditor, Journal]:
    writer = Writer("bench", "20260101T000000Z-0")
    boot = Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(name="m", version="1", uri="s3://b/m.onnx"))
    report = Report(boot, "b", digest="sha256:" + "0" * 64, policy_generation="000000000001")
    sink = FileSink(folder, writer)
    linger = 0.0 if synchronous else PROMPT_SECONDS
    journal = Journal(writer, Terms(key, sink, linger, 64 << 20, 1000, 60), OutletMetrics("bench", "bench"))
    journal.begin([])
    auditor = Auditor(report)
    durability: Literal["Buffered", "Synchronous"] = "Synchronous" if synchronous else "Buffered"
    auditor.adopt(
        Audit(sink=File(directory=str(folder)), signing_key_file="-", required=True, durability=durability), b""
    )
    auditor.opened(journal)
    return auditor, journal


async def _answer_many(auditor: Auditor | None, count: int) -> list[float]:
    """So many calls, one after the other: seconds of each."""
    clock = time.perf_counter
    found = []
    for _ in range(count):
        began = clock()
        await audited(auditor, "rest", _work, len)
        found.append(clock() - began)
    await asyncio.sleep(0)
    return found


async def _work(entry: Entry | None) -> bytes:
    if entry is not None:
        entry.subject, entry.request_bytes = "system:serviceaccount:shop:checkout", 88
    return b"answer"


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> int:
    """The rows as a table; 1 when a bar is missed."""
    measured = rows()
    for row in measured:
        held = {None: "", True: "held", False: "MISSED"}[row.is_held]
        print(f"{row.name:32} p50 {row.p50 * 1e6:12.1f} µs  p99 {row.p99 * 1e6:12.1f} µs  {held:7} {row.note}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 1 if any(row.is_held is False for row in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
