"""The payload log: what is in it in each mode, how much of it, how often, and that it is never in the way."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelward_runtime.config import parse_policy
from modelward_runtime.errors import LoadError
from modelward_runtime.model import TensorSpec, face_of
from modelward_runtime.payloads import log as logs
from modelward_runtime.payloads import redact
from modelward_runtime.payloads.config import Logging
from modelward_runtime.payloads.log import PayloadLog
from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.scan import RECOGNISERS, find
from modelward_runtime.privacy.rules import OFF_LOOP_TEXT
from modelward_runtime.report import Report
from modelward_runtime.sinks.config import Stdout
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.sink import SinkFailed, Writer
from modelward_runtime.states import Cleared, Released
from tests.audit_logs import BOOT, files, records
from tests.runtime_models import echo
from tests.until import PATIENCE

FACE = face_of(echo(TensorSpec("n", "FP32", (-1,)), TensorSpec("t", "BYTES", (-1,))))
WRITER = Writer("pod_payloads", "b1")


def policy(mode: str = "Redacted", percent: int = 100) -> Logging:
    return Logging(mode=mode, sink=Stdout(), sample_percent=percent)  # type: ignore[arg-type]


def log_in(folder: Path, said: Logging, **more: Any) -> PayloadLog:
    made = PayloadLog(WRITER, Report(BOOT, "b", policy_generation="g1"), OutletMetrics("t", "t"), **more)
    made.adopt(said)
    made.move(FileSink(folder, WRITER), 0.0, 4096)
    return made


def put(
    log: PayloadLog,
    numbers: Sequence[float] = (1.0, 2.0),
    texts: Sequence[str] = ("a",),
    answers: Sequence[str] = (),
) -> None:
    given = {"n": np.array(numbers, np.float32), "t": np.array(texts, object)}
    got = {"out_n": given["n"]} | ({"out_t": np.array(answers, object)} if answers else {})
    log.log(FACE, Cleared(given, tuple(got)), Released(got), 0.25, log.policy_generation)


async def test_redacted_holds_the_tensors_and_metadata_only_their_shapes(tmp_path: Path) -> None:
    for mode in ("Redacted", "Metadata"):
        log = log_in(tmp_path / mode, policy(mode))
        put(log)
        await log.close(5)
    ((redacted,), (metadata,)) = (records(tmp_path / mode) for mode in ("Redacted", "Metadata"))
    assert ("1.0", "dev.modelward.payload", "g1") == (
        redacted["specversion"],
        redacted["type"],
        redacted["data"]["policyGeneration"],
    )
    assert [
        {"name": "n", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]},
        {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    ] == redacted["data"]["inputs"]
    assert [{"name": "out_n", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}] == redacted["data"]["outputs"]
    assert [{"name": "out_n", "datatype": "FP32", "shape": [2]}] == metadata["data"]["outputs"]
    assert '"data": [' not in json.dumps(metadata)


async def test_bf16_is_logged_as_numbers(tmp_path: Path) -> None:
    face = face_of(echo(TensorSpec("b", "BF16", (-1,))))
    log = log_in(tmp_path, policy())
    bits = {"b": np.array([0x3FC0, 0xFF80, 0x8000], np.uint16)}
    log.log(face, Cleared(bits, ("out_b",)), Released({"out_b": bits["b"]}), 0.25, log.policy_generation)
    await log.close(5)
    (record,) = records(tmp_path)
    assert [{"name": "b", "datatype": "BF16", "shape": [3], "data": [1.5, None, -0.0]}] == record["data"]["inputs"]


PERSONAL = {
    "write to jo.doe@example.com now": "write to [EMAIL] now",
    "pay 4111 1111 1111 1111": "pay [PAYMENT_CARD]",
    "from DE89 3704 0044 0532 0130 00": "from [IBAN]",
    "call +44 20 7946 0958": "call [PHONE]",
    "id 11010519491231002X": "id [CN_RESIDENT_ID]",
    "at 192.0.2.17": "at [IP_ADDRESS]",
    "Authorization: Bearer abcdefghijklmnop0123456789": "Authorization: [CREDENTIAL]",
}


async def test_redacted_masks_every_kind_of_personal_data_in_inputs_and_outputs(tmp_path: Path) -> None:
    """Whatever the policy's own rules let the model see: here there are none."""
    assert {*RECOGNISERS} == {kind for text in PERSONAL for kind in {match.kind for match in find([text], RECOGNISERS)}}
    log = log_in(tmp_path, policy())
    put(log, texts=list(PERSONAL), answers=list(PERSONAL))
    await log.close(5)
    (record,) = records(tmp_path)
    assert list(PERSONAL.values()) == record["data"]["inputs"][1]["data"]
    assert list(PERSONAL.values()) == record["data"]["outputs"][1]["data"]


