"""What a store over s3:// and gs:// answers beside the model: that it is busy, and for how long; a page for people; less than it announced.

The store here does as it is told, which a real one does not; against a real one, `tests/integration/test_fetch_s3.py`.
"""

import http.server
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelward_runtime.config import S3, Boot, Gs, ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import Patience, load
from modelward_runtime.report import Report
from modelward_runtime.store import lanes, resuming
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.receiving import Progress
from tests.onnx_models import linear

LINEAR = linear().SerializeToString()
BIG = os.urandom(3 << 20)
LOGIN = b"<!doctype html><html lang=en><head><meta charset=utf-8><title>Console</title></head><body>log in<br></body></html>"
TIDY = b"<html><head><title>Console</title></head><body>log in</body></html>"  # which an XML parser takes
HTML = {"Content-Type": "text/html; charset=utf-8"}
QUICK = Patience(first_pause=0.01, longest_pause=0.02, tick=0.02)
LOOK = " HEAD"  # asks for what the client does not show
KINDS = ["s3", "gs"]
PATHS = ["models/iris/7/", "models/iris/7/model.onnx"]

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Shop:
    """A store with one bucket; `manners` says what is answered instead, or None."""

    objects: dict[str, bytes]
    endpoint: str = ""
    manners: Callable[[str], Answer | None] = lambda _: None
    cuts: list[int] = field(default_factory=list)  # bodies of objects to come that end after so many bytes
    asked: list[tuple[float, str]] = field(default_factory=list)  # when, for which path and range
    version: str = '"1"'

    def answer(self, path: str, headers: Any) -> Answer:
        parts = urlsplit(path)
        if "list-type" in parts.query:
            prefix = parse_qs(parts.query)["prefix"][0]
            entries = "".join(
                f"<Contents><Key>{key}</Key><LastModified>2026-11-26T10:00:00.000Z</LastModified><ETag>&quot;1&quot;</ETag>"
                f"<Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                for key, content in self.objects.items()
                if key.startswith(prefix)
            )
            listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
            return 200, {"Content-Type": "application/xml"}, listing.encode()
        content = self.objects[parts.path.removeprefix("/models/").replace("%2F", "/").replace("%2E", ".")]
        told = {"ETag": self.version, "Last-Modified": "Thu, 26 Nov 2026 10:00:00 GMT"}
        if headers.get("if-match", self.version) != self.version:
            return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", "")):
            start, stop = int(found[1]), min(int(found[2]) + 1, len(content))
            return 206, {**told, "Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}, content[start:stop]
        return 200, told, content

    def gaps(self) -> list[float]:
        """Seconds between one request and the next, but for the looks at what the client does not show."""
        times = [when for when, what in self.asked if LOOK not in what]
        return [after - before for before, after in itertools.pairwise(times)]


@contextmanager
def opened(shop: Shop) -> Iterator[Shop]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = f"{self.path} {self.headers.get('range', '')} {self.command}"
            shop.asked.append((time.monotonic(), asked))
            status, headers, body = shop.manners(asked) or shop.answer(self.path, self.headers)
            self.send_response(status)
            for name, content in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, content)
            self.end_headers()
            if self.command == "HEAD":
                return
            if shop.cuts and status in {200, 206} and "ETag" in headers:
                body, self.close_connection = body[: shop.cuts.pop(0)], True
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  -- the standard library's name

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        shop.endpoint = f"http://127.0.0.1:{running.server_address[1]}"
        yield shop
        running.shutdown()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with opened(Shop({"iris/7/model.onnx": LINEAR, "big.onnx": BIG})) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no metadata server, and short pauses."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setattr(resuming, "_FIRST_PAUSE", 0.01)


def source(kind: str, path: str, shop: Shop) -> ModelSource:
    where = {"s3": S3(endpoint=shop.endpoint)} if kind == "s3" else {"gs": Gs(endpoint=shop.endpoint)}
    return ModelSource(name="m", version="1", uri=f"{kind}://{path}", **where)


def fetched(kind: str, path: str, shop: Shop, folder: Path) -> bytes:
    return fetch(source(kind, path, shop), Cache(folder), Progress(), 60).file.read_bytes()


