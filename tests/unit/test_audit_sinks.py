"""Files as a sink: whole lines or none, whatever the disk does. Retention: what is old goes, nothing else ever does."""

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelward_runtime.access.config import Access, Authorization
from modelward_runtime.audit import journal as journals
from modelward_runtime.audit.reading import head_of
from modelward_runtime.log import timestamp
from modelward_runtime.serving import new_writer
from modelward_runtime.sinks.clock import DAY, HOUR, SteadyClock
from modelward_runtime.sinks.config import Retention
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.keeping import Keeper
from modelward_runtime.sinks.lines import time_of
from modelward_runtime.sinks.sink import Piece, SinkFailed, Writer, model_id, new_boot, pod_name
from modelward_runtime.sinks.stdout import StdoutSink
from tests.audit_logs import BOOT, check, files, journal_in, kinds, prediction, records, write_log

WRITER = Writer("pod", "b1")
NOW = 1_800_000_000.0


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may be longer than 4 KiB, as on a full disk: a write stops half way and then fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def line(number: int) -> bytes:
    return b"%0499d\n" % number


@pytest.mark.parametrize(
    "line",
    [
        b'{"time":"x","a":' + b"[" * 200_000,
        b"\xff",
        b'{"time":"\xff"}',
        b'{"time":5}',
        b'{"time":"2026-13-01T00:00:00Z"}',
        b'{"time":"9999-12-31T23:59:59+99:99"}',
        b"[]",
    ],
)
def test_a_line_that_a_neighbour_on_the_volume_planted_has_no_time(line: bytes) -> None:
    """Retention looks at every file of the directory, which several models may share."""
    assert 0.0 == time_of(line)


def test_what_is_no_file_on_a_shared_volume_stops_nobody(tmp_path: Path) -> None:
    """Neither the start, which looks for the ends of other logs, nor retention waits for a pipe, or falls over a link to nothing."""
    boot = new_boot(0, model_id("risk", "m"))
    os.mkfifo(tmp_path / f"other.{boot}.000001.jsonl")
    (tmp_path / f"other.{boot}.000002.jsonl").symlink_to("nothing")
    (tmp_path / f"other.{boot}.000003.jsonl").mkdir()
    (tmp_path / f"other.{boot}.000004.jsonl").write_bytes(line(0))
    sink = FileSink(tmp_path, Writer("pod", new_boot(1, model_id("risk", "m"))))
    assert [line(0).rstrip()] == sink.heads()
    (piece,) = sink.pieces(float("inf"))
    assert line(0).rstrip() == sink.tail(piece)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_whole_lines_and_the_batch_can_be_tried_again(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, WRITER)
    sink.write([line(0), line(1)], fresh=False)
    batch = [line(number) for number in range(2, 10)]
    for _ in range(3):
        with pytest.raises(SinkFailed, match="File too large"):
            sink.write(batch, fresh=False)
        assert line(0) + line(1) == (tmp_path / "pod.b1.000001.jsonl").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    sink.write(batch, fresh=False)
    assert b"".join([line(0), line(1), *batch]) == (tmp_path / "pod.b1.000001.jsonl").read_bytes()


@pytest.mark.usefixtures("small_disk")
def test_a_file_that_could_not_be_begun_is_not_there(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, WRITER)
    sink.write([line(0)], fresh=False)
    with pytest.raises(SinkFailed):
        sink.write([line(number) for number in range(9)], fresh=True)
    assert ["pod.b1.000001.jsonl"] == [file.name for file in tmp_path.iterdir()]
    sink.write([line(1)], fresh=True)
    assert line(1) == (tmp_path / "pod.b1.000002.jsonl").read_bytes()


def fill(sink: FileSink, *, pieces: int = 0) -> tuple[int, str]:
    """Write until it is refused: how many lines of 500 bytes were taken, and why no more. `pieces`: lines of a file."""
    for number in range(10_000):
        try:
            sink.write([line(number)], fresh=bool(pieces and number % pieces == 0))
        except SinkFailed as error:
            return number, str(error)
    raise AssertionError("it never ended")


def taken(folder: Path) -> int:
    """What the kubelet measures: the blocks of the files."""
    return sum(file.stat().st_blocks * 512 for file in folder.iterdir())


LIMIT = 1 << 20


