"""Any bytes as `authorization`, any segments as a token: refused or taken apart, and nothing else ever happens."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime.access.bearer import MOST_BYTES, NoToken, find_token
from modelward_runtime.access.identity import Refusal
from modelward_runtime.access.jose import expiry, take_apart

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


def segment(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


@given(st.binary() | st.binary().map(lambda rest: b"Bearer " + rest))
def test_any_header_is_a_token_of_plain_characters_or_none(authorization: bytes) -> None:
    try:
        token = find_token(authorization)
    except NoToken:
        return
    assert token
    assert len(token) <= MOST_BYTES
    assert not set(token) & set(b' ,;"\r\n\t\0')
    assert authorization.lower().startswith(b"bearer ")


@given(st.binary() | st.lists(st.binary(), min_size=3, max_size=3).map(b".".join))
def test_any_bytes_are_refused_or_two_objects(token: bytes) -> None:
    try:
        parts = take_apart(token)
    except Refusal:
        return
    assert isinstance(parts.header, dict)
    assert isinstance(parts.claims, dict)


@given(OBJECTS, OBJECTS)
def test_what_was_said_once_is_read_as_it_was_said(header: dict[str, Any], claims: dict[str, Any]) -> None:
    parts = take_apart(b".".join([segment(header), segment(claims), b""]))
    assert header == parts.header
    assert claims == parts.claims


@given(OBJECTS.filter(bool), VALUES)
def test_what_is_said_twice_is_refused_at_any_depth(claims: dict[str, Any], value: Any) -> None:
    name = json.dumps(next(iter(claims)))
    text = f'{{"deep": [{json.dumps(claims)[:-1]}, {name}: {json.dumps(value)}}}]}}'
    said = base64.urlsafe_b64encode(text.encode()).rstrip(b"=")
    try:
        take_apart(b".".join([segment({}), said, b""]))
    except Refusal:
        return
    raise AssertionError(text)


@given(VALUES)
def test_an_expiry_is_a_time_or_refused(value: Any) -> None:
    try:
        found = expiry({"exp": value})
    except Refusal:
        return
    assert found is None if value is None else 0 <= (found or 0) < 1e11
