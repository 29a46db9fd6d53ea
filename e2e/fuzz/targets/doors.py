"""What a caller says about itself: the `authorization` header, and the token in it. Nothing of it is believed before it is verified."""

import base64
import json

from e2e.fuzz.target import target
from modelward_runtime.access.bearer import MOST_BYTES, NoToken, find_token
from modelward_runtime.access.identity import Refusal
from modelward_runtime.access.jose import expiry, take_apart
from modelward_runtime.grpc_head import read_head


def _segment(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


_TOKEN = b".".join(
    [_segment({"alg": "ES256", "kid": "1"}), _segment({"iss": "a", "exp": 2000000000, "aud": ["b"]}), b"c2ln"]
)


@target(
    "bearer",
    seeds=[b"Bearer " + _TOKEN, b"bearer  abc==", b"Basic abc", b""],
    words=[b"Bearer ", b",", b" ", b"=", b"\xff"],
    runs=1500,
)
def read_header(data: bytes) -> None:
    """A header holds one token of plain characters, or none."""
    try:
        token = find_token(data)
    except NoToken:
        return
    assert 0 < len(token) <= MOST_BYTES
    assert not set(token) & set(b' ,;"\r\n\t\0')
    assert data.lower().startswith(b"bearer ")
    assert (
        find_token(read_head(((b":method", b"POST"), (b":path", b"/"), (b"authorization", data))).authorization)
        == token
    )


_WORDS = [
    _segment({"exp": 1e400}),
    _segment({"exp": True}),
    _segment([]),
    b".",
    b"..",
    b"eyJ",
    _segment({"a": [[[[]]]]}),
    base64.urlsafe_b64encode(b"[" * 3000),
]


@target("jose", seeds=[_TOKEN, b"..", b"e30.e30."], words=_WORDS, runs=2000)
def take_token_apart(data: bytes) -> None:
    """A token is refused, or two objects that Python's JSON reads alike; its expiry is a time or refused."""
    try:
        parts = take_apart(data)
        until = expiry(parts.claims)
    except Refusal:
        return
    header, claims, _ = data.split(b".")
    for segment, found in ((header, parts.header), (claims, parts.claims)):
        assert json.loads(base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))) == found
    assert until is None or 0 <= until < 1e11