@pytest.mark.parametrize(("reason", "pieces"), [("one file", 0), ("small files, whose blocks count", 3)])
def test_a_folder_with_a_limit_is_full_before_somebody_deletes_it(tmp_path: Path, reason: str, pieces: int) -> None:
    sink = FileSink(tmp_path, WRITER, limit=LIMIT)
    count, why = fill(sink, pieces=pieces)
    assert 0.8 * LIMIT < taken(tmp_path) <= 0.9 * LIMIT, reason
    assert f"{tmp_path}: " in why
    assert f"at {LIMIT} (sizeLimit) all would be deleted, with the pod" in why
    assert (0, why) == fill(sink), "the batch can be tried again"
    kept = b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))
    assert b"".join(map(line, range(count))) == kept


def test_what_lies_there_counts_and_what_is_taken_away_makes_room(tmp_path: Path) -> None:
    count, _ = fill(FileSink(tmp_path, WRITER, limit=LIMIT), pieces=500)
    sink = FileSink(tmp_path, Writer("pod", "b2"), limit=LIMIT)
    assert 0 == fill(sink)[0], "the process was started anew in the same folder"
    (tmp_path / "pod.b1.000001.jsonl").unlink()
    again, _ = fill(sink)
    assert 480 < again < 520 < count
    assert taken(tmp_path) <= 0.9 * LIMIT


def test_two_sinks_of_one_writer_never_share_a_file(tmp_path: Path) -> None:
    first, second = FileSink(tmp_path, WRITER), FileSink(tmp_path, WRITER)
    first.write([line(0)], fresh=False)
    second.write([line(1)], fresh=False)
    first.write([line(2)], fresh=True)
    assert [line(0), line(1), line(2)] == [file.read_bytes() for file in sorted(tmp_path.iterdir())]


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkFailed, match=f"{tmp_path / 'file'}"):
        FileSink(tmp_path / "file", WRITER)


def test_a_torn_end_is_left_alone_and_its_last_whole_line_is_the_head(tmp_path: Path) -> None:
    (tmp_path / "pod.b0.000001.jsonl").write_bytes(line(7) + b'{"specver')
    assert [line(7)[:-1]] == FileSink(tmp_path, WRITER).heads()


async def test_of_many_chains_the_latest_are_named_whatever_their_pods_are_called(tmp_path: Path) -> None:
    for number in range(journals.MOST_FOUND + 1):
        await write_log(tmp_path, "20251001T000000Z-a", pod=f"z{number:03}", count=0, is_closed=False)
    await write_log(tmp_path, "20261125T220000Z-a", pod="aaa", count=0)
    sources = [head.source for line in FileSink(tmp_path, WRITER).heads() if (head := head_of(line))]
    assert "/pods/aaa/boots/20261125T220000Z-a" == sources[-1]
    journal = journal_in(tmp_path, "20261126T000000Z-a", pod="bbb")
    journal.begin([head for line in FileSink(tmp_path, WRITER).heads() if (head := head_of(line))])
    await journal.close(5)
    found = records(tmp_path / "bbb.20261126T000000Z-a.000001.jsonl")[0]["data"]["found"]
    assert (journals.MOST_FOUND, sources[-1]) == (len(found), found[-1]["source"])


def test_standard_output_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as target:
        sink = StdoutSink(target.fileno())
        sink.write([b"a\n", b"b\n"], fresh=True)
    with pytest.raises(SinkFailed, match="Bad file descriptor"):
        sink.write([b"c\n"], fresh=False)
    assert b"a\nb\n" == (tmp_path / "out").read_bytes()


