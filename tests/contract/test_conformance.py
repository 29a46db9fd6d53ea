"""The conformance suite against our own server: every rule holds; and against wrong servers: every rule can fail."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest

import e2e.conformance.levels  # noqa: F401  -- registers the rules
from e2e.conformance.__main__ import main
from e2e.conformance.models import ROLES, build, model_name
from e2e.conformance.pages import FOLDER, pages
from e2e.conformance.report import Result, Verdict, ask
from e2e.conformance.rule import RULES, Level
from e2e.conformance.target import Endpoint
from tests.processes import run


@pytest.mark.process
@pytest.mark.parametrize("role", ROLES)
def test_our_server_keeps_every_rule(role: str, tmp_path: Path) -> None:
    place = tmp_path / "model" / "model.onnx"
    place.parent.mkdir()
    onnx.save(build(role), place)
    served = {"name": model_name(role), "version": "1", "directory": str(place.parent)}
    batching = {"maxBatchSize": 16, "maxDelayMicroseconds": 0}
    with run(tmp_path, served, batching=batching) as process:
        process.until_ready()
        rest, wire, _ = process.ports
        endpoint = Endpoint(f"http://127.0.0.1:{rest}", f"127.0.0.1:{wire}", model_name(role))
        results = [result for result in ask({role: endpoint}, Level) if result.verdict != Verdict.SKIP]
    assert len(results) == sum(rule.role == role for rule in RULES.values())
    assert not [(result.id, result.message) for result in results if result.verdict != Verdict.PASS]


@pytest.mark.process
def test_every_rule_fails_on_a_server_that_answers_everything_or_nothing() -> None:
    unfailed = _passed(_asked(200, b"{}", None)) & _passed(
        _asked(400, b'{"error": "no"}', grpc.StatusCode.INVALID_ARGUMENT)
    )
    assert unfailed == set()


@pytest.mark.parametrize(
    ("reason", "rest", "body", "says"),
    [
        ("another model", "http://127.0.0.1:{}", b'{"outputs": [{"name": "label"}]}', "gives label and so is not"),
        ("TLS", "https://127.0.0.1:{}", b"{}", "http:// it must be"),
        ("nobody", "http://127.0.0.1:1", b"{}", "no HTTP answer"),
    ],
)
def test_who_cannot_be_asked_is_told_so_and_gets_no_report(
    reason: str, rest: str, body: bytes, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with _http(200, body) as port:
        given = ["check", "--rest", rest.format(port), "--grpc", "127.0.0.1:1", "--model", "mine"]
        assert main(given) == 2, reason
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


def test_every_rule_has_its_page() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert written == pages(), "python -m e2e.conformance pages"
    assert all(rule.title and rule.cites for rule in RULES.values())


def _passed(results: list[Result]) -> set[str]:
    assert all(result.verdict != Verdict.SKIP for result in results)
    return {result.id for result in results if result.verdict == Verdict.PASS}


def _asked(status: int, body: bytes, code: grpc.StatusCode | None) -> list[Result]:
    with _http(status, body) as rest, _grpc(code) as wire:
        endpoints = {
            role: Endpoint(f"http://127.0.0.1:{rest}", f"127.0.0.1:{wire}", model_name(role)) for role in ROLES
        }
        return ask(endpoints, Level, timeout=1.0)


@contextmanager
def _http(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(min(int(self.headers.get("content-length") or 0), 1 << 20))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815  -- the standard library's names

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # the package is not typed
    """Answers each call with an empty message, or fails it with one code."""

    def __init__(self, code: grpc.StatusCode | None) -> None:
        self._code = code

    def service(self, details: Any) -> Any:
        def answer(_request: bytes, context: Any) -> bytes:
            if self._code is not None:
                context.abort(self._code, "no")
            return b""

        def answers(requests: Any, context: Any) -> Iterator[bytes]:
            for request in requests:
                yield answer(request, context)

        if details.method.endswith("Stream" + "Infer"):
            return grpc.stream_stream_rpc_method_handler(answers)
        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def _grpc(code: grpc.StatusCode | None) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(8), handlers=[_Anything(code)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
