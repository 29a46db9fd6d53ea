"""What is told of a gRPC message by its beginning, wherever that is cut; and messages that are too large, as they pass."""

import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime.activator.framing import INFERENCE, LOOKED_AT, Asked, Sizes, read_names
from modelward_runtime.errors import ApiError, BadRequest, BodyTooLarge, UnsupportedMedia
from modelward_runtime.proto import inference_pb2 as pb

LIMIT = 1 << 20


def framed(content: bytes, *, packed: bool = False) -> bytes:
    return bytes([packed]) + len(content).to_bytes(4, "big") + content


def told(sent: bytes, kind: str = INFERENCE, packing: str = "identity") -> Asked:
    """By as little of it as is enough; more of it must not tell anything else."""
    answers = [read_names(sent[:size], kind, packing, LIMIT, ended=size == len(sent)) for size in range(len(sent) + 1)]
    known = [answer for answer in answers if answer is not None]
    assert answers[-1] is not None
    assert {known[0]} == set(known)
    return known[0]


def infers(name: str, version: str, raw: bytes) -> bytes:
    """As protobuf writes it."""
    return bytes(
        pb.ModelInferRequest(
            model_name=name,
            model_version=version,
            id="7",
            raw_input_contents=[raw],
            parameters={"a": pb.InferParameter(int64_param=1)},
        ).SerializeToString()
    )


@pytest.mark.parametrize("size", [0, 1, 200, 3 * LOOKED_AT])
@pytest.mark.parametrize("version", ["", "1", "v" * 200])
@pytest.mark.parametrize("packing", ["identity", "gzip", "deflate"])
def test_a_model_is_known_by_the_beginning_of_a_message(size: int, version: str, packing: str) -> None:
    content = infers("fraud", version, bytes(size))
    packed = {"identity": None, "gzip": gzip.compress(content), "deflate": zlib.compress(content)}[packing]
    sent = framed(content) if packed is None else framed(packed, packed=True)
    assert Asked("fraud", version) == told(sent, packing=packing)


def test_other_methods_messages_name_it_likewise() -> None:
    for kind in ("ModelReadyRequest", "ModelMetadataRequest"):
        message = getattr(pb, kind)(name="fraud", version="2")
        assert Asked("fraud", "2") == told(framed(message.SerializeToString()), kind)


def test_what_is_not_named_first_is_known_of_a_short_message_and_of_a_long_one_left_to_the_pod() -> None:
    late = b"\x1a\x017" + b"\x0a\x05fraud"  # the id stands before the name
    assert Asked("fraud", "") == told(framed(late))
    long = framed(b"\x1a\x017" + b"\x3a\x80\x40" + bytes(8192) + b"\x0a\x05fraud")
    assert Asked(None, "") == read_names(long, INFERENCE, "identity", LIMIT, ended=True)
    assert Asked("", "") == told(framed(b""))


@pytest.mark.parametrize(
    ("reason", "sent", "packing", "error"),
    [
        ("no message", b"", "identity", BadRequest),
        ("half a prefix", b"\0\0", "identity", BadRequest),
        ("a prefix that is none", b"\2\0\0\0\1x", "identity", BadRequest),
        ("half a message", b"\0\0\0\0\2x", "identity", BadRequest),
        ("no protobuf", framed(b"\x0b\x0b"), "identity", BadRequest),
        ("over the limit", framed(b"x")[:1] + (LIMIT + 1).to_bytes(4, "big"), "identity", BodyTooLarge),
        ("packed nobody knows how", framed(b"x", packed=True), "br", UnsupportedMedia),
        ("packed, and no gzip", framed(b"xxxx", packed=True), "gzip", BadRequest),
        ("half of what was packed", framed(gzip.compress(bytes(9), mtime=0)[:-9], packed=True), "gzip", BadRequest),
        ("a name that is no text", framed(b"\x0a\x01\xff" + b"\x1a\x80\x40" + bytes(8192)), "identity", BadRequest),
    ],
)
def test_what_is_no_message_is_an_error_of_the_callers(reason: str, sent: bytes, packing: str, error: type) -> None:
    with pytest.raises(error):
        read_names(sent, INFERENCE, packing, LIMIT, ended=True)


def test_what_unfolds_is_unpacked_no_further_than_it_is_looked_at() -> None:
    sent = framed(gzip.compress(infers("fraud", "", bytes(64 << 20))), packed=True)
    assert len(sent) > LOOKED_AT
    assert Asked("fraud", "") == read_names(sent[: 2 * LOOKED_AT], INFERENCE, "gzip", LIMIT, ended=False)


@given(st.lists(st.integers(0, 40), max_size=6), st.lists(st.integers(1, 30), max_size=60))
def test_messages_are_measured_wherever_they_are_cut(sizes: list[int], cuts: list[int]) -> None:
    sent = b"".join(framed(bytes(size)) for size in sizes)
    outcome: Any = None
    passing, place = Sizes(32), 0
    try:
        for cut in [*cuts, len(sent) + 1]:
            passing.check(sent[place : place + cut])
            place += cut
    except ApiError as error:
        outcome = type(error)
    assert (BodyTooLarge if any(size > 32 for size in sizes) else None) is outcome
