"""REST answers: packed for who asks, what the metadata and the document say, and that no browser's page may read any."""

import gzip
import json
import threading
import zlib
from collections.abc import AsyncIterator

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from modelward_runtime import packing
from modelward_runtime.exchange import Exchange
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import TensorSpec
from modelward_runtime.web import App
from tests.doors import door
from tests.privacy_policies import CLASSIFIER, rules
from tests.runtime_models import Double, doubler, echo
from tests.wire import Answer, Wire, ask

LARGE = 4000  # numbers: some 20 KB of JSON


async def serving(model: Double) -> AsyncIterator[App]:
    exchange = Exchange("tiny", "1", Metrics())
    exchange.serve(model, None)
    yield App(exchange, door(), max_body_bytes=1 << 22)
    exchange.close()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async for made in serving(doubler((-1,))):
        yield made


async def infer(
    app: App, count: int, accepted: str = "", name: str = "x", datatype: str = "FP32", **more: object
) -> Answer:
    element: object = "a" if datatype == "BYTES" else 1.5
    tensor = {"name": name, "shape": [count], "datatype": datatype, "data": [element] * count}
    body = json.dumps({"inputs": [tensor], **more}).encode()
    return await ask(app, "POST", "/v2/models/tiny/infer", body, {"accept-encoding": accepted})


async def test_a_large_answer_is_packed_for_who_asks(app: App) -> None:
    plain = await infer(app, LARGE)
    packed = await infer(app, LARGE, "br, gzip;q=0.5")
    assert ("gzip", "accept-encoding") == (packed[1]["content-encoding"], packed[1]["vary"])
    assert ("accept-encoding", None) == (plain[1]["vary"], plain[1].get("content-encoding"))
    assert plain[2] == gzip.decompress(packed[2])
    assert len(packed[2]) < len(plain[2]) / 10
    assert str(len(packed[2])) == packed[1]["content-length"]


@pytest.mark.parametrize(
    ("reason", "count", "accepted"),
    [
        ("small", 4, "gzip"),
        ("not asked", LARGE, ""),
        ("another coding", LARGE, "br, zstd, deflate"),
        ("declined", LARGE, "gzip;q=0"),
        ("as it is preferred", LARGE, "gzip;q=0.5, identity"),
        ("nothing is acceptable", LARGE, "identity;q=0, *;q=0"),
    ],
)
async def test_an_answer_stays_as_it_is(app: App, reason: str, count: int, accepted: str) -> None:
    status, headers, body = await infer(app, count, accepted)
    assert (200, "application/json", None) == (status, headers["content-type"], headers.get("content-encoding")), reason
    assert [3.0] * count == json.loads(body)["outputs"][0]["data"]
    assert ("vary" in headers) == (count == LARGE), reason


async def test_who_takes_nothing_else_has_small_answers_packed_too(app: App) -> None:
    answer = await infer(app, 2, "gzip, identity;q=0")
    assert [3.0, 3.0] == json.loads(gzip.decompress(answer[2]))["outputs"][0]["data"]


async def test_binary_tensors_are_packed_whole_and_the_header_counts_what_is_inside(app: App) -> None:
    status, headers, body = await infer(app, LARGE, "gzip", parameters={"binary_data_output": True})
    assert (200, "gzip", "application/octet-stream") == (status, headers["content-encoding"], headers["content-type"])
    whole = gzip.decompress(body)
    split = int(headers["inference-header-content-length"])
    assert 4 * LARGE == json.loads(whole[:split])["outputs"][0]["parameters"]["binary_data_size"] == len(whole) - split


@pytest.mark.parametrize("binary", [False, True])
async def test_text_is_never_packed(*, binary: bool) -> None:
    """Where texts of several parties stand together, the length of what is packed tells who is right about another's (BREACH)."""
    async for app in serving(echo(TensorSpec("t", "BYTES", (-1,)))):
        more = {"parameters": {"binary_data_output": binary}}
        answer = await infer(app, LARGE, "gzip, identity;q=0", "t", "BYTES", **more)
        assert (200, None) == (answer[0], answer[1].get("content-encoding"))


async def test_errors_are_not_packed(app: App) -> None:
    answer = await infer(app, 1, "gzip, identity;q=0", "y")
    assert (400, None) == (answer[0], answer[1].get("content-encoding"))
    assert "inputs[0] is not one of the model's" in json.loads(answer[2])["error"]