def refusal(kind: str, path: str, shop: Shop, folder: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        fetched(kind, path, shop, folder)
    assert "Signature" not in caught.value.message
    return caught.value


# ── a page for people ─────────────────────────────────────────────────────────────────────────────────────────────────

PAGES: list[tuple[str, Answer]] = [
    ("a console", (200, HTML, LOGIN)),
    ("a console in tidy XML", (200, HTML, TIDY)),
    ("a proxy that takes no such request", (405, HTML, LOGIN)),
    ("a proxy that does not understand", (400, {}, LOGIN)),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("case", "page"), PAGES, ids=[case for case, _ in PAGES])
def test_a_page_is_no_store(shop: Shop, tmp_path: Path, kind: str, path: str, case: str, page: Answer) -> None:
    shop.manners = lambda _: page
    error = refusal(kind, path, shop, tmp_path)
    assert (LoadReason.INVALID_MODEL, True) == (error.reason, error.permanent), f"{case}: {error.message}"
    assert f"{kind}://{path} at {shop.endpoint}: a web page came in place of the store's answer" in error.message
    assert "model.storage.endpoint" in error.message
    assert len(shop.asked) <= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_a_page_that_says_there_is_no_such_thing_may_be_the_stores_way_to_say_so(
    shop: Shop, tmp_path: Path, kind: str, path: str
) -> None:
    """A gateway before the store, or a console: a mistyped key is the commoner cause, and both are told."""
    shop.manners = lambda _: (404, HTML, LOGIN)
    error = refusal(kind, path, shop, tmp_path)
    assert error.permanent
    assert "web page" in error.message
    assert "model.storage.endpoint" in error.message
    if path.endswith(".onnx"):
        assert error.reason is LoadReason.MODEL_NOT_FOUND
        assert "no such object" in error.message


def test_a_model_that_was_uploaded_as_a_web_page_is_a_model(shop: Shop, tmp_path: Path) -> None:
    shop.manners = lambda asked: (
        (200, {**HTML, "ETag": '"1"', "Last-Modified": "Thu, 26 Nov 2026 10:00:00 GMT"}, LINEAR)
    )
    assert LINEAR == fetched("s3", "models/iris/7/model.onnx", shop, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_a_proxy_that_leads_to_its_login_is_no_store(shop: Shop, tmp_path: Path, kind: str, path: str) -> None:
    shop.manners = lambda asked: (
        (200, HTML, LOGIN) if asked.startswith("/login ") else (302, {"Location": "/login"}, b"")
    )
    error = refusal(kind, path, shop, tmp_path)
    assert (LoadReason.INVALID_MODEL, True) == (error.reason, error.permanent), error.message


async def test_the_load_ends_where_a_page_came(shop: Shop, tmp_path: Path) -> None:
    shop.manners = lambda _: (200, HTML, LOGIN)
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source("s3", PATHS[0], shop))
    with pytest.raises(LoadError, match="a web page came"):
        await load(boot, Guard(), Cache(tmp_path), Report(boot, "b"), Hardware(1, 1.0), QUICK)
    assert len(shop.asked) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_a_circle_is_given_up(shop: Shop, tmp_path: Path, kind: str, path: str) -> None:
    shop.manners = lambda _: (302, {"Location": "/login"}, LOGIN)
    error = refusal(kind, path, shop, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, True) == (error.reason, error.permanent)
    assert "TooManyRedirects" in error.message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_a_gateway_s_page_may_be_over_soon(shop: Shop, tmp_path: Path, kind: str, path: str) -> None:
    shop.manners = lambda _: (502, HTML, LOGIN)
    error = refusal(kind, path, shop, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)
    shop.asked.clear()
    shop.manners = lambda _: (502, HTML, LOGIN) if len(shop.asked) < 4 else None
    assert LINEAR == fetched(kind, path, shop, tmp_path)


def test_who_may_not_read_is_told_so_though_it_is_by_a_page(shop: Shop, tmp_path: Path) -> None:
    shop.manners = lambda _: (403, HTML, LOGIN)
    assert LoadReason.ACCESS_DENIED is refusal("s3", PATHS[0], shop, tmp_path).reason


# ── Retry-After ───────────────────────────────────────────────────────────────────────────────────────────────────────


def busy(shop: Shop, seconds: int, status: int = 503, *, after: int = 0) -> None:
    """One request is refused, the first or one after some, and every look that follows."""
    refusal = status, {"Retry-After": str(seconds)}, b""
    refused: list[str] = []

    def manner(asked: str) -> Answer | None:
        if LOOK not in asked and (refused or len(shop.asked) <= after):
            return None
        refused.append(asked)
        return refusal

    shop.manners = manner


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("path", PATHS)
def test_who_asks_for_long_is_told_of(shop: Shop, tmp_path: Path, kind: str, status: int, path: str) -> None:
    busy(shop, 100, status)
    error = refusal(kind, path, shop, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False, 100.0) == (error.reason, error.permanent, error.retry_after)
    assert "asks to be left alone for 100 s" in error.message
    assert len(shop.asked) == 2, "once, and once to hear for how long"


def test_with_credentials_the_second_look_is_signed_and_no_log_shows_it(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    busy(shop, 100)
    assert 100.0 == refusal("s3", PATHS[1], shop, tmp_path).retry_after
    assert "X-Amz-Signature=" in shop.asked[1][1]
    assert "X-Amz-Signature" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
async def test_a_store_that_asks_for_a_moment_gets_it(shop: Shop, tmp_path: Path, kind: str, path: str) -> None:
    busy(shop, 1)
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source(kind, path, shop))
    model = await load(boot, Guard(), Cache(tmp_path), Report(boot, "b"), Hardware(1, 1.0), QUICK)
    assert model.name == "m"
    assert shop.gaps()[0] >= 1.0


async def test_who_asks_for_long_is_left_alone_for_long(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        shop.manners = lambda _: None

    monkeypatch.setattr("modelward_runtime.load.asyncio.sleep", sleep)
    busy(shop, 3000)
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source("s3", PATHS[0], shop))
    await load(boot, Guard(), Cache(tmp_path), Report(boot, "b"), Hardware(1, 1.0), QUICK)
    assert [600.0] == slept, "ten minutes at most, however long it asks"


def test_rests_that_bring_nothing_end_well_before_they_count_as_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr("modelward_runtime.store.resuming.time.sleep", rests.append)

    def attempt(_: int) -> Iterator[bytes]:
        yield b""
        raise LoadError(LoadReason.SOURCE_UNREACHABLE, "busy", "fetch", permanent=False, retry_after=13.0)

    with pytest.raises(LoadError):
        list(resuming.resumed(attempt, 0, 10))
    assert [13.0, 13.0] == rests, "load.py waits for the third, where it can be seen"


@pytest.mark.parametrize("kind", KINDS)
def test_parts_wait_as_well(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    busy(shop, 1, after=1)
    assert BIG == fetched(kind, "models/big.onnx", shop, tmp_path)
    (looked,) = [when for when, what in shop.asked if LOOK in what]
    assert shop.asked[-1][0] - looked >= 1.0, "the part that was refused is asked for again, and not before"
    assert 6 == len(shop.asked), "the size, three parts, a look, a part again"


# ── what breaks ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("divided", [True, False])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, divided: bool
) -> None:
    monkeypatch.setattr(lanes, "PART", 1 << 20 if divided else 16 << 20)
    shop.cuts = [600_000, 400_000, 300_000]
    assert BIG == fetched(kind, "models/big.onnx", shop, tmp_path)
    assert shop.cuts == []


def test_an_object_that_is_another_after_a_break_is_never_a_mixture(shop: Shop, tmp_path: Path) -> None:
    """A break in a first reading, and by then it is another object: it is read anew, as a whole."""
    shop.cuts = [1_000_000]

    def manner(path: str) -> Answer | None:
        if len(shop.asked) == 2:
            shop.objects["big.onnx"], shop.version = BIG[::-1], '"2"'
        return None

    shop.manners = manner
    assert BIG[::-1] == fetched("s3", "models/big.onnx", shop, tmp_path)


def test_an_answer_with_less_than_was_asked_for_is_a_truncation(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    headers = {"ETag": '"1"', "Last-Modified": "Thu, 26 Nov 2026 10:00:00 GMT"}
    shop.manners = lambda _: (
        (206, {**headers, "Content-Range": f"bytes 0-9/{len(BIG)}"}, BIG[:10]) if len(shop.asked) > 1 else None
    )
    error = refusal("s3", "models/big.onnx", shop, tmp_path)
    assert not error.permanent, error.message
    assert len(shop.asked) < 40


def test_a_connection_that_always_breaks_is_given_up(shop: Shop, tmp_path: Path) -> None:
    shop.cuts = [1000] * 99
    error = refusal("s3", "models/big.onnx", shop, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)
    assert 6 == len(shop.asked)
