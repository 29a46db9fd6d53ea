"""What `Accept-Encoding` asks for, in all the ways that RFC 9110 lets it be said."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime.packing import LEAST_BYTES, least_packed, pack


@pytest.mark.parametrize(
    ("accepted", "least"),
    [
        ("gzip", LEAST_BYTES),
        ("x-gzip", LEAST_BYTES),
        ("GZip, deflate, br", LEAST_BYTES),
        ("gzip;q=0.001", LEAST_BYTES),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", LEAST_BYTES),
        (" deflate ,\tgzip ; q=1.000 ", LEAST_BYTES),
        ("*", LEAST_BYTES),
        ("gzip;level=9;q=0.5", LEAST_BYTES),
        ("gzip;q=0.5, identity;q=0.5", LEAST_BYTES),
        ("gzip, identity;q=0", 0),
        ("gzip, *;q=0", 0),
        ("identity;q=0.0, *;q=0.5", 0),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("identity", None),
        ("", None),
        (",,", None),
        ("br, deflate", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, *", None),
        ("*;q=0", None),
        ("gzip;q=2", None),
        ("gzip;q=-1", None),
        ("gzip;q=nan", None),
        ("gzip;q=", None),
        ("gzip;q=0.0001", None),
        ("gzip;q=1e0", None),
        ("zgzip", None),
    ],
)
def test_when_an_answer_is_packed(accepted: str, least: int | None) -> None:
    assert least == least_packed(accepted.encode())


@given(st.binary(max_size=80) | st.text(alphabet="gzip*;q=0.15, \t", max_size=40).map(str.encode))
def test_any_bytes_are_a_wish_or_none(accepted: bytes) -> None:
    assert least_packed(accepted) in {None, 0, LEAST_BYTES}


@pytest.mark.parametrize("size", [0, 1, 5000, 1 << 20])
async def test_what_is_packed_is_gzip_and_the_same_each_time(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert body == gzip.decompress(await pack(body))
    assert await pack(body) == await pack(body)
