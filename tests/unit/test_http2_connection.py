"""HTTP/2 as a client sees it, frame by frame. What the standard asks for beyond that, `h2spec` has tried (`decisions/0017`)."""

import pytest

from modelward_runtime.http2 import frames
from modelward_runtime.http2 import receiver as http2
from modelward_runtime.http2.connection import Connection, Settings
from modelward_runtime.http2.faults import Code
from modelward_runtime.http2.frames import ACK, END_HEADERS, END_STREAM, PADDED, Setting, Type
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.server import Server
from modelward_runtime.unfinished import Unfinished
from tests import http2_echo
from tests.http2_echo import GREETING, WINDOW
from tests.http2_wire import Transport, Wire, request

BODY = bytes(range(256)) * 16


def update(stream: int, more: int) -> bytes:
    return frames.window_update(stream, more)


def reset_codes(wire: Wire) -> dict[int, int]:
    return {
        number: int.from_bytes(payload, "big") for kind, _, number, payload in wire.hear() if kind == Type.RST_STREAM
    }


def test_a_server_says_first_what_it_allows() -> None:
    wire = Wire(greet=False)
    kind, _, _, payload = wire.hear()[0]
    told = dict(frames.read_settings(payload))
    assert (Type.SETTINGS, WINDOW, http2.MOST_STREAMS, 1 << 16) == (
        kind, told[Setting.INITIAL_WINDOW_SIZE], told[Setting.MAX_CONCURRENT_STREAMS], told[Setting.MAX_HEADER_LIST_SIZE]
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 100, 1 << 20])
def test_an_answer_does_not_depend_on_where_reads_end(size: int) -> None:
    wire, client = Wire(greet=False), Wire(greet=False)
    block = client.encoder.encode((), request())
    sent = (
        frames.PREFACE
        + frames.settings({})
        + frames.frame(Type.HEADERS, END_HEADERS, 1, block)
        + frames.frame(Type.DATA, 0, 1, BODY)
        + frames.frame(Type.PING, 0, 0, b"12345678")
        + frames.frame(Type.DATA, END_STREAM, 1, BODY)
    )
    wire.say(sent, [size] * len(sent))
    assert {1: BODY + BODY} == wire.answers()


def test_padding_and_priority_and_frames_that_nobody_knows_change_nothing() -> None:
    wire = Wire()
    block = wire.encoder.encode((), request())
    wire.say(frames.frame(Type.HEADERS, END_HEADERS | PADDED | 0x20, 1, b"\x03\0\0\0\0\x0f" + block + b"\0" * 3))
    wire.say(frames.frame(Type.PRIORITY, 0, 9, b"\0\0\0\1\2") + frames.frame(0x42, 0, 0, b"what?"))
    wire.say(frames.frame(Type.DATA, END_STREAM | PADDED, 1, b"\x04" + BODY + b"\0" * 4))
    assert {1: BODY} == wire.answers()


def test_a_block_in_parts_is_one() -> None:
    wire = Wire()
    block = wire.encoder.encode((), request())
    wire.say(frames.frame(Type.HEADERS, END_STREAM, 1, block[:9]))
    wire.say(frames.frame(Type.CONTINUATION, 0, 1, block[9:20]))
    wire.say(frames.frame(Type.CONTINUATION, END_HEADERS, 1, block[20:]))
    assert {1: GREETING} == wire.answers()


def test_trailers_end_a_request() -> None:
    wire = Wire()
    wire.say(frames.frame(Type.HEADERS, END_HEADERS, 1, wire.encoder.encode((), request())))
    wire.say(frames.frame(Type.DATA, 0, 1, BODY))
    wire.say(frames.frame(Type.HEADERS, END_HEADERS | END_STREAM, 1, wire.encoder.encode((), ((b"sum", b"0"),))))
    assert {1: BODY} == wire.answers()