@pytest.mark.parametrize(
    ("reason", "before"),
    [("found on the event loop", 1010), ("found on a thread", 1010 + OFF_LOOP_TEXT)],
)
async def test_personal_data_is_found_before_a_text_is_cut(tmp_path: Path, reason: str, before: int) -> None:
    """Cut first, the digits before the edge would be no card to anybody but a reader."""
    text = "x" * 1010 + " 4111 1111 1111 1111 " + "y" * (before - 1010)
    log = log_in(tmp_path, policy())
    put(log, texts=[text])
    await log.close(5)
    (record,) = records(tmp_path)
    assert ["x" * 1010 + " [PAYMENT_CAR"] == [element[:1023] for element in record["data"]["inputs"][1]["data"]], reason
    assert "4111" not in json.dumps(record)


async def test_long_texts_are_searched_beside_the_event_loop_and_only_so_many_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()
    threads: set[int] = set()
    search = scan.find

    def find_later(*given: Any) -> Any:
        threads.add(threading.get_ident())
        going.wait(PATIENCE)
        return search(*given)

    monkeypatch.setattr(scan, "find", find_later)
    log = log_in(tmp_path, policy())
    for _ in range(logs.MOST_SEARCHES + 2):
        put(log, texts=["z" * OFF_LOOP_TEXT])
    assert (logs.MOST_SEARCHES, 2) == (log.waiting, log._metrics.lost)
    await asyncio.sleep(0)
    going.set()
    await log.close(10)
    assert threading.get_ident() not in threads
    assert logs.MOST_SEARCHES == len(records(tmp_path))


async def test_what_would_take_long_to_search_is_not_logged(tmp_path: Path) -> None:
    log = log_in(tmp_path, policy())
    put(log, texts=["jo@example.com", "x" * redact.MOST_SEARCHED, "b"])
    await log.close(10)
    (record,) = records(tmp_path)
    tensor = record["data"]["inputs"][1]
    assert (["[EMAIL]"], [3], True) == (tensor["data"], tensor["shape"], tensor["truncated"])


async def test_a_record_is_bounded_and_says_that_it_was_cut(tmp_path: Path) -> None:
    log = log_in(tmp_path, policy())
    put(log, numbers=np.arange(1_000_000, dtype=np.float32).tolist(), texts=["x" * 1_000_000])
    put(log, texts=["y" * 5000])
    put(log, numbers=[float("nan"), float("inf"), 1.0])
    await log.close(5)
    first, second, third = sorted(records(tmp_path), key=lambda record: int(record["id"]))
    assert 4096 >= len(first["data"]["inputs"][0]["data"]) > 0
    assert first["data"]["inputs"][0]["truncated"]
    assert first["data"]["inputs"][0]["shape"] == [1_000_000]
    assert logs.MOST_BYTES + 4096 > max(
        len(line) for file in files(tmp_path) for line in file.read_bytes().splitlines()
    )
    assert (["y" * 1024], True) == (second["data"]["inputs"][1]["data"], second["data"]["inputs"][1]["truncated"])
    assert [None, None, 1.0] == third["data"]["inputs"][0]["data"]
    assert "truncated" not in third["data"]["inputs"][0]


@pytest.mark.parametrize(
    ("percent", "chance", "expected"), [(100, 0.999, 1), (0, 0.0, 0), (25, 0.249, 1), (25, 0.25, 0)]
)
async def test_a_sample_is_chance(tmp_path: Path, percent: int, chance: float, expected: int) -> None:
    log = log_in(tmp_path, policy(percent=percent), chance=lambda: chance)
    put(log)
    await log.close(5)
    assert expected == len(records(tmp_path))