async def test_what_is_very_large_is_packed_beside_the_event_loop(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, real = [], packing._pack

    def pack(body: bytes) -> bytes:
        threads.append(threading.current_thread())
        return real(body)

    monkeypatch.setattr(packing, "_pack", pack)
    assert (await infer(app, 40_000, "gzip"))[1]["content-encoding"] == "gzip"
    assert (await infer(app, LARGE, "gzip"))[1]["content-encoding"] == "gzip"
    here = threading.main_thread()
    assert [False, True] == [thread is here for thread in threads]


async def test_a_packed_request_and_a_packed_answer_go_together(app: App) -> None:
    tensor = {"name": "x", "shape": [LARGE], "datatype": "FP32", "data": [0.25] * LARGE}
    body = zlib.compress(json.dumps({"inputs": [tensor]}).encode())
    headers = {"content-encoding": "deflate", "accept-encoding": "gzip"}
    answer = await ask(app, "POST", "/v2/models/tiny/infer", body, headers)
    assert [0.5] * LARGE == json.loads(gzip.decompress(answer[2]))["outputs"][0]["data"]


async def test_metadata_say_what_is_optional_and_what_columns_are_called() -> None:
    model = Double(
        dict,
        (TensorSpec("x", "FP32", (-1,)), TensorSpec("more", "FP32", (-1,), optional=True)),
        (TensorSpec("p", "FP32", (-1, 2), classes=("no", "ja")),),
    )
    async for app in serving(model):
        told = json.loads((await ask(app, "GET", "/v2/models/tiny"))[2])
    assert "parameters" not in told["inputs"][0]
    assert {"optional": True} == told["inputs"][1]["parameters"]
    assert ["no", "ja"] == json.loads(told["outputs"][0]["parameters"]["classes"])


@pytest.mark.parametrize("path", ["/v2/models/tiny/openapi.json", "/v2/models/tiny/versions/1/openapi.json"])
async def test_the_document_is_of_the_model_as_the_policy_leaves_it(path: str) -> None:
    exchange = Exchange("tiny", "1", Metrics())
    app = App(exchange, door(), max_body_bytes=1 << 20)
    assert 503 == (await ask(app, "GET", path))[0]
    exchange.serve(CLASSIFIER, None)
    exchange.govern(rules(CLASSIFIER, output={"tensors": [{"name": "embedding", "drop": True}]}))
    status, headers, body = await ask(app, "GET", path, headers={"accept-encoding": "gzip"})
    assert (200, "application/json", "gzip") == (status, headers["content-type"], headers["content-encoding"])
    told = json.loads(gzip.decompress(body))
    OpenAPIV31SpecValidator(told).validate()
    assert path in told["paths"]
    assert "embedding" not in json.dumps(told)
    assert 405 == (await ask(app, "POST", path))[0]
    assert 404 == (await ask(app, "GET", path.replace("tiny", "other")))[0]
    exchange.close()


ORIGIN = {
    "origin": "https://evil.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", "/v2/models/tiny/infer", 405),
        ("OPTIONS", "/v2/health/live", 405),
        ("OPTIONS", "/v2/models/tiny", 405),
        ("OPTIONS", "/anything", 404),
        ("OPTIONS", "*", 404),
        ("GET", "/v2/models/tiny", 200),
        ("GET", "/v2/health/ready", 200),
        ("POST", "/v2/models/tiny/infer", 400),
    ],
)
async def test_no_answer_lets_a_page_of_another_origin_read_it(app: App, method: str, path: str, status: int) -> None:
    """CORS is off: a preflight is refused like any method that a path does not take, and nothing speaks of origins."""
    answer = await ask(app, method, path, headers=ORIGIN)
    assert status == answer[0]
    assert not [name for name in answer[1] if name.startswith("access-control-")]


async def test_http2_is_declined_whichever_way_it_is_offered(app: App) -> None:
    """The REST port speaks HTTP/1.1: an offer to upgrade is passed over, and who begins with HTTP/2 hears that this is none."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [2]}
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = await ask(app, "POST", "/v2/models/tiny/infer", body, offer)
    assert (200, None) == (answer[0], answer[1].get("upgrade"))
    assert [4.0] == json.loads(answer[2])["outputs"][0]["data"]
    wire = Wire(app)
    wire.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    ((status, _, told),) = await wire.answers()
    assert (400, {"error": "this is not a request of HTTP/1.1"}) == (status, json.loads(told))