def test_a_body_larger_than_the_windows_comes_as_room_is_given() -> None:
    wire = Wire()
    wire.say(frames.frame(Type.HEADERS, END_HEADERS, 1, wire.encoder.encode((), request())))
    wire.say(frames.settings({Setting.INITIAL_WINDOW_SIZE: frames.MOST_WINDOW}) + update(0, 1 << 30))
    room = {0: http2.WINDOW, 1: WINDOW}
    body, sent = bytes(2 * http2.WINDOW), 0
    while sent < len(body):
        for kind, _, number, payload in wire.hear():
            if kind == Type.WINDOW_UPDATE:
                room[number] += int.from_bytes(payload, "big")
        size = min(room[0], room[1], 16384, len(body) - sent)
        assert size > 0, "no more room is given"
        room[0], room[1], sent = room[0] - size, room[1] - size, sent + size
        wire.say(frames.frame(Type.DATA, END_STREAM if sent == len(body) else 0, 1, body[:size]))
    assert {1: body} == wire.answers()


def test_what_is_told_beside_an_answer_goes_out_with_it() -> None:
    wire = Wire()
    writes: list[bytes] = []
    setattr(wire.transport, "write", writes.append)  # noqa: B010  each apart
    ping = frames.frame(Type.PING, 0, 0, b"12345678")
    told = frames.frame(Type.PING, ACK, 0, b"12345678")
    wire.say(ping + frames.frame(Type.HEADERS, END_HEADERS | END_STREAM, 1, wire.encoder.encode((), request())) + ping)
    assert [told, Type.HEADERS, told] == [writes[0][: len(told)], writes[0][len(told) + 3], writes[-1]]
    writes.clear()
    wire.say(ping + ping)
    assert [told + told] == writes, "and where there is none, at once"