async def test_what_finds_no_room_is_counted_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_WAITING", 3)

    class Full:
        def write(self, lines: Sequence[bytes], *, fresh: bool) -> None:
            raise SinkFailed("full")

        def close(self) -> None: ...

    log = log_in(tmp_path, policy())
    before = log.move(Full(), 0.0, 0)
    assert before
    await before.close(5)
    for _ in range(10):
        put(log)
    assert 7 == log._metrics.lost
    await log.close(0.1)
    assert 10 == log._metrics.lost, "what waited at the end is lost, too"


async def test_files_are_followed_by_the_next(tmp_path: Path) -> None:
    log = log_in(tmp_path, policy())
    for _ in range(40):
        put(log)
    await log.close(5)
    assert len(files(tmp_path)) > 2
    assert list(range(1, 41)) == [int(record["id"]) for record in records(tmp_path)]


POLICY = {"apiVersion": "runtime/v1", "kind": "Policy", "generation": "g"}
FILE = {"type": "File", "directory": "/audit", "maxFileBytes": 1048576}
S3 = {
    "type": "S3",
    "uri": "s3://audit/models/",
    "endpoint": "https://store:9000",
    "region": "eu",
    "caBundleFile": "/ca",
}
KEY = {"signingKeyFile": "/etc/modelward/audit/key.pem"}
GOOD: list[dict[str, Any]] = [
    {"audit": {"sink": {"type": "Stdout"}, **KEY}},
    {"audit": {"sink": FILE, **KEY, "required": True, "durability": "Synchronous", "checkpointRecords": 10,
               "checkpointSeconds": 5, "inputHashKeyFile": "/k", "retention": {"minDays": 180, "maxDays": 180}}},
    {"audit": {"sink": S3, **KEY},
     "logging": {"mode": "Metadata", "sink": S3, "samplePercent": 1, "retention": {"minDays": 0, "maxDays": 30}}},
    {"logging": {"mode": "Redacted", "sink": {"type": "Stdout"}}},
]  # fmt: skip
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("retention of stdout",
     {"logging": {"mode": "Metadata", "sink": {"type": "Stdout"}, "retention": {"minDays": 1, "maxDays": 2}}},
     "retention needs a sink"),
    ("crossing limits", {"audit": {"sink": FILE, **KEY, "retention": {"minDays": 3, "maxDays": 2}}}, "minDays 3 is more than maxDays 2"),
    ("required stdout", {"audit": {"sink": {"type": "Stdout"}, **KEY, "required": True}}, "need a sink of type File or S3"),
    ("synchronous stdout", {"audit": {"sink": {"type": "Stdout"}, **KEY, "durability": "Synchronous"}}, "need a sink of type File or S3"),
    ("no key", {"audit": {"sink": FILE}}, "signingKeyFile"),
    ("a mode of its own", {"logging": {"mode": "Everything", "sink": FILE}}, "$.logging.mode"),
    ("more than all", {"logging": {"mode": "Metadata", "sink": FILE, "samplePercent": 101}}, "$.logging.samplePercent"),
    ("a relative directory", {"audit": {"sink": {**FILE, "directory": "audit"}, **KEY}}, "$.audit.sink.directory"),
    ("an object, no prefix", {"audit": {"sink": {**S3, "uri": "s3://audit/models"}, **KEY}}, "$.audit.sink.uri"),
    ("an unknown field", {"audit": {"sink": FILE, **KEY, "level": 1}}, "level"),
    ("an unknown sink", {"audit": {"sink": {"type": "Kafka"}, **KEY}}, "Kafka"),
]  # fmt: skip


@pytest.mark.parametrize("sections", GOOD)
def test_sections_of_the_policy_are_read(sections: dict[str, Any]) -> None:
    parsed = parse_policy(json.dumps({**POLICY, **sections}).encode())
    assert {"audit", "logging"} & sections.keys() == {name for name in ("audit", "logging") if getattr(parsed, name)}


@pytest.mark.parametrize(("reason", "sections", "expected"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_sections_are_refused_with_their_path(reason: str, sections: dict[str, Any], expected: str) -> None:
    with pytest.raises(LoadError, match=r"policy\.json") as caught:
        parse_policy(json.dumps({**POLICY, **sections}).encode())
    assert expected in str(caught.value), reason
