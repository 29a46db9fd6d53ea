"""Whatever a client sends: no exception leaves a connection, what is open is known, and what has ended is told once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.http2 import frames
from modelward_runtime.http2.frames import Type
from modelward_runtime.http2.hpack import Encoder
from tests import http2_echo
from tests.http2_wire import Wire, request

BLOCKS = [Encoder().encode((), request(path)) for path in (b"/", b"/wait", b"/refuse")]
numbers = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7])
payloads = st.sampled_from([*BLOCKS, b"", b"12345678", b"\0\0\0\1", b"\x82", b"\0\4\0\0\0\0", b"x" * 100]) | st.binary(
    max_size=12
)
flags = st.sampled_from([0, 1, 4, 4, 5, 5, 8, 0x20, 0x2D, 0xFF])
single = st.builds(frames.frame, st.sampled_from(list(Type)) | st.integers(0, 12), flags, numbers, payloads)
openings = st.builds(
    frames.frame,
    st.just(Type.HEADERS),
    st.sampled_from([4, 5]),
    st.sampled_from([1, 3, 5, 7, 9]),
    st.sampled_from(BLOCKS),
)
updates = st.builds(frames.window_update, numbers, st.integers(0, 1 << 20))
bodies = st.builds(frames.frame, st.just(Type.DATA), st.sampled_from([0, 1]), numbers, st.binary(max_size=50))
sessions = st.lists(single | openings | updates | bodies, max_size=12).map(b"".join)


@settings(max_examples=400)
@given(sessions | st.binary(max_size=60), st.lists(st.integers(1, 40), max_size=20))
def test_any_bytes(data: bytes, sizes: list[int]) -> None:
    http2_echo.events.clear()
    wire = Wire()
    wire.say(data, sizes)
    wire.connection.connection_lost(None)
    assert not wire.connection.streams
    opened = sum(event.startswith("opened") for event in http2_echo.events)
    assert sum(event.startswith("lost") for event in http2_echo.events) <= opened
    wire.hear()  # what was sent are whole frames


@settings(max_examples=100)
@given(sessions)
def test_a_good_call_is_answered_after_anything_that_did_not_end_the_connection(data: bytes) -> None:
    wire = Wire()
    wire.say(data)
    if (
        wire.transport.closed or wire.connection.receiver.most < frames.LAST_STREAM
    ):  # who says goodbye opens nothing any more
        return
    if not (wire.connection.reader.between and wire.connection.receiver.between):
        return
    wire.say(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 1 << 20}) + frames.window_update(0, 1 << 20))
    wire.hear()
    block = Encoder().encode((), request())
    wire.say(frames.frame(Type.HEADERS, 4, 101, block) + frames.frame(Type.DATA, 1, 101, b"well"))
    assert b"well" == b"".join(
        payload for kind, _, number, payload in wire.hear() if (kind, number) == (Type.DATA, 101)
    )