def test_an_answer_goes_out_as_the_client_makes_room() -> None:
    wire = Wire()
    wire.say(frames.settings({Setting.INITIAL_WINDOW_SIZE: 100}))
    wire.call(1, body=BODY)
    wire.call(3, body=BODY)
    wire.call(5)  # fits
    sizes = {number: len(payload) for kind, _, number, payload in wire.hear() if kind == Type.DATA}
    assert {1: 100, 3: 100, 5: len(GREETING)} == sizes
    wire.say(update(3, 10))
    assert [(Type.DATA, 3, BODY[100:110])] == [(kind, number, payload) for kind, _, number, payload in wire.hear()]
    wire.say(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
    kinds = [(kind, number) for kind, _, number, _ in wire.hear()]
    assert {(Type.DATA, 1), (Type.HEADERS, 1), (Type.DATA, 3), (Type.HEADERS, 3)} == set(kinds) - {(Type.SETTINGS, 0)}


def test_nothing_is_sent_to_a_client_that_does_not_read() -> None:
    wire = Wire()
    wire.connection.pause_writing()
    wire.call(1, body=BODY * 4)
    assert [Type.HEADERS] == [kind for kind, _, _, _ in wire.hear()]
    wire.connection.resume_writing()
    assert (BODY * 4, {}) == (
        b"".join(payload for kind, _, _, payload in wire.hear() if not kind),
        wire.connection.streams,
    )


def test_a_window_that_was_made_smaller_than_what_is_under_way_opens_again() -> None:
    wire = Wire()
    wire.say(frames.settings({Setting.INITIAL_WINDOW_SIZE: 200}))
    wire.call(1, body=BODY)
    wire.say(frames.settings({Setting.INITIAL_WINDOW_SIZE: 50}))
    wire.hear()
    wire.say(update(1, 150))
    assert not wire.hear()
    wire.say(update(1, 7))
    assert [7] == [len(payload) for kind, _, _, payload in wire.hear() if kind == Type.DATA]


def test_an_early_answer_ends_what_the_client_still_sends() -> None:
    wire = Wire()
    wire.say(frames.frame(Type.HEADERS, END_HEADERS, 1, wire.encoder.encode((), request(b"/refuse"))))
    assert {1: Code.NO_ERROR} == reset_codes(wire)
    wire.say(frames.frame(Type.DATA, END_STREAM, 1, BODY))  # was under way
    wire.call(3, body=BODY)
    assert {3: BODY} == wire.answers()


def test_who_gives_up_is_told_to_the_application_and_to_nobody_else() -> None:
    wire = Wire()
    http2_echo.events.clear()
    wire.call(1, b"/wait")
    wire.say(frames.reset(1, Code.CANCEL))
    wire.call(3, b"/wait")
    wire.connection.connection_lost(None)
    assert ["opened /wait", "lost /wait", "opened /wait", "lost /wait"] == http2_echo.events
    assert not [frame for frame in wire.hear() if frame[0] == Type.RST_STREAM]


# ── how a client leaves ───────────────────────────────────────────────────────────────────────────────────────────────


def test_who_is_asked_to_leave_loses_no_call() -> None:
    wire = Wire()
    wire.call(1, b"/wait")
    wire.connection.ask_to_leave()
    (_, _, _, farewell), ping = wire.hear()
    assert (frames.LAST_STREAM, Type.PING) == (int.from_bytes(farewell[:4], "big"), ping[0])
    wire.call(3, body=BODY)  # had not heard it yet
    assert {3: BODY} == wire.answers()
    wire.say(frames.frame(Type.PING, ACK, 0, ping[3]))
    ((kind, _, _, payload),) = wire.hear()
    assert (Type.GOAWAY, 3) == (kind, int.from_bytes(payload[:4], "big"))
    wire.call(5)  # must not any more: sent again, on another connection, it is answered
    assert {5: Code.REFUSED_STREAM} == reset_codes(wire)
    wire.say(frames.reset(1, Code.CANCEL))
    assert not wire.transport.closed, "it may not have read its last answer"
    wire.steps[-1]()
    assert wire.transport.closed


def test_who_does_not_answer_the_farewell_is_given_a_second() -> None:
    wire = Wire()
    wire.connection.ask_to_leave()
    assert not wire.transport.closed
    wire.steps[0]()
    wire.transport.waiting = 1
    wire.steps[1]()
    assert not wire.transport.closed, "something is still to be sent"
    wire.transport.waiting = 0
    wire.steps[2]()
    assert wire.transport.closed


def test_a_server_looks_after_its_connections() -> None:
    server = Server(http2_echo.Echo, Settings(), age=1000)
    clock = [0.0]
    server.now = lambda: clock[0]
    made: dict[str, tuple[Connection, Transport]] = {}
    for name in ("never greets", "never ends its fields", "says nothing", "answers"):
        connection, transport = Connection(server, http2_echo.Echo, Settings()), Transport()
        connection.connection_made(transport)
        made[name] = connection, transport
        if name != "never greets":
            say(connection, frames.PREFACE + frames.settings({}))
    ended: dict[str, float] = {}
    for second in range(1, 140):
        clock[0] = float(second)
        if second % 3 == 0:
            say(
                made["never ends its fields"][0],
                frames.frame(Type.HEADERS if second == 3 else Type.CONTINUATION, 0, 1, b""),
            )
        server.look_after(clock[0])
        for name, (connection, transport) in made.items():
            if transport.aborted:
                ended.setdefault(name, clock[0])
            elif b"anybody?" in transport.written and name == "answers":
                transport.written.clear()
                say(connection, frames.frame(Type.PING, ACK, 0, b"anybody?"))
    assert {"never greets": 11, "never ends its fields": 14, "says nothing": 81} == ended


def test_fields_that_do_not_end_are_bounded_over_all_clients_and_others_are_answered() -> None:
    server = Server(http2_echo.Echo, Settings())
    server.unfinished = Unfinished(100_000)
    part = b"\0\x01a\x7f\xff\xff\x7f" + b"x" * 16_000
    begun: list[tuple[Connection, Transport]] = []
    for _ in range(4):
        connection, transport = Connection(server, http2_echo.Echo, Settings()), Transport()
        connection.connection_made(transport)
        begun.append((connection, transport))
        say(connection, frames.PREFACE + frames.settings({}))
        say(connection, frames.frame(Type.HEADERS, 0, 1, part))
        say(connection, frames.frame(Type.CONTINUATION, 0, 1, part))
        say(connection, frames.frame(Type.CONTINUATION, 0, 1, part)[:-1])
    assert [False, False, True, True] == [transport.aborted for _, transport in begun]
    for connection, _ in begun[2:]:
        connection.connection_lost(None)
    wire = Wire()
    wire.connection._server = server
    wire.call(1)
    assert {1: GREETING} == wire.answers()
    for connection, _ in begun[:2]:
        connection.connection_lost(None)
    assert server.unfinished.held == 0


def say(connection: Connection, data: bytes) -> None:
    if not connection.closing:
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))


