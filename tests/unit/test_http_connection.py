"""One HTTP/1.1 connection: whatever way the bytes come in, requests and answers are the same, in order, and nothing is left open."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.caller import ClientGone
from modelward_runtime.connection import Application
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.metrics import Metrics
from modelward_runtime.request import Request
from modelward_runtime.requests import MAX_HEAD_BYTES
from modelward_runtime.site import Site
from modelward_runtime.unfinished import Unfinished
from modelward_runtime.web import App
from tests.doors import door
from tests.runtime_models import doubler
from tests.until import PATIENCE
from tests.wire import Answer, Wire, settled

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
HUGE = b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n"


async def echo(request: Request) -> None:
    """Answers with what was asked."""
    parts = []
    while part := await request.read():
        parts.append(part)
    told = {
        "method": request.method,
        "path": request.path,
        "query": request.query.decode(),
        "body": b"".join(parts).decode(),
    }
    request.respond(200, [(b"content-type", b"application/json")], json.dumps(told).encode())


async def echo_whole(request: Request) -> None:
    """The same of a body that is read as a whole."""
    seen: list[int] = []
    body = bytes(await request.read_whole(seen.append, bytearray))
    assert seen == sorted(set(seen)), "each time it is more"
    assert not body or len(body) == seen[-1]
    request.respond(200, [], json.dumps({"path": request.path, "body": body.decode()}).encode())


def echo_then(request: Request) -> None:
    """The same without a task."""
    seen: list[int] = []

    def answer() -> None:
        body = bytes(request.take_whole())
        assert not seen or len(body) == seen[-1]
        request.respond(200, [], json.dumps({"path": request.path, "body": body.decode()}).encode())

    if request.complete:
        answer()
    else:
        request.when_whole(seen.append, bytearray, answer)


def now(request: Request) -> None:
    """Answers without a task."""
    request.respond(200, [], request.path.encode())


def post(path: str, body: bytes, *headers: str) -> bytes:
    head = "".join(f"{header}\r\n" for header in (f"Content-Length: {len(body)}", *headers))
    return f"POST {path} HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode() + body


def chunked(path: str, *pieces: bytes, headers: str = "", trailer: str = "") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    return head + body + b"0\r\n" + trailer.encode() + b"\r\n"


UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
CONVERSATION: list[tuple[bytes, str, str]] = [  # what is sent, the path and the body that are understood
    (GET, "/a", ""),
    (post("/one", b"1"), "/one", "1"),
    (post("/none", b""), "/none", ""),
    (post("/long", b"x" * 300), "/long", "x" * 300),
    (chunked("/chunks", b"abc", b"d" * 40), "/chunks", "abc" + "d" * 40),
    (chunked("/trailed", b"abc", trailer="Authorization: x\r\nExpect: 100-continue\r\n"), "/trailed", "abc"),
    (post("/offer", b"kept", *UPGRADE.strip().split("\r\n")), "/offer", "kept"),
    (chunked("/offer/chunked", b"ke", b"pt", headers=UPGRADE), "/offer/chunked", "kept"),
    (b"GET /offer/only HTTP/1.1\r\nHost: h\r\n" + UPGRADE.encode() + b"\r\n", "/offer/only", ""),
    (b"GET http://h/absolute?q HTTP/1.1\r\nHost: h\r\n\r\n", "/absolute", ""),
    (b"GET /sp%20ace HTTP/1.1\r\nHost: h\r\n\r\n", "/sp ace", ""),
]


def understood(answers: list[Answer]) -> list[tuple[str, str]]:
    told = [json.loads(body) for _, _, body in answers]
    return [(one["path"], one["body"]) for one in told]


@settings(max_examples=120, deadline=None)
@given(
    turns=st.lists(st.integers(0, len(CONVERSATION) - 1), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_however_a_conversation_is_cut_it_is_the_same(turns: list[int], cuts: list[int]) -> None:
    async def talk() -> None:
        sent = b"".join(CONVERSATION[turn][0] for turn in turns)
        wire = Wire(echo)
        places = sorted({cut % (len(sent) + 1) for cut in cuts} | {0, len(sent)})
        for start, end in pairwise(places):
            wire.feed(sent[start:end])
            await asyncio.sleep(0)
        answers = await asyncio.wait_for(wire.answers(len(turns)), PATIENCE)
        assert [CONVERSATION[turn][1:] for turn in turns] == understood(answers)
        assert not wire.closed

    asyncio.run(talk())


LARGE = "".join(map(str, range(40_000)))  # no two parts of it are alike
LENGTHS = st.one_of(st.integers(0, 300), st.integers(1 << 14, 1 << 17))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(LENGTHS, min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 1 << 18), max_size=6),
    chunks=st.booleans(),
    application=st.sampled_from([echo_whole, echo_then]),
)
def test_large_bodies_are_whole_however_they_are_cut(
    lengths: list[int], cuts: list[int], chunks: bool, application: Application
) -> None:
    bodies = [LARGE[number : number + length] for number, length in enumerate(lengths)]

    async def talk() -> None:
        sent = b"".join(post(f"/{number}", body.encode()) for number, body in enumerate(bodies))
        if chunks:
            sent += chunked("/chunks", LARGE[:50_000].encode(), b"end")
        wire = Wire(application)
        places = sorted({cut % (len(sent) + 1) for cut in cuts} | {0, len(sent)})
        for start, end in pairwise(places):
            wire.feed(sent[start:end])
            await asyncio.sleep(0)
        expected = [(f"/{number}", body) for number, body in enumerate(bodies)]
        expected += [("/chunks", f"{LARGE[:50_000]}end")] * chunks
        assert expected == understood(await asyncio.wait_for(wire.answers(len(expected)), PATIENCE))

    asyncio.run(talk())


async def test_a_large_body_is_read_to_where_it_is_wanted() -> None:
    memory: list[bytearray] = []

    def allocate(size: int) -> bytearray:
        memory.append(bytearray(size))
        return memory[-1]

    async def reads(request: Request) -> None:
        body = await request.read_whole(lambda _: None, allocate)
        request.respond(200, [], b"the same" if body is memory[0] else b"another")

    wire = Wire(reads)
    sent = post("/", LARGE.encode())
    wire.feed(sent[:70_000])
    assert wire.paused, "until it is said where it goes"
    await settled()
    room = wire.connection.get_buffer(-1)
    assert len(sent) - 70_000 == len(room), "to the end of it, and nothing of what follows"
    wire.feed(sent[70_000:])
    assert [b"the same"] == [body for _, _, body in await wire.answers()]
    assert LARGE.encode() == memory[0]


async def test_a_large_body_that_is_refused_meanwhile_is_passed_over() -> None:
    def check(size: int) -> None:
        if size > 100_000:
            raise ZeroDivisionError

    async def refuses(request: Request) -> None:
        try:
            await request.read_whole(check, bytearray)
        except ZeroDivisionError:
            request.respond(429, [], b"")
        else:
            now(request)

    wire = Wire(refuses)
    sent = post("/", LARGE.encode()) + GET
    for start in range(0, len(sent), 30_000):
        wire.feed(sent[start : start + 30_000])
        await settled()
    assert [429, 200] == [status for status, _, _ in await wire.answers(2)]


async def test_a_step_is_told_of_a_body_that_is_refused_or_will_never_come() -> None:
    told: list[str] = []

    def check(size: int) -> None:
        if size > 100_000:
            raise ZeroDivisionError

    def application(request: Request) -> None:
        def step() -> None:
            try:
                request.take_whole()
            except (ClientGone, ZeroDivisionError) as reason:
                told.append(type(reason).__name__)
                request.respond(429, [], b"")

        request.when_whole(check, bytearray, step)

    wire, left = Wire(application), Wire(application)
    for start in range(0, 150_000, 30_000):
        wire.feed((post("/", LARGE.encode()) + GET)[start : start + 30_000])
    assert ["ZeroDivisionError"] == told
    assert [429] == [status for status, _, _ in await wire.answers()]
    left.feed(post("/", LARGE.encode())[:70_000])
    left.hang_up()
    await settled()
    assert ["ZeroDivisionError", "ClientGone"] == told
    assert b"" == left.sent


INFER = "/v2/models/tiny/infer"


@pytest.mark.parametrize(
    ("sent", "limit", "status"),
    [
        (post(INFER, LARGE.encode()), 1 << 20, 429),
        (chunked(INFER, *[b" " * 20_000] * 9), 1 << 20, 429),
        (chunked(INFER, *[b" " * 20_000] * 9), 100_000, 413),
    ],
    ids=["no room, of known length", "no room, in chunks", "too large, in chunks"],
)
async def test_who_is_refused_midway_may_send_the_rest_and_ask_again(sent: bytes, limit: int, status: int) -> None:
    exchange = Exchange("tiny", "1", Metrics(), Limits(max_bodies=1 << 20))
    exchange.serve(doubler(), None)
    wire = Wire(App(exchange, door(), max_body_bytes=limit))
    with exchange.bodies.hold() as others:
        others.reach((1 << 20) - 120_000)
        for start in range(0, len(sent), 10_000):
            wire.feed(sent[start : start + 10_000])
            await settled()
        wire.feed(b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
        answers = await asyncio.wait_for(wire.answers(2), PATIENCE)
    assert [status, 200] == [told for told, _, _ in answers]
    assert 0 == exchange.bodies.held
    exchange.close()


async def test_a_step_that_fails_or_forgets_to_answer_is_answered_500() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    for step in (fails, lambda: None):
        wire = Wire(lambda request, step=step: request.when_whole(lambda _: None, bytearray, step))
        wire.feed(post("/", LARGE.encode()))
        assert [500] == [status for status, _, _ in await wire.answers()]
        await wire.ended()


async def test_a_step_may_return_what_answers() -> None:
    async def answer(request: Request) -> None:
        await asyncio.sleep(0)
        request.respond(200, [], b"%d" % len(request.take_whole()))

    wire = Wire(lambda request: request.when_whole(lambda _: None, bytearray, lambda: answer(request)))
    wire.feed(post("/", LARGE.encode()) + post("/", LARGE[1:].encode()))
    assert [b"%d" % len(LARGE), b"%d" % len(LARGE[1:])] == [body for _, _, body in await wire.answers(2)]


async def test_a_byte_at_a_time() -> None:
    wire = Wire(echo)
    for sent, _, _ in CONVERSATION:
        for byte in sent:
            wire.feed(bytes([byte]))
    answers = await wire.answers(len(CONVERSATION))
    assert [(path, body) for _, path, body in CONVERSATION] == understood(answers)


async def test_answers_go_out_in_the_order_of_the_requests_one_at_a_time() -> None:
    running: list[str] = []
    go_on = {f"/{number}": asyncio.Event() for number in range(3)}

    async def slow(request: Request) -> None:
        running.append(request.path)
        await go_on[request.path].wait()
        request.respond(200, [], request.path.encode())

    wire = Wire(slow)
    wire.feed(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(3)))
    go_on["/2"].set()
    go_on["/1"].set()
    await settled()
    assert ["/0"] == running
    assert wire.paused, "nothing more is read meanwhile"
    go_on["/0"].set()
    assert [b"/0", b"/1", b"/2"] == [body for _, _, body in await wire.answers(3)]
    assert not wire.paused


async def test_thousands_in_one_piece_are_answered_without_a_deep_stack() -> None:
    wire = Wire(now)
    wire.feed(GET * 5000)
    assert 5000 == len(await wire.answers(5000))


async def test_who_does_not_read_is_not_answered_further() -> None:
    wire = Wire(now)
    wire.connection.pause_writing()
    wire.feed(GET * 3)
    assert b"" == wire.sent
    assert wire.paused
    wire.connection.resume_writing()
    assert 3 == len(await wire.answers(3))
    assert not wire.paused


def crowded(application: Application, most: int) -> Site:
    """A site whose callers may keep so many bytes of what they have begun."""
    site = Site(application, keep_alive=120)
    site.unfinished = Unfinished(most)
    return site


async def test_heads_that_do_not_end_are_bounded_over_all_callers_and_whole_ones_are_answered() -> None:
    site = crowded(now, 100_000)
    begun = [Wire(now, site) for _ in range(4)]
    for wire in begun:
        wire.feed(b"GET /a HTTP/1.1\r\nX: ")
        wire.feed(b"x" * 40_000)
    assert [False, False, True, True] == [wire.closed for wire in begun]
    await settled()
    other, apart = Wire(now, site), Wire(now, site)
    other.feed(GET * 3 + post("/", b"body"))
    assert 4 == len(await other.answers(4))
    for piece in (post("/", b"body", "X: " + "x" * 2000)[:-4], b"body"):
        apart.feed(piece)
        await settled()
    assert [200] == [status for status, _, _ in await apart.answers()], "head and body apart, as some clients send them"
    site.unfinished.held += 1_000_000
    apart.feed(post("/", b"body", "X: " + "x" * 3000)[:-4])
    assert not apart.closed
    apart.feed(b"body")
    assert 2 == len(await apart.answers(2))
    site.unfinished.held -= 1_000_000
    begun[0].feed(b"\r\n\r\n" + GET)
    assert 2 == len(await begun[0].answers(2)), "who ends it is answered"
    begun[1].hang_up()
    await settled()
    assert site.unfinished.held == 0


async def test_a_head_whose_body_does_not_come_counts_as_well() -> None:
    site = crowded(echo_whole, 100_000)
    begun = [Wire(echo_whole, site) for _ in range(3)]
    sent = post("/", b"body", "X: " + "x" * 40_000)
    for wire in begun:
        wire.feed(sent[:-1])
    assert [False, False, True] == [wire.closed for wire in begun]
    for wire in begun[:2]:
        wire.feed(sent[-1:])
        assert ["body"] == [body for _, body in understood(await wire.answers())]
    await settled()
    assert site.unfinished.held == 0


async def test_requests_that_wait_behind_one_whose_answer_is_not_taken_are_bounded_over_all_callers() -> None:
    site = crowded(now, 100_000)
    callers = [Wire(now, site) for _ in range(3)]
    for wire in callers:
        wire.connection.pause_writing()
        wire.feed(GET * 80)
    assert [False, False, True] == [wire.closed for wire in callers]
    for wire in callers[:2]:
        wire.connection.resume_writing()
        assert 80 == len(await wire.answers(80))
    await settled()
    assert site.unfinished.held == 0


@pytest.mark.parametrize("broken", [b"\0\r\n\r\n", b"y" * MAX_HEAD_BYTES], ids=["no HTTP", "too large"])
async def test_nothing_is_kept_of_what_cannot_be_understood(broken: bytes) -> None:
    site = crowded(now, 100_000)
    wire = Wire(now, site)
    wire.feed(b"GET /a HTTP/1.1\r\nX: " + b"x" * 40_000)
    wire.feed(broken)
    assert 400 <= (await wire.answers())[0][0] < 432
    assert not wire.closed, "the caller may still read it"
    assert site.unfinished.held == 0
    assert b"x" * 1000 not in repr(vars(wire.connection._requests)).encode()


async def test_a_body_that_nobody_reads_stays_where_it_is() -> None:
    wanted = asyncio.Event()

    async def late(request: Request) -> None:
        await wanted.wait()
        await echo(request)

    wire = Wire(late)
    body = b"x" * (1 << 20)
    wire.feed(post("/", body)[:100_000])
    before = wire.paused
    wanted.set()
    await settled()
    assert (True, False) == (before, wire.paused)
    wire.feed(post("/", body)[100_000:])
    (answer,) = await wire.answers()
    assert body.decode() == json.loads(answer[2])["body"]


@pytest.mark.parametrize("size", [1000, 1 << 16, 1 << 20])
async def test_a_head_over_the_limit_is_431_however_it_comes(size: int) -> None:
    wire = Wire(now)
    sent = b"GET / HTTP/1.1\r\nHost: h\r\n" + HUGE + b"\r\n"
    for start in range(0, len(sent), size):
        wire.feed(sent[start : start + size])
    (answer,) = await wire.answers()
    assert (431, "close") == (answer[0], answer[1]["connection"])
    assert b"request headers are over the limit of 65536 bytes" in answer[2]
    wire.feed(GET)
    assert 1 == len(await wire.answers(2)), "and nothing more is understood"


async def test_a_head_that_never_ends_is_431_before_it_does() -> None:
    wire = Wire(now)
    wire.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(70):
        wire.feed(b"X: " + b"y" * 1000 + b"\r\n")
    assert [431] == [status for status, _, _ in await wire.answers()]


async def test_a_body_is_not_counted_as_the_head_behind_it() -> None:
    wire = Wire(echo)
    wire.feed(post("/first", b"x" * (MAX_HEAD_BYTES * 2)) + b"GET /second HTTP/1.1\r\nHo")
    wire.feed(b"st: h\r\n\r\n")
    assert ["/first", "/second"] == [path for path, _ in understood(await wire.answers(2))]


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01"),
        ("two kinds of length", b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("two lengths", b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        ("a negative length", b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc"),
        ("a folded header", b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"),
        ("a target that is none", b"GET ../etc HTTP/1.1\r\nHost: h\r\n\r\n"),
    ],
)
async def test_what_is_no_request_is_400_behind_the_answers_before_it(reason: str, sent: bytes) -> None:
    wire = Wire(echo)
    wire.feed(GET + sent)
    assert [200, 400] == [status for status, _, _ in await wire.answers(2)], reason
    assert wire.finished or wire.closed


async def test_a_broken_chunk_ends_the_request_that_it_is_of() -> None:
    gone: list[bool] = []

    async def reads(request: Request) -> None:
        try:
            while await request.read():
                pass
        except (ClientGone, asyncio.CancelledError):
            gone.append(request.gone)

    wire = Wire(reads)
    wire.feed(chunked("/", b"abc")[:-5])
    await settled()
    wire.feed(b"zz\r\n")
    assert [400] == [status for status, _, _ in await wire.answers()]
    await settled()
    assert [True] == gone


@pytest.mark.parametrize(
    ("reason", "sent", "closes"),
    [
        ("HTTP/1.1", GET, False),
        ("HTTP/1.1 that wants to leave", LAST, True),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", True),
        ("HTTP/1.0 that wants to stay", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
async def test_who_stays_and_who_leaves(reason: str, sent: bytes, closes: bool) -> None:
    wire = Wire(now)
    wire.feed(sent + GET)
    answers = await wire.answers(1 if closes else 2)
    assert closes == (answers[0][1].get("connection") == "close"), reason
    assert closes == wire.closed, reason
    assert (1 if closes else 2) == len(await wire.answers(2)), "what stands behind a last request is none"


async def test_a_head_request_has_a_length_and_no_body() -> None:
    wire = Wire(now)
    wire.feed(GET.replace(b"GET", b"HEAD") + GET)
    first, second = await wire.answers(2, heads=["HEAD", "GET"])
    assert ("2", b"", b"/a") == (first[1]["content-length"], first[2], second[2])


async def test_a_caller_is_told_to_go_on_only_where_the_body_is_wanted_and_not_here() -> None:
    head, body = post("/", b"wanted", "Expect: 100-continue").split(b"\r\n\r\n")
    wire = Wire(echo)
    wire.feed(head + b"\r\n\r\n")
    await settled()
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == wire.sent
    wire.feed(body)
    assert [("/", "wanted")] == understood(await wire.answers())
    at_once, unwanted = Wire(echo), Wire(now)
    at_once.feed(head + b"\r\n\r\n" + body)
    unwanted.feed(head + b"\r\n\r\n")
    for one in (at_once, unwanted):
        assert 200 == (await one.answers())[0][0]
        assert b"100 Continue" not in one.sent


async def test_a_body_that_was_not_wanted_is_passed_over() -> None:
    wire = Wire(now)
    wire.feed(post("/refused", b"x" * 100_000)[:50_000])
    assert 1 == len(await wire.answers())
    wire.feed(post("/refused", b"x" * 100_000)[50_000:] + GET)
    assert [b"/refused", b"/a"] == [body for _, _, body in await wire.answers(2)]


async def test_who_is_refused_in_the_middle_of_its_body_gets_the_answer_before_the_end() -> None:
    def last(request: Request) -> None:
        request.keep_alive = False
        now(request)

    wire = Wire(last)
    wire.feed(post("/refused", b"x" * 100_000)[:50_000])
    assert (True, False) == (wire.finished, wire.closed), "said goodbye, and still listening"
    wire.feed(b"x" * 10_000)
    wire.connection.check(4)
    wire.connection.check(4)
    assert wire.closed, "but not for ever"


async def leaves(app: Callable[[Request], Awaitable[None]], sent: bytes, *, turns: int) -> None:
    wire = Wire(app)  # type: ignore[arg-type]
    wire.feed(sent)
    for _ in range(turns):
        await asyncio.sleep(0)
    wire.hang_up()
    await settled()
    assert b"" == wire.sent


@pytest.mark.parametrize("turns", [0, 1, 5])
@pytest.mark.parametrize("sent", [GET, post("/", b"12345")[:-2]])
async def test_who_leaves_cancels_what_was_begun_and_it_always_hears_of_it(sent: bytes, turns: int) -> None:
    heard: list[str] = []

    async def waits(request: Request) -> None:
        try:
            while await request.read():
                pass
            await asyncio.Event().wait()
        except ClientGone:
            heard.append("gone")
        except asyncio.CancelledError:
            heard.append("gone" if request.gone else "cancelled")

    await leaves(waits, sent, turns=turns)
    assert ["gone"] == heard


async def test_a_flaw_is_an_internal_error_and_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Request) -> None:
        raise ZeroDivisionError

    async def breaks(_: Request) -> None:
        raise ZeroDivisionError

    def forgets(_: Request) -> None:
        """Answers nothing."""

    for flaw in (broken, breaks, forgets):
        wire = Wire(flaw)
        wire.feed(GET)
        ((status, headers, body),) = await wire.answers()
        assert (500, "close", b'{"error":"internal error"}') == (status, headers["connection"], body)
    assert 2 == caplog.text.count("request failed unexpectedly")


async def test_an_answer_that_breaks_off_is_seen_to() -> None:
    async def breaks(request: Request) -> None:
        request.start(200, [])
        await request.send(b"half", more=True)
        raise ZeroDivisionError

    wire = Wire(breaks)
    wire.feed(GET)
    await wire.ended()
    assert wire.sent.endswith(b"4\r\nhalf\r\n")


STREAMS = [
    # why this row, the request, headers of the answer, how it ends
    ("chunked where it has no length", GET, [], b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"),
    ("as it is where it has one", GET, [(b"Content-Length", b"4")], b"Content-Length: 4\r\n\r\nabcd"),
    ("to the end for HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", [], b"connection: close\r\n\r\nabcd"),
    ("nothing for HEAD", b"HEAD / HTTP/1.1\r\n\r\n", [(b"Content-Length", b"4")], b"Content-Length: 4\r\n\r\n"),
]


@pytest.mark.parametrize(("reason", "sent", "headers", "end"), STREAMS, ids=[row[0] for row in STREAMS])
async def test_an_answer_in_pieces(reason: str, sent: bytes, headers: list[tuple[bytes, bytes]], end: bytes) -> None:
    async def streams(request: Request) -> None:
        request.start(200, headers)
        await request.send(b"ab", more=True)
        await request.send(b"cd", more=False)

    wire = Wire(streams)
    wire.feed(sent)
    await settled()
    assert wire.sent.endswith(end), reason


async def test_who_takes_no_pieces_gets_no_more_of_them() -> None:
    sent: list[int] = []

    async def streams(request: Request) -> None:
        request.start(200, [])
        for number in range(10):
            await request.send(b"x" * 10, more=True)
            sent.append(number)

    wire = Wire(streams)
    wire.connection.pause_writing()
    wire.connection._writing_paused = False  # the first is taken
    wire.feed(GET)
    wire.connection.pause_writing()
    await settled()
    before = len(sent)
    assert before < 10
    wire.connection.resume_writing()
    await settled()
    assert 10 == len(sent)


async def test_an_idle_connection_ends_at_once_and_a_busy_one_with_its_answer() -> None:
    go_on = asyncio.Event()

    async def slow(request: Request) -> None:
        await go_on.wait()
        now(request)

    idle, busy = Wire(slow), Wire(slow)
    busy.feed(GET)
    for wire in (idle, busy):
        wire.connection.shutdown()
    assert (True, False) == (idle.closed, busy.closed)
    go_on.set()
    (answer,) = await busy.answers()
    assert "close" == answer[1]["connection"]
    assert busy.closed


def looks(wire: Any, patience: int = 4) -> int:
    """How many looks of the patrol it lasts."""
    for number in range(1, 20):
        wire.connection.check(patience)
        if wire.closed:
            return number
    return 0


@pytest.mark.parametrize(
    ("reason", "sent", "lasts"),
    [
        ("never said a word", b"", 2),
        ("half a head", b"GET / HT", 2),
        ("rests between requests", GET, 5),
        ("half the head of another", GET + b"GET", 2),
        ("half a body, and is answered", post("/", b"12345")[:-1], 2),
    ],
)
async def test_who_stands_still_is_closed(reason: str, sent: bytes, lasts: int) -> None:
    wire = Wire(now)
    wire.feed(sent)
    assert lasts == looks(wire), reason


async def test_who_takes_nothing_of_an_answer_is_closed_and_who_takes_some_is_not() -> None:
    wire, unsent = Wire(now), [1000]
    wire.get_write_buffer_size = lambda: unsent[0]  # type: ignore[method-assign]
    wire.feed(GET)
    for unsent[0] in range(1000, 900, -10):
        wire.connection.check(4)
        assert not wire.closed
    assert 3 == looks(wire)


async def test_a_request_that_is_worked_on_is_left_alone() -> None:
    async def slow(_: Request) -> None:
        await asyncio.Event().wait()

    wire = Wire(slow)
    wire.feed(GET)
    assert 0 == looks(wire)
    wire.hang_up()
    await settled()


async def test_what_is_asked_of_no_path_is_answered_too() -> None:
    wire = Wire(echo)
    wire.feed(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert [("/", "")] == understood(await wire.answers())
