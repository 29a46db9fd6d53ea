"""What the admin port answers in each state, the report, the live policy and the log's schema."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime import admin
from modelward_runtime.config import Boot, ModelSource, Policy
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.exits import write_termination_log
from modelward_runtime.log import JsonFormatter, PlainFormatter, timestamp
from modelward_runtime.policy import PolicyFile
from modelward_runtime.report import Report, State
from tests.until import PATIENCE, until
from tests.wire import ask

BOOT = Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(name="m", version="7", uri="s3://b/m.onnx"))
REFUSED = LoadError(LoadReason.SOURCE_UNREACHABLE, "connection refused", "fetch", permanent=False)


class Clock:
    """Seconds that pass when told."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(clock: Clock) -> Report:
    return Report(BOOT, "0123456789ab", wall=clock, clock=clock)


PROBES = [
    (State.FETCHING, 503, 503),
    (State.VERIFYING, 503, 503),
    (State.LOADING, 503, 503),
    (State.WARMING_UP, 503, 503),
    (State.READY, 200, 200),
    (State.DRAINING, 200, 503),
    (State.FAILED, 503, 503),
]


@pytest.mark.parametrize(("state", "startup", "ready"), PROBES)
def test_probes_follow_the_state(report: Report, state: State, startup: int, ready: int) -> None:
    report.enter(state)
    app = admin.App(report, bytes)
    answers = [app.answer("GET", path)[0] for path in ("/livez", "/startupz", "/readyz")]
    assert [200, startup, ready] == answers


def test_a_ready_process_that_cannot_record_what_must_be_recorded_is_not_ready(report: Report) -> None:
    report.enter(State.READY)
    report.obstacle = lambda: "the audit log is full"
    app = admin.App(report, bytes)
    assert (503, b"the audit log is full\n") == (app.answer("GET", "/readyz")[0], app.answer("GET", "/readyz")[2])
    assert [200, 200] == [app.answer("GET", path)[0] for path in ("/livez", "/startupz")], (
        "it must not be restarted for it"
    )