# ── what a client may not ─────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_http2_is_told_so() -> None:
    wire = Wire(greet=False)
    wire.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (Code.PROTOCOL_ERROR, True) == (wire.goaway, wire.transport.closed)


BROKEN = [
    ("settings come first", False, frames.frame(Type.PING, 0, 0, b"12345678"), Code.PROTOCOL_ERROR),
    ("a body of no stream", True, frames.frame(Type.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    ("a body of a stream that is not open", True, frames.frame(Type.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    ("a stream with an even number", True, frames.frame(Type.HEADERS, END_HEADERS, 2, b"\x82"), Code.PROTOCOL_ERROR),
    ("fields that are no HPACK", True, frames.frame(Type.HEADERS, END_HEADERS, 1, b"\xff"), Code.COMPRESSION_ERROR),
    ("a continuation of nothing", True, frames.frame(Type.CONTINUATION, 4, 1, b""), Code.PROTOCOL_ERROR),
    (
        "a frame within a block",
        True,
        frames.frame(Type.HEADERS, 0, 1, b"\x82") + frames.frame(Type.PING, 0, 0, b"12345678"),
        Code.PROTOCOL_ERROR,
    ),
    ("padding longer than its frame", True, frames.frame(Type.HEADERS, 12, 1, b"\x09\x82"), Code.PROTOCOL_ERROR),
    ("a push", True, frames.frame(Type.PUSH_PROMISE, 4, 1, b""), Code.PROTOCOL_ERROR),
    ("half a setting", True, frames.frame(Type.SETTINGS, 0, 0, b"1234"), Code.FRAME_SIZE_ERROR),
    ("a window beyond all", True, update(0, frames.MOST_WINDOW), Code.FLOW_CONTROL_ERROR),
    ("a frame larger than we take", True, frames.head(Type.DATA, 0, 1, (1 << 24) - 1), Code.FRAME_SIZE_ERROR),
    ("fields larger than we take", True, frames.head(Type.HEADERS, 4, 1, 1 << 19), Code.ENHANCE_YOUR_CALM),
    ("a reset of no stream", True, frames.reset(1, 0), Code.PROTOCOL_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "greet", "sent", "code"), BROKEN)
def test_who_breaks_the_connection_is_told_why(reason: str, greet: bool, sent: bytes, code: Code) -> None:
    wire = Wire(greet=greet)
    if not greet:
        wire.say(frames.PREFACE)
    wire.say(sent)
    assert (code, True) == (wire.goaway, wire.transport.closed)


MALFORMED = [
    ("no path", ((b":method", b"POST"), (b":scheme", b"http"))),
    ("an empty path", ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b""))),
    ("a pseudo-field twice", (*request(), (b":path", b"/"))),
    ("one behind others", (*request(), (b"a", b"b"), (b":authority", b"a"))),
    ("one that is an answer's", (*request(), (b":status", b"200"))),
    ("a name in capitals", request(b"/", (b"A", b"b"))),
    ("a name with a space", request(b"/", (b"a b", b"c"))),
    ("a value with a line's end", request(b"/", (b"a", b"b\r\nc: d"))),
    ("a field of HTTP/1.1's", request(b"/", (b"transfer-encoding", b"chunked"))),
    ("a length that is none", request(b"/", (b"content-length", b"-1"))),
    ("two lengths", request(b"/", (b"content-length", b"1"), (b"content-length", b"2"))),
]


@pytest.mark.parametrize(("reason", "fields"), MALFORMED)
def test_a_malformed_request_is_reset_and_the_others_go_on(reason: str, fields: Fields) -> None:
    wire = Wire()
    wire.say(frames.frame(Type.HEADERS, END_HEADERS | END_STREAM, 1, wire.encoder.encode((), fields)))
    assert {1: Code.PROTOCOL_ERROR} == reset_codes(wire)
    wire.call(3)
    assert {3: GREETING} == wire.answers()


@pytest.mark.parametrize("body", [b"12", b"1234"])
def test_a_body_has_the_length_that_was_announced(body: bytes) -> None:
    wire = Wire()
    wire.call(1, b"/", body, (b"content-length", b"3"))
    assert {1: Code.PROTOCOL_ERROR} == reset_codes(wire)


def test_a_body_beyond_its_window_is_reset() -> None:
    wire = Wire()
    wire.say(frames.frame(Type.HEADERS, END_HEADERS, 1, wire.encoder.encode((), request(b"/wait"))))
    wire.connection.streams[1].allowance = 10
    wire.say(frames.frame(Type.DATA, 0, 1, b"x" * 11))
    assert {1: Code.FLOW_CONTROL_ERROR} == reset_codes(wire)


def test_fields_that_are_too_many_are_the_streams_fault_and_not_the_connections() -> None:
    wire = Wire()
    wire.call(1, b"/", None, *[(b"x-%d" % place, b"v" * 900) for place in range(80)])
    (_, flags, number, block) = wire.hear()[0]
    assert (END_HEADERS | END_STREAM, 1, ((b":status", b"431"),)) == (flags, number, wire.decoder.decode(block))
    wire.call(3)
    assert {3: GREETING} == wire.answers()


def test_a_block_without_an_end_ends_the_connection() -> None:
    wire = Wire()
    wire.say(frames.frame(Type.HEADERS, END_STREAM, 1, b""))
    for _ in range(40):
        wire.say(frames.frame(Type.CONTINUATION, 0, 1, b""))
    assert Code.ENHANCE_YOUR_CALM == wire.goaway


def test_more_calls_than_allowed_are_refused_one_by_one() -> None:
    wire = Wire()
    for place in range(http2.MOST_STREAMS + 2):
        wire.call(2 * place + 1, b"/wait")
    most = 2 * http2.MOST_STREAMS
    assert {most + 1: Code.REFUSED_STREAM, most + 3: Code.REFUSED_STREAM} == reset_codes(wire)


def test_calls_that_were_given_up_count_as_long_as_they_are_worked_on() -> None:
    wire = Wire()
    wire.connection.working = http2.MOST_STREAMS
    wire.call(1)
    assert {1: Code.REFUSED_STREAM} == reset_codes(wire)


def test_who_resets_everything_is_sent_away() -> None:
    wire = Wire()
    number = 1
    while not wire.transport.closed:
        assert number < 5000
        wire.call(number, b"/wait")
        wire.say(frames.reset(number, Code.CANCEL))
        number += 2
    assert Code.ENHANCE_YOUR_CALM == wire.goaway


def test_who_resets_some_of_many_calls_is_not() -> None:
    wire = Wire()
    for number in range(1, 6001, 4):
        wire.call(number)
        wire.call(number + 2, b"/wait")
        wire.say(frames.reset(number + 2, Code.CANCEL))
        wire.hear()
    assert not wire.transport.closed


def test_who_asks_and_does_not_read_is_cut_off() -> None:
    wire = Wire()
    wire.connection.pause_writing()
    wire.transport.waiting = 1 << 20
    wire.say(frames.frame(Type.PING, 0, 0, b"12345678"))
    assert not wire.transport.aborted
    wire.transport.waiting = 3 << 20
    wire.say(frames.frame(Type.PING, 0, 0, b"12345678"))
    assert wire.transport.aborted
