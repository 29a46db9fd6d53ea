"""The plugin beside pods that lie, a kubectl that babbles and users who mistype: a message each time, and never a traceback."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelward_operator.plugin import kubectl as way
from modelward_operator.plugin.cli import main
from modelward_operator.plugin.cost_cli import Reader
from modelward_operator.plugin.evidence import Seen, evidence
from modelward_operator.plugin.kubectl import Kubectl, KubectlError
from modelward_operator.plugin.text import page
from tests.plugin_models import told, well

Json = dict[str, Any]
Put = Callable[[str], None]


@contextmanager
def saying(answer: bytes) -> Iterator[int]:
    """Listen on a port of this machine, and say the same to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put a script on the path as kubectl."""

    def put_script(text: str) -> None:
        script = tmp_path / "kubectl"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return put_script


def http(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body)


@pytest.mark.parametrize(
    ("reason", "answer", "words"),
    [
        ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n", "BadStatusLine"),
        ("it ends before it was announced to", http(b"{}", 100), "IncompleteRead"),
        ("no length that is one", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "IncompleteRead"),
        ("HTML", http(b"<html>"), "no JSON"),
        ("a list", http(b"[1]"), "no JSON object"),
        ("a number that is none", http(b'{"idleSeconds": Infinity}'), "no JSON"),
        ("deeper than anybody reads", http(b'{"a":' * 50_000), "no JSON"),
        ("nothing", b"", "RemoteDisconnected"),
        ("another address", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "HTTP Error 302"),
        ("longer than anything it has to say", http(b'{"a": "%b"}' % (b"x" * 2000)), "more than 1000 bytes"),
    ],
)
def test_a_pod_that_talks_nonsense_is_told_of(
    reason: str, answer: bytes, words: str, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way, "ANSWER", 1000 if "longer" in reason else way.ANSWER)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # where nobody is, and nobody is asked
    with saying(answer) as port:
        put(f"echo 'Forwarding from 127.0.0.1:{port} -> 8082'; exec sleep 60")
        with pytest.raises(KubectlError, match=words):
            Kubectl().report("risk", "fraud-0")


@pytest.mark.parametrize("says", ["", "  "], ids=["nothing", "blanks"])
def test_a_kubectl_that_prints_no_json_is_told_of(says: str, put: Put) -> None:
    put(f"echo 'Update available!{says}'")
    with pytest.raises(KubectlError, match="kubectl answers with what is no JSON"):
        Kubectl().read("pods")


@pytest.mark.parametrize("said", ["-1", "1e300", '"soon"', "[]"])
def test_of_a_pod_that_lies_about_its_idleness_nothing_is_concluded(said: str, put: Put) -> None:
    meta = {"namespace": "risk", "name": "fraud-0", "labels": {"modelward.dev/model": "fraud"}}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pods = json.dumps({"items": [{"metadata": meta, "status": ready}]})
    with saying(http(b'{"idleSeconds": %b}' % said.encode())) as port:
        forward = f"echo 'Forwarding from 127.0.0.1:{port} -> 8082'; exec sleep 60"
        put(f"case \"$1\" in port-forward) {forward};; esac\necho '{pods}'")
        (idle,) = Reader(Kubectl(), ["-n", "risk"])._idle().values()
    assert "pod fraud-0" in idle.silence


@pytest.mark.parametrize(
    "said",
    [
        {"model": None},
        {"model": [1]},
        {"model": {"digest": ["a"]}},
        {"model": {"digest": None, "signer": "ci"}},
        {"access": "open"},
        {"access": {"authentication": 3, "tls": {"sha256": 7}}},
        {"access": {"tls": True}},
        {"audit": 5},
        {"epsilon": {"spent": None}},
        {"state": ["Ready"]},
        {"failure": "yes"},
    ],
)
def test_a_report_that_is_none_is_a_gap(said: Json) -> None:
    pod = {"metadata": {"name": "fraud-0", "uid": "u"}, "spec": {}, "status": {}}
    reports = [{**told("sha256:1"), **said}, told("sha256:2")]
    found = evidence(well(), {}, {}, [Seen(pod, dict(report)) for report in reports], "2026-11-26T12:00:00Z")
    assert found["gaps"]
    assert "Gaps" in page(found)


@pytest.mark.parametrize("command", ["status", "history", "rollback", "evidence", "predict"])
@pytest.mark.parametrize("name", ["--help", "a/b", "../x", "a,b", "Fraud", ""])
def test_what_is_no_name_reaches_no_kubectl(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--describe"] if command == "predict" else []
    with pytest.raises(SystemExit) as ended:
        main([command, *more, "--", name])
    assert 2 == ended.value.code
    assert "is no name of a ModelDeployment" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300"])
def test_nobody_waits_for_no_time_or_for_ever(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "fraud", "--describe", f"--timeout={seconds}"])
    assert "more than 0 and at most 86400" in capsys.readouterr().err


def test_the_periods_are_offered_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cost", "--period", "Year"])
    assert "choose from 'Hour', 'Day', 'Week', 'Month'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["modelward-operator", "kubectl-modelward"])
@pytest.mark.parametrize(
    ("reason", "where", "status", "words"),
    [
        ("who reads has seen enough", "| head -c 1 > /dev/null", 141, ""),
        ("the disk is full", "> /dev/full", 2, "No space left on device"),
    ],
)
def test_output_that_nobody_takes_ends_without_a_traceback(
    reason: str, where: str, status: int, words: str, command: str, tmp_path: Path
) -> None:
    model = "apiVersion: modelward.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: m%d}\nspec: {model: {uri: s3://m/1/}}\n---\n"
    file = tmp_path / "models.yaml"
    file.write_text("".join(model % number for number in range(30)))
    asked = f"{Path(sys.executable).parent / command} plan -f {file} {where}; echo ${{PIPESTATUS[0]}} >&2"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert f"{status}" == done.stderr.splitlines()[-1], reason
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
