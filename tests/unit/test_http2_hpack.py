"""HPACK: the examples of RFC 7541, appendix C, what may be sent instead of a block, and our own blocks read by our own reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime.http2 import huffman
from modelward_runtime.http2.faults import ConnectionFault
from modelward_runtime.http2.hpack import Decoder, Encoder, Fields, FieldsTooLarge

EXAMPLES = {
    "C.2.1 a literal that is kept": ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"],
    "C.2.2 one that is not": ["040c2f73616d706c652f70617468"],
    "C.2.4 an index": ["82"],
    "C.4 requests in Huffman's code": [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
    "C.6 answers in it": [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    ],
}
READ = {
    "C.2.1 a literal that is kept": [[("custom-key", "custom-header")]],
    "C.2.2 one that is not": [[(":path", "/sample/path")]],
    "C.2.4 an index": [[(":method", "GET")]],
    "C.4 requests in Huffman's code": [
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com"), ("cache-control", "no-cache")],
        [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), (":authority", "www.example.com"),
         ("custom-key", "custom-value")],
    ],
    "C.6 answers in it": [
        [(":status", "302"), ("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:21 GMT"), ("location", "https://www.example.com")],
    ],
}  # fmt: skip


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_the_examples_of_the_standard(example: str) -> None:
    decoder = Decoder(1 << 16)
    found = [decoder.decode(bytes.fromhex(block)) for block in EXAMPLES[example]]
    assert READ[example] == [[(name.decode(), value.decode()) for name, value in fields] for fields in found]


BROKEN = [
    ("an index of nothing", "80"),
    ("one beyond the table", "be"),
    ("a number without an end", "ffffffffffff"),
    ("a number that is cut", "ff"),
    ("a string that is cut", "400a6375"),
    ("a name without a value", "400161"),
    ("a table larger than ours", "3fe21f"),
    ("a resized table behind a field", "8220"),
    ("Huffman's end within a text", "408461ffffffff"),
    ("padding of zeros", "4081007f"),
    ("more than a byte of padding", "408365ffffff00"),
]


@pytest.mark.parametrize(("reason", "block"), BROKEN)
def test_what_cannot_be_read_ends_the_connection(reason: str, block: str) -> None:
    with pytest.raises(ConnectionFault):
        Decoder(1 << 16).decode(bytes.fromhex(block))


def test_a_list_is_bounded_though_its_block_is_short_and_the_table_stays_right() -> None:
    decoder = Decoder(4096)
    decoder.decode(b"\x40\x01a\x7f\xa9\x1e" + b"v" * 4008)  # nearly all of the table
    with pytest.raises(FieldsTooLarge):
        decoder.decode(b"\xbe" * 60000 + b"\x40\x01b\x01c")
    assert ((b"b", b"c"),) == decoder.decode(b"\xbe")


def test_the_same_block_means_something_else_once_the_table_has_changed() -> None:
    decoder = Decoder(1 << 16)
    decoder.decode(b"\x40\x01a\x01b")
    assert ((b"a", b"b"),) == decoder.decode(b"\xbe") == decoder.decode(b"\xbe")
    decoder.decode(b"\x40\x01c\x01d")
    assert ((b"c", b"d"),) == decoder.decode(b"\xbe")


fields = st.lists(st.tuples(st.sampled_from([b"a", b"bc", b"x-d"]), st.binary(max_size=300)), max_size=4).map(tuple)
OURS = ((b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0"))


@given(st.lists(st.tuples(st.lists(st.sampled_from(OURS), max_size=3).map(tuple), fields), max_size=6), st.booleans())
def test_our_blocks_are_read_as_they_were_meant(blocks: list[tuple[Fields, Fields]], small: bool) -> None:
    encoder, decoder = Encoder(), Decoder(1 << 20)
    for place, (repeated, others) in enumerate(blocks):
        if small and place == 2:
            encoder.limit(0)
        assert repeated + others == decoder.decode(encoder.encode(repeated, others))


def test_what_is_always_the_same_takes_a_byte_from_the_second_time_on() -> None:
    encoder = Encoder()
    encoder.encode(OURS)
    assert 3 == len(encoder.encode(OURS))


def test_a_client_without_a_table_is_told_so_once_and_gets_literals() -> None:
    encoder = Encoder()
    encoder.limit(0)
    first, second = encoder.encode(OURS), encoder.encode(OURS)
    assert (b"\x20", len(first) - 1) == (first[:1], len(second))


def encode_huffman(text: bytes) -> bytes:
    """By the codes, written out."""
    by_symbol = {symbol: f"{code:0{length}b}" for symbol, code, length in huffman.codes()}
    bits = "".join(by_symbol[byte] for byte in text)
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


@given(st.binary(max_size=60))
def test_every_text_has_a_code(text: bytes) -> None:
    assert text == huffman.decode(encode_huffman(text))


def test_the_code_is_complete() -> None:
    """Kraft's sum is one, and each symbol is there once: no sequence of bits is without a meaning."""
    known = list(huffman.codes())
    assert list(range(257)) == sorted(symbol for symbol, _, _ in known)
    assert 1 << 30 == sum(1 << (30 - length) for _, _, length in known)


@pytest.mark.parametrize(
    ("reason", "bits"),
    [
        ("eight ones", "00000" + "111" + "1" * 8),
        ("a zero among them", "00000" + "101"),
        ("the end's own symbol", "1" * 32),
        ("nothing but ones", "1" * 8),
    ],
)
def test_a_text_ends_with_less_than_a_byte_of_ones(reason: str, bits: str) -> None:
    with pytest.raises(huffman.BadHuffman):
        huffman.decode(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert b"0" == huffman.decode(b"\x07")