@pytest.mark.parametrize(
    ("host", "expected"), [("fraud-7d4.ns", "fraud-7d4-ns"), ("", "unknown"), ("x" * 300, "x" * 128), ("a/b", "a-b")]
)
def test_a_pods_name_is_part_of_a_files_name(host: str, expected: str) -> None:
    assert expected == pod_name(host)


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Clocks:
    """A wall clock and one that does not jump."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 1000.0
        self.made = SteadyClock(lambda: self.wall, lambda: self.steady)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_in_the_first_hour_the_newest_record_of_others_bounds_the_clock() -> None:
    clocks = Clocks()
    assert NOW - 7 == clocks.made.now(NOW - 7)
    assert 0 == clocks.made.now(0), "nothing is known, so nothing is old"
    assert NOW == clocks.made.now(NOW + 1e9), "records of a clock that ran ahead make nothing older"
    clocks.pass_by(HOUR)
    assert NOW + HOUR == clocks.made.now(0)


def test_a_jump_forward_counts_when_it_has_lasted_a_day() -> None:
    clocks = Clocks()
    clocks.made.now(0)
    clocks.wall += 4 * 365 * DAY
    for _ in range(24):
        clocks.pass_by(HOUR)
        assert clocks.made.now(0) <= NOW + DAY + HOUR
    clocks.pass_by(2 * HOUR)
    assert clocks.made.now(0) > NOW + 4 * 365 * DAY


def test_a_jump_back_counts_at_once() -> None:
    clocks = Clocks()
    clocks.pass_by(2 * HOUR)
    clocks.made.now(0)
    clocks.wall -= 30 * DAY
    assert clocks.wall == clocks.made.now(0)


def test_a_stores_clock_bounds_ours() -> None:
    clocks = Clocks()
    clocks.pass_by(2 * HOUR)
    assert NOW - DAY == clocks.made.now(0, NOW - DAY)
    assert clocks.wall == clocks.made.now(0, NOW + DAY)


# ── retention ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def always(_pieces: list[Piece], _last: bytes) -> bool:
    return True


def keeper(folder: Path, now: float, *, least: int = 10, most: int = 20) -> Keeper:
    clocks = Clocks()
    clocks.wall = now - 2 * HOUR
    clocks.pass_by(2 * HOUR)
    return Keeper(FileSink(folder, WRITER), Retention(min_days=least, max_days=most), always, clocks.made)


def put(
    folder: Path, number: int, *, days: float, until: float | None = None, boot: str = "b0", pod: str = "pod"
) -> Path:
    """A file whose records were made from so many days ago to so many days ago."""
    path = folder / f"{pod}.{boot}.{number:06}.jsonl"
    ends = days if until is None else until
    stamps = [NOW - days * DAY, NOW - ends * DAY]
    path.write_text("".join(json.dumps({"time": timestamp(stamp)}) + "\n" for stamp in stamps))
    os.utime(path, (stamps[1], stamps[1]))
    return path


AGES = [
    ("older than both", 30, 30, False),
    ("just older than maxDays", 20.1, 20.05, False),
    ("older than minDays only", 15, 15, True),
    ("begun before maxDays, ended after minDays", 21, 9, True),
    ("begun before maxDays, ended before minDays", 21, 11, False),
    ("young", 1, 1, True),
]


@pytest.mark.parametrize(("reason", "days", "until", "stays"), AGES, ids=[row[0] for row in AGES])
async def test_what_is_older_than_max_goes_and_what_is_younger_than_min_stays(
    tmp_path: Path, reason: str, days: float, until: float, stays: bool
) -> None:
    path = put(tmp_path, 1, days=days, until=until)
    await keeper(tmp_path, NOW).look()
    assert stays == path.exists(), reason


async def test_pieces_go_in_their_order_so_that_no_hole_is_left(tmp_path: Path) -> None:
    files = [
        put(tmp_path, 1, days=30),
        put(tmp_path, 2, days=21, until=5),
        put(tmp_path, 3, days=30),
        put(tmp_path, 4, days=1),
    ]
    assert 1 == await keeper(tmp_path, NOW).look()
    assert [False, True, True, True] == [file.exists() for file in files]


async def test_a_clock_that_ran_behind_makes_nothing_old(tmp_path: Path) -> None:
    """File 2 was written while the clock said 1970, between files of today."""
    put(tmp_path, 1, days=2)
    wrong = put(tmp_path, 2, days=NOW / DAY)
    put(tmp_path, 3, days=2)
    assert 0 == await keeper(tmp_path, NOW).look()
    first = put(tmp_path, 1, days=NOW / DAY, boot="b1x")
    put(tmp_path, 2, days=2, boot="b1x")
    assert 0 == await keeper(tmp_path, NOW).look()
    assert wrong.exists()
    assert first.exists(), "the file after it began two days ago, so it did not end before"


async def test_a_node_that_boots_in_the_wrong_year_deletes_nothing(tmp_path: Path) -> None:
    path = put(tmp_path, 1, days=1)
    clocks = Clocks()
    clocks.wall = NOW + 10 * 365 * DAY
    mad = Keeper(FileSink(tmp_path, WRITER), Retention(min_days=10, max_days=20), always, clocks.made)
    assert 0 == await mad.look()
    clocks.pass_by(HOUR / 2)
    clocks.wall = NOW + HOUR  # the time service has corrected it
    clocks.steady += HOUR
    assert 0 == await mad.look()
    assert path.exists()


async def test_the_file_that_is_written_to_stays_and_a_full_disk_deletes_nothing(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, WRITER)
    sink.write([b'{"time":"1999-01-01T00:00:00Z"}\n'], fresh=False)
    own = tmp_path / "pod.b1.000001.jsonl"
    os.utime(own, (NOW - 99 * DAY, NOW - 99 * DAY))
    young = put(tmp_path, 1, days=11)
    clocks = Clocks()
    clocks.pass_by(2 * HOUR)
    assert 0 == await Keeper(sink, Retention(min_days=10, max_days=20), always, clocks.made).look()
    assert (True, True) == (own.exists(), young.exists())


async def test_a_payload_logs_retention_is_its_own(tmp_path: Path) -> None:
    audit, payload = put(tmp_path, 1, days=30), put(tmp_path, 1, days=30, pod="pod_payloads")
    clocks = Clocks()
    clocks.pass_by(2 * HOUR)
    sink = FileSink(tmp_path, Writer("pod_payloads", "b1"))
    assert 1 == await Keeper(sink, Retention(min_days=0, max_days=1), always, clocks.made).look()
    assert (True, False) == (audit.exists(), payload.exists())
    payload = put(tmp_path, 1, days=30, pod="pod_payloads")
    assert 1 == await keeper(tmp_path, NOW).look()
    assert (False, True) == (audit.exists(), payload.exists())


async def test_a_models_retention_is_its_own(tmp_path: Path) -> None:
    """Two models share a directory: one keeps for a year what the other would delete after a day."""
    boots = {name: new_boot(NOW - 30 * DAY, model_id("risk", name)) for name in ("fraud", "churn")}
    other, own = (put(tmp_path, 1, days=30, boot=boots[name]) for name in ("fraud", "churn"))
    clocks = Clocks()
    clocks.pass_by(2 * HOUR)
    sink = FileSink(tmp_path, Writer("pod", new_boot(NOW, model_id("risk", "churn"))))
    assert 1 == await Keeper(sink, Retention(min_days=0, max_days=1), always, clocks.made).look()
    assert (True, False) == (other.exists(), own.exists())


def test_starts_within_one_second_sort_by_time() -> None:
    boots = [new_boot(NOW + number / 1000, model_id("risk", "fraud")) for number in range(0, 1000, 7)]
    assert boots == sorted(boots)


@pytest.mark.parametrize(
    ("reason", "access", "namespace", "model"),
    [
        (
            "by the ModelDeployment",
            Access(authorization=Authorization(namespace="risk", name="fraud")),
            "elsewhere",
            ("risk", "fraud"),
        ),
        ("without one by the model", Access(), "risk", ("risk", "tiny")),
        ("on a laptop", None, "", ("", "tiny")),
    ],
)
def test_a_start_tells_its_model(
    monkeypatch: pytest.MonkeyPatch, reason: str, access: Access | None, namespace: str, model: tuple[str, str]
) -> None:
    monkeypatch.setenv("POD_NAMESPACE", namespace)
    made = new_writer(msgspec.structs.replace(BOOT, access=access))
    assert made.is_own(new_boot(0, model_id(*model))), reason
    assert not made.is_own(new_boot(0, model_id("other", model[1]))), reason
    assert not made.is_own(new_boot(0)), reason


async def test_what_is_not_noted_is_not_deleted(tmp_path: Path) -> None:
    async def never(_pieces: list[Piece], _last: bytes) -> bool:
        return False

    path = put(tmp_path, 1, days=30)
    made = keeper(tmp_path, NOW)
    made._note = never
    assert 0 == await made.look()
    assert path.exists()


async def test_a_log_is_whole_after_retention_and_not_after_a_hand(tmp_path: Path) -> None:
    await write_log(tmp_path, "b0", count=40, longest=4096)
    await write_log(tmp_path, "b00", count=5)
    first = [file for file in files(tmp_path) if file.name.startswith("pod.b0.")]
    journal = journal_in(tmp_path, "b1")
    journal.begin([head for line in FileSink(tmp_path, WRITER).heads() if (head := head_of(line))])
    gone = [Piece(file.name, "pod.b0", NOW, NOW) for file in first[:2]]
    assert await journal.expire(gone, first[1].read_bytes().splitlines()[-1])
    for file in first[:2]:
        file.unlink()
    journal.record("prediction", prediction())
    await journal.close(5)
    assert "expired" in kinds(records(tmp_path))
    verdict = check(tmp_path)
    assert verdict.is_whole, verdict.findings
    first[2].unlink()
    assert "the records before" in check(tmp_path).findings[0].message
    (tmp_path / "pod.b00.000001.jsonl").unlink()
    assert 2 == len(check(tmp_path).findings)
