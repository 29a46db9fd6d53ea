"""`modelward audit verify` and `keygen audit` as one calls them: words, JSON, exit codes."""

import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from modelward_runtime import cli
from modelward_runtime.audit.chain import Chain
from modelward_runtime.audit.follow import KINDS
from modelward_runtime.audit.keys import load_signing_key
from modelward_runtime.audit.records import Genesis
from modelward_runtime.sinks.sink import Writer
from tests.audit_logs import check, checkpoint, key, kinds, prediction, records, write_keys, write_log


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    code = left.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    await write_log(folder, "b1", count=30, longest=8192)
    await write_log(folder, "b2", count=3, is_closed=False, records=2)
    write_keys(tmp_path)
    return folder


def test_a_whole_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run("audit", "verify", log, "--trust", log.parent / "audit.pub.pem")
    told = capsys.readouterr().out
    assert "whole: 45 records in 2 chains, 4 files; 1 at the ends not signed" in told, told
    assert "/pods/pod/boots/b1: records 0 to 38, head " in told
    assert "Signed up to record 4 " in told
    assert "; 1 records after it are chained but not signed" in told


def test_the_same_as_json(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run("audit", "verify", log, "--trust", log.parent / "audit.pub.pem", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (True, 4, 45, 1, []) == tuple(told[key] for key in ("valid", "files", "records", "unsigned", "findings"))
    first, second = told["chains"]
    assert (True, 0, 38, key().fingerprint) == (
        first["closed"],
        first["unsigned"],
        first["lastCheckpoint"],
        first["key"],
    )
    assert (False, 1, 4, 0) == (second["closed"], second["unsigned"], second["lastCheckpoint"], second["tornBytes"])
    assert records(log)[-1]["hash"] == second["head"]


def test_a_changed_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = log / "pod.b1.000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"requestBytes":5', b'"requestBytes":6'))
    assert 1 == run("audit", "verify", log, "--trust", log.parent / "audit.pub.pem")
    told = capsys.readouterr().out
    assert f"{file}:8: the record was changed: its hash is another" in told
    assert "NOT WHOLE" in told
    assert 1 == run("audit", "verify", log, "--trust", log.parent / "audit.pub.pem", "--json")
    assert not json.loads(capsys.readouterr().out)["valid"]


def test_a_head_that_was_noted_elsewhere(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = ("--trust", log.parent / "audit.pub.pem")
    head = records(log)[-1]["hash"]
    assert 0 == run("audit", "verify", log, *trust, "--head", head)
    file = log / "pod.b2.000001.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    assert 0 == run("audit", "verify", log, *trust)
    assert 1 == run("audit", "verify", log, *trust, "--head", head)
    assert f"no record has the hash {head}" in capsys.readouterr().out


def test_some_files_only(log: Path) -> None:
    trust = ("--trust", log.parent / "audit.pub.pem")
    assert 1 == run("audit", "verify", log / "pod.b1.000002.jsonl", *trust)
    assert 0 == run("audit", "verify", log / "pod.b1.000002.jsonl", *trust, "--partial")


def test_what_cannot_be_tried(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = ("--trust", log.parent / "audit.pub.pem")
    (log.parent / "empty").mkdir()
    loop, pipe = log.parent / "loop.jsonl", log.parent / "pipe.jsonl"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for arguments, expected in [
        ((log / "nothing", *trust), "nothing: No such file"),
        ((log.parent / "empty", *trust), "there is no *.jsonl file"),
        ((log, "--trust", log / "pod.b1.000001.jsonl"), "is no public key in PEM form"),
        ((log, "--trust", log.parent / "absent.pem"), "absent.pem: No such file"),
        ((log, *trust, "--head", "12"), "12 is no hash"),
        ((loop, *trust), "loop.jsonl: Too many levels of symbolic links"),
        ((pipe, *trust), "pipe.jsonl is no plain file"),
    ]:
        assert 2 == run("audit", "verify", *arguments)
        assert expected in capsys.readouterr().err


def test_a_files_name_cannot_command_the_terminal(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log / "a\x1b[2Jb.jsonl").write_text("no record\n")
    assert 1 == run("audit", "verify", log, "--trust", log.parent / "audit.pub.pem")
    told = capsys.readouterr().out
    assert r"a\x1b[2Jb.jsonl:1: the first record does not end in a hash" in told
    assert "\x1b" not in told


def test_payload_logs_in_the_same_directory_are_another_matter(log: Path) -> None:
    (log / "pod_payloads.b1.000001.jsonl").write_text('{"time":"2026-01-01T00:00:00Z"}\n')
    assert 0 == run("audit", "verify", log, "--trust", log.parent / "audit.pub.pem")


async def test_a_key_of_keygen_signs_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run("keygen", "audit", "--out", tmp_path / "a.pem", "--json")
    told = json.loads(capsys.readouterr().out)
    assert load_signing_key(tmp_path / "a.pem").fingerprint == told["fingerprint"]
    assert 1 == run("keygen", "audit", "--out", tmp_path / "a.pem"), "never over another"


async def test_a_hundred_thousand_records_are_verified_in_seconds(tmp_path: Path) -> None:
    chain = Chain(Writer("pod", "b1"))
    start = Genesis("modelward.audit/v1", "pod", "b1", key().fingerprint, [])
    with (tmp_path / "pod.b1.000001.jsonl").open("wb") as file:
        file.write(chain.add("genesis", start))
        file.write(chain.sign(key(), checkpoint("Start")))
        for number in range(100_000):
            file.write(chain.add("prediction", prediction(number)))
            if number % 1000 == 999:
                file.write(chain.sign(key(), checkpoint()))
    began = time.process_time()
    tracemalloc.start()
    told = check(tmp_path / "pod.b1.000001.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (True, 100_102) == (told.is_whole, told.records), told.findings
    assert time.process_time() - began < 30, "two seconds, and what the measuring of memory costs"
    assert peak < 8 << 20, "whatever its length"


def test_the_example_in_the_documentation_is_a_log(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "runtime/AUDIT.md").read_text()
    (tmp_path / "log.jsonl").write_text(text.partition("```json\n")[2].partition("```")[0])
    public = "-----BEGIN" + text.partition("```\n-----BEGIN")[2].partition("```")[0]
    (tmp_path / "key.pub.pem").write_text(public)
    assert 0 == run("audit", "verify", tmp_path / "log.jsonl", "--trust", tmp_path / "key.pub.pem")
    assert {"genesis", "checkpoint", "prediction"} == set(kinds(records(tmp_path / "log.jsonl")))


def test_the_documentation_knows_every_kind_of_record() -> None:
    text = (Path(__file__).parents[2] / "runtime/AUDIT.md").read_text()
    assert all(f"| `{kind}` |" in text for kind in KINDS)
