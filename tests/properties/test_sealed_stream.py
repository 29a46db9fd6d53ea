"""Our streams are Tink's AES256-GCM-HKDF-1MB: Tink opens what we write, we open what Tink writes, at every size around a border."""

import pytest
import tink
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.store.sealed import stream
from tests import tink_streams
from tests.sealed_folders import random_like

KEY = bytes(range(32))
BORDERS = [
    0,
    1,
    stream.FIRST_PLAIN_SEGMENT - 1,
    stream.FIRST_PLAIN_SEGMENT,
    stream.FIRST_PLAIN_SEGMENT + 1,
    stream.FIRST_PLAIN_SEGMENT + stream.PLAIN_SEGMENT - 1,
    stream.FIRST_PLAIN_SEGMENT + stream.PLAIN_SEGMENT,
    stream.FIRST_PLAIN_SEGMENT + stream.PLAIN_SEGMENT + 1,
    stream.FIRST_PLAIN_SEGMENT + 3 * stream.PLAIN_SEGMENT + 17,
]
sizes = st.sampled_from(BORDERS) | st.integers(0, 3 * stream.SEGMENT)


def plaintext(size: int) -> bytes:
    return random_like("plaintext")(size)


def encrypt(content: bytes, associated_data: bytes, piece: int) -> bytes:
    out = bytearray()
    encryptor = stream.Encryptor(KEY, associated_data, out.extend)
    for start in range(0, len(content), piece):
        encryptor.write(content[start : start + piece])
    encryptor.finish()
    return bytes(out)


def decrypt(ciphertext: bytes, associated_data: bytes, size: int) -> bytes:
    cipher = stream.StreamCipher(KEY, associated_data, ciphertext[: stream.HEADER])
    out = bytearray(size)
    for number in range(stream.segments(size)):
        place = stream.segment(number, size)
        with memoryview(out)[place.plain_start : place.plain_end] as target:
            cipher.decrypt_into(place, memoryview(ciphertext)[place.start : place.end], target)
    return bytes(out)


@pytest.mark.parametrize("size", BORDERS)
def test_both_ways_at_every_border(size: int) -> None:
    content = plaintext(size)
    ours = encrypt(content, b"bound", 1 << 19)
    theirs = tink_streams.encrypt(KEY, b"bound", content)
    assert len(ours) == len(theirs) == stream.ciphertext_size(size)
    assert tink_streams.decrypt(KEY, b"bound", ours) == content
    assert decrypt(theirs, b"bound", size) == content


@given(sizes, st.binary(max_size=64), st.integers(1 << 15, 3 << 20))
@settings(max_examples=15)
def test_both_ways_at_any_size_and_however_it_is_written(size: int, associated_data: bytes, piece: int) -> None:
    content = plaintext(size)
    assert tink_streams.decrypt(KEY, associated_data, encrypt(content, associated_data, piece)) == content
    assert decrypt(tink_streams.encrypt(KEY, associated_data, content), associated_data, size) == content


def test_tink_refuses_ours_for_other_associated_data() -> None:
    with pytest.raises(tink.TinkError):
        tink_streams.decrypt(KEY, b"another", encrypt(b"model", b"bound", 10))


@given(st.integers(0, 1 << 40))
def test_segments_lie_end_to_end_and_cover_everything(size: int) -> None:
    count = stream.segments(size)
    numbers = sorted({0, 1, count // 2, count - 2, count - 1} & set(range(count)))
    places = {number: stream.segment(number, size) for number in numbers}
    assert (places[0].start, places[0].plain_start) == (stream.HEADER, 0)
    assert (places[count - 1].end, places[count - 1].plain_end) == (stream.ciphertext_size(size), size)
    for number, place in places.items():
        assert place.is_last == (number == count - 1)
        assert place.end - place.start - stream.TAG == place.plain_end - place.plain_start
        if number + 1 in places:
            assert place.end == places[number + 1].start == (number + 1) * stream.SEGMENT
            assert place.plain_end == places[number + 1].plain_start
