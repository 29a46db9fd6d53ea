"""GET /load of the real serving process, over HTTP: what an autoscaler hears, and when."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.onnx_models import save, slow
from tests.processes import Process, rounds, run, serve
from tests.serving_certificates import Authority, mount

pytestmark = pytest.mark.process

SECONDS = 0.7  # how long it computes


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with serve(save(slow(), tmp_path / "slow.onnx"), tmp_path / "p") as started:
        started.until_ready()
        yield started


def load(process: Process, query: str = "") -> Any:
    status, body = process.get(f"/load{query}")
    assert status == 200, body
    return json.loads(body)


@contextmanager
def waiting(process: Process, query: str) -> Iterator[http.client.HTTPConnection]:
    """A connection that has asked and waits: whoever connects later and is answered was accepted after it."""
    connection = http.client.HTTPConnection("127.0.0.1", process.ports[2], timeout=60)
    with closing(connection):
        connection.request("GET", f"/load{query}")
        for _ in range(2):
            assert process.get("/livez")[0] == 200
        yield connection


def beside(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def predict(process: Process, work: float) -> None:
    process.infer("slow", [[work, 2.0, 3.0, 4.0]])


def test_two_answers_give_the_mean_concurrency_of_what_was_between(process: Process) -> None:
    work = rounds(process, SECONDS)
    asked = time.monotonic()
    before = load(process)
    began = time.monotonic()
    callers = [beside(lambda: predict(process, work)) for _ in range(3)]
    for caller in callers:
        caller.join()
    took = time.monotonic() - began
    after = load(process)
    told = time.monotonic()
    assert (0, 3) == (after["concurrency"], after["requests"] - before["requests"])
    busy = after["busySeconds"] - before["busySeconds"]
    assert took < busy < 3 * took, "three at a time at first, the last one alone"
    assert took <= after["now"] - before["now"] <= told - asked


def test_a_burst_is_heard_at_once_and_an_idle_process_answers_in_the_end(process: Process) -> None:
    work = rounds(process, SECONDS)
    began = time.monotonic()
    assert load(process, "?above=1&wait=0.3")["concurrency"] == 0
    assert 0.3 <= time.monotonic() - began < 20
    with waiting(process, "?above=2&wait=60") as asking:
        callers = [beside(lambda: predict(process, work)) for _ in range(2)]
        assert json.loads(asking.getresponse().read())["concurrency"] == 2
    for caller in callers:
        caller.join()


def test_it_was_not_idle_while_it_could_not_be_called(tmp_path: Path) -> None:
    """Or a pod that takes longer to start than `idleSeconds` would be taken away as soon as it is ready."""
    save(slow(), tmp_path / "model/model.onnx")
    access = {"tls": {"directory": str(tmp_path / "tls")}}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, access=access) as waits:
        waits.until_failing("ServingCertificateUnusable")
        before = load(waits)
        pair = Authority().issue()
        mount(tmp_path / "tls", pair.certificate, pair.key)
        waits.until_ready()
        after = load(waits)
    assert after["idleSeconds"] <= after["now"] - before["now"]


def test_who_waits_for_load_does_not_hold_up_the_end(process: Process) -> None:
    with waiting(process, "?above=1&wait=60") as asking:
        began = time.monotonic()
        process.signal()
        assert json.loads(asking.getresponse().read())["concurrency"] == 0
        assert process.exit_code() == 0
    assert time.monotonic() - began < 30
    assert "timeout graceful" not in process.log()
