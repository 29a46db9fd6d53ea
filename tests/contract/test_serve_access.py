"""The life of the real command behind TLS: it waits for its certificate, says so, ends when told to, and needs no root for it."""

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.callers import Caller, Grpc, Rest
from tests.onnx_models import linear, save
from tests.processes import COMMAND, run, serve
from tests.serving_certificates import Authority, mount

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_a_pod_without_its_certificate_is_unready_and_says_why_until_it_comes(
    tmp_path: Path, authority: Authority
) -> None:
    save(linear(), tmp_path / "model/model.onnx")
    access = {"tls": {"directory": str(tmp_path / "tls")}}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, access=access) as process:
        failure = process.until_failing()
        assert ("ServingCertificateUnusable", False) == (failure["reason"], failure["permanent"])
        assert "tls.crt cannot be read: No such file or directory" in failure["message"]
        assert 503 == process.get("/readyz")[0]
        pair = authority.issue()
        mount(tmp_path / "tls", pair.certificate, pair.key)
        process.until_ready()
        report = process.report()
        assert report["failure"] is None
        assert ("None", pair.sha256) == (report["access"]["authentication"], report["access"]["tls"]["sha256"])
        callers: list[Caller] = [Rest(process.ports[0], authority.trust()), Grpc(process.ports[1], authority.pem)]
        for caller in callers:
            assert "OK" == caller.infer(None).code, "nobody is asked who they are"
            caller.close()
        process.signal()
        assert 0 == process.exit_code()


def test_certificates_are_renewed_under_load_without_one_failed_call(tmp_path: Path, authority: Authority) -> None:
    save(linear(), tmp_path / "model/model.onnx")
    issued = [authority.issue(kind) for kind in ("EC", "RSA", "EC", "RSA")]
    mount(tmp_path / "tls", issued[0].certificate, issued[0].key)
    access, ended = {"tls": {"directory": str(tmp_path / "tls")}}, threading.Event()
    with run(tmp_path, {"directory": str(tmp_path / "model")}, access=access) as process, ThreadPoolExecutor(4) as pool:
        process.until_ready()
        rest, stub = partial(Rest, process.ports[0], authority.trust()), partial(Grpc, process.ports[1], authority.pem)
        ways = [(make, anew) for make in (rest, stub) for anew in (False, True)]
        calls = Counter[int]()
        loads = [pool.submit(keep_calling, make, ended, anew, calls, way) for way, (make, anew) in enumerate(ways)]

        def all_call() -> None:
            """Until each has called a few times more: on a connection and on new ones, REST and gRPC."""
            enough = {way: calls[way] + 4 for way in range(len(ways))}
            process.until(
                lambda: any(load.done() for load in loads) or all(calls[way] >= enough[way] for way in enough)
            )

        try:
            for before, after in pairwise(issued):
                told = process.log().count("not the key")
                mount(tmp_path / "tls", after.certificate, before.key)  # a half pair in between
                process.until(lambda: process.log().count("not the key") > told)  # noqa: B023  waited for
                all_call()
                mount(tmp_path / "tls", after.certificate, after.key)
                process.until(lambda: process.report()["access"]["tls"]["sha256"] == after.sha256)  # noqa: B023  waited for
                all_call()
        finally:
            ended.set()
        for load in loads:
            load.result(60)


def keep_calling(make: Callable[[], Caller], ended: threading.Event, anew: bool, calls: Counter[int], way: int) -> None:
    """Call until ended, all by one connection or each by a new one, and count under `way`. Whatever fails is raised."""
    caller = make()
    while not ended.is_set():
        if anew:
            caller.close()
            caller = make()
        assert "OK" == caller.infer(None).code
        calls[way] += 1
        time.sleep(0.01)
    caller.close()


def test_a_pod_that_waits_for_its_certificate_ends_when_it_is_told_to(tmp_path: Path) -> None:
    save(linear(), tmp_path / "model/model.onnx")
    access = {"tls": {"directory": str(tmp_path / "tls")}}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, access=access) as process:
        process.until_report(lambda report: report["failure"] and report["state"] == "WarmingUp")
        process.signal()
        assert 0 == process.exit_code()


def test_a_model_that_cannot_be_loaded_is_told_although_the_certificate_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.onnx").write_bytes(b"no model")
    access = {"tls": {"directory": str(tmp_path / "tls")}}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, access=access) as process:
        assert 78 == process.exit_code()
        assert "InvalidModel" == process.termination()["reason"]


def test_on_a_laptop_there_is_no_door(tmp_path: Path) -> None:
    file = save(linear(), tmp_path / "model/model.onnx")
    with serve(file.parent, tmp_path / "serve", "--name", "m") as process:
        process.until_ready()
        assert 200 == process.infer("m", [[1.0] * 4])[0]
        assert {"authentication": "None", "tls": None} == process.report()["access"]


def test_the_key_is_handed_to_openssl_in_a_hardened_process_without_root(authority: Authority) -> None:
    pair = authority.issue()
    code = (
        "import os, sys, modelward_runtime.main as main, modelward_runtime.access.certificate as certificate\n"
        "if os.geteuid() == 0: os.setgid(65532); os.setuid(65532)\n"
        "assert os.geteuid() and main.harden()\n"
        "certificate.make_context(certificate.Pair(sys.argv[1].encode(), sys.argv[2].encode(), 0, ''))\n"
        "print('loaded')"
    )
    arguments = [str(COMMAND.with_name("python")), "-c", code, pair.certificate.decode(), pair.key.decode()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert "loaded\n" == done.stdout, done.stderr