async def test_a_scrape_does_not_wait_for_imports_beside_a_load(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until they are done it hears that nothing is served; once the model serves it waits for the whole."""
    imported = threading.Event()
    monkeypatch.setattr(admin, "_import_exposition", lambda: imported.wait(PATIENCE))
    app = admin.App(report, lambda: b"everything")
    assert (await ask(app, "GET", "/metrics"))[2].endswith(b"modelward_ready 0.0\n")
    assert (await ask(app, "POST", "/metrics"))[0] == 405
    report.enter(State.READY)
    waiting = asyncio.ensure_future(ask(app, "GET", "/metrics"))
    await asyncio.sleep(0)
    assert not waiting.done()
    imported.set()
    assert (await waiting)[2] == b"everything"


def test_an_unready_probe_says_why(report: Report) -> None:
    app = admin.App(report, bytes)
    assert app.answer("GET", "/readyz")[2] == b"Fetching\n"
    report.fail(REFUSED)
    assert app.answer("GET", "/readyz")[2] == b"Fetching: SourceUnreachable: connection refused\n"


async def test_a_head_request_has_no_body(report: Report) -> None:
    status, headers, body = await ask(admin.App(report, bytes), "HEAD", "/livez")
    assert (200, "6", b"") == (status, headers["content-length"], body)


def test_report_before_anything_is_known(report: Report) -> None:
    told = json.loads(report.to_json())
    assert told == {
        "apiVersion": "runtime/v1",
        "kind": "Report",
        "boot": "0123456789ab",
        "state": "Fetching",
        "model": {"name": "m", "version": "7", "uri": "s3://b/m.onnx", "verified": False},
        "executionProvider": "",
        "policyGeneration": "",
        "policyDigest": "",
        "policyFailure": None,
        "access": {"authentication": "None", "tls": None},
        "startedAt": "1970-01-01T00:16:40.000Z",
        "stageSeconds": {},
        "failure": None,
        "audit": None,
    }


def test_stages_are_timed_and_a_failure_is_gone_once_ready(report: Report, clock: Clock) -> None:
    for state, seconds in [(State.VERIFYING, 2.0), (State.LOADING, 0.5), (State.WARMING_UP, 3.0), (State.READY, 0.25)]:
        clock.now += seconds
        report.enter(state)
        if state is State.LOADING:
            report.fail(REFUSED)
            assert report.failure is not None
    assert {"fetch": 2.0, "verify": 0.5, "load": 3.0, "warmUp": 0.25} == report.stage_seconds
    assert report.failure is None


def test_a_long_message_is_cut_so_that_the_kubelet_keeps_it_whole(report: Report, tmp_path: Path) -> None:
    report.fail(LoadError(LoadReason.INVALID_MODEL, "é" * 10_000, "load", permanent=True))
    file = tmp_path / "termination-log"
    file.touch()
    write_termination_log(file, report.failure or {}, "s3://b/m.onnx")
    content = file.read_bytes()
    assert len(content) <= 4096
    assert json.loads(content)["reason"] == "InvalidModel"


def test_the_termination_log_is_never_created(tmp_path: Path) -> None:
    write_termination_log(tmp_path / "termination-log", {}, "")
    assert list(tmp_path.iterdir()) == []


def policy(generation: str, **more: Any) -> str:
    return json.dumps({"apiVersion": "runtime/v1", "kind": "Policy", "generation": generation, **more})


def test_policy_follows_the_symlink_swap_of_a_mounted_config_map(report: Report, tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "policy.json").write_text(policy(f"generation-{number}"))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "policy.json").symlink_to("..data/policy.json")
    file = PolicyFile(tmp_path / "policy.json", report)
    assert report.policy_generation == "generation-1"
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "..data")
    file.refresh()
    assert file.policy
    assert (report.policy_generation, file.policy.generation) == ("generation-2", "generation-2")


@pytest.mark.parametrize(
    ("reason", "content", "text"),
    [
        ("unknown field", policy("2", redact=[]), "unknown field `redact`"),
        ("no JSON", "{", "truncated"),
        ("empty", "", "truncated"),
        ("gone", None, "No such file"),
    ],
)
def test_a_bad_policy_is_reported_and_the_last_good_one_holds(
    report: Report, tmp_path: Path, caplog: pytest.LogCaptureFixture, reason: str, content: str | None, text: str
) -> None:
    path = tmp_path / "policy.json"
    path.write_text(policy("1"))
    file = PolicyFile(path, report)
    path.unlink() if content is None else path.write_text(content)
    for _ in range(3):
        file.refresh()
    assert file.policy
    assert (report.policy_generation, file.policy.generation) == ("1", "1"), reason
    assert text in report.policy_failure
    complaints = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(complaints) == 1, "said once, not every second"
    path.write_text(policy("3"))
    file.refresh()
    assert (report.policy_generation, report.policy_failure) == ("3", "")


async def test_a_flaw_of_ours_does_not_end_the_watch(
    report: Report, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.json"
    path.write_text(policy("1"))
    file = PolicyFile(path, report)

    def adopt(wanted: Policy) -> None:
        """Read a key, as the rules and the audit do."""
        if wanted.privacy and wanted.privacy.input.hash_key_file:
            Path(wanted.privacy.input.hash_key_file).read_bytes()

    def write(content: str) -> None:
        (tmp_path / "policy.new").write_text(content)
        (tmp_path / "policy.new").rename(path)

    await file.enforce(adopt)
    watch = asyncio.create_task(file.watch(every=0.005))
    write(policy("2", privacy={"policy": "p", "policyGeneration": 1, "input": {"hashKeyFile": "/a\0b"}}))
    await until(lambda: report.policy_failure)
    await asyncio.sleep(0.05)  # it is looked at again a few times, and nothing more is said
    assert not watch.done()
    assert file.policy is not None
    assert (report.policy_generation, file.policy.generation) == ("1", "1")
    assert "policy.json: the policy cannot be judged (ValueError" in report.policy_failure
    assert 1 == caplog.text.count("embedded null byte"), "said once, with its trace"
    write(policy("3"))
    await until(lambda: report.policy_generation == "3")
    assert (report.policy_generation, report.policy_failure) == ("3", "")
    watch.cancel()


def put(path: Path, content: str) -> None:
    """Replace the file as a whole, as a mounted ConfigMap is: nobody reads half of it."""
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").rename(path)


SLOW = {"privacy": {"policy": "p", "policyGeneration": 1}}


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What a policy needs is not ready before the event is set, and that is told at once."""
    ready = threading.Event()

    def prepare(_: Policy) -> None:
        ready.wait(2 * PATIENCE)

    monkeypatch.setattr("modelward_runtime.policy.prepare", prepare)
    monkeypatch.setattr("modelward_runtime.policy.PREPARING", 0.02)
    yield ready
    ready.set()


async def test_while_what_a_policy_needs_is_not_ready_the_last_good_one_holds_and_that_is_told(
    report: Report, tmp_path: Path, caplog: pytest.LogCaptureFixture, hanging: threading.Event
) -> None:
    path = tmp_path / "policy.json"
    path.write_text(policy("1"))
    file = PolicyFile(path, report)
    await file.enforce(lambda _: None, every=0.01)
    watch = asyncio.create_task(file.watch(every=0.01))
    put(path, policy("2", **SLOW))
    await until(lambda: bool(report.policy_failure))
    assert "policy.json: what the policy needs is not ready" in report.policy_failure
    await asyncio.sleep(0.1)
    assert ("1", 1) == (report.policy_generation, caplog.text.count("the last good one holds")), "said once"
    put(path, policy("3"))  # which needs nothing, and does not wait
    await until(lambda: (report.policy_generation, report.policy_failure) == ("3", ""))
    put(path, policy("4", **SLOW))
    await until(lambda: bool(report.policy_failure))
    hanging.set()
    await until(lambda: (report.policy_generation, report.policy_failure) == ("4", ""))
    watch.cancel()


async def test_at_the_start_nothing_serves_before_what_the_policy_needs_is_ready(
    report: Report, tmp_path: Path, hanging: threading.Event
) -> None:
    (tmp_path / "policy.json").write_text(policy("1", **SLOW))
    file = PolicyFile(tmp_path / "policy.json", report)
    enforced = asyncio.ensure_future(file.enforce(lambda _: None, every=0.01))
    await until(lambda: report.failure is not None)
    failure = report.failure or {}
    assert ("PolicyUnsatisfiable", False) == (failure["reason"], failure["permanent"])
    assert "is not ready after" in failure["message"]
    assert ("", False) == (report.policy_generation, enforced.done())
    hanging.set()
    await asyncio.wait_for(enforced, PATIENCE)
    assert (None, "", "1") == (report.failure, report.policy_failure, report.policy_generation)


@pytest.mark.parametrize("content", [None, "", "{}", policy("")])
async def test_without_a_good_policy_at_the_start_a_usable_one_is_waited_for(
    report: Report, tmp_path: Path, content: str | None
) -> None:
    """The file is live: the next one may be right, and a process that has ended would not see it."""
    if content is not None:
        (tmp_path / "policy.json").write_text(content)
    file = PolicyFile(tmp_path / "policy.json", report)
    enforced = asyncio.ensure_future(file.enforce(lambda _: None, every=0.01))
    await until(lambda: report.failure)
    failure = report.failure or {}
    assert ("PolicyUnsatisfiable", False) == (failure["reason"], failure["permanent"])
    assert "policy.json: " in failure["message"]
    assert (None, "", False) == (file.policy, report.policy_generation, enforced.done())
    (tmp_path / "policy.json").write_text(policy("2"))
    await asyncio.wait_for(enforced, PATIENCE)
    assert (None, "", "2") == (report.failure, report.policy_failure, report.policy_generation)


def record(**extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "a.b", "levelno": 30, "levelname": "WARNING", "msg": "it %s", "args": ("is",)}
    )
    vars(made).update(created=0.5, **extra)
    return made


def test_a_log_line_is_one_json_object_of_the_documented_schema() -> None:
    line = JsonFormatter().format(record(seconds=1.5, path=Path("/x")))
    expected = {"time": "1970-01-01T00:00:00.500Z", "level": "warning", "logger": "a.b", "message": "it is"}
    assert {**expected, "seconds": 1.5, "path": "/x"} == json.loads(line)
    assert "\n" not in JsonFormatter().format(record(text="a\nb"))


def test_a_log_line_for_a_person() -> None:
    assert PlainFormatter().format(record(seconds=1.5)).endswith(" warning: it is seconds=1.5")


def test_timestamps_are_rfc_3339_in_utc() -> None:
    assert timestamp(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"
