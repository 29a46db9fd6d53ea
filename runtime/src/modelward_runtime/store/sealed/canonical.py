"""JSON with one spelling: what `manifest.json` and `keys.json` are written in and held to.

Keys sorted, no white space, ASCII only, no newline at the end. A reader writes what it understood again and compares the bytes, so
that a duplicate key, white space, another escape or a byte-order mark is refused without a rule of its own.
"""

import json
from typing import Any, TypeVar

import msgspec

from modelward_runtime.store.sealed.refusals import seal_invalid

T = TypeVar("T")


def encode(value: Any) -> bytes:  # noqa: ANN401  any record of plain JSON types
    """The one spelling of a record."""
    plain = msgspec.to_builtins(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def decode(content: bytes, kind: type[T], name: str) -> T:
    """The record in these bytes; LoadError SealInvalid says what is wrong with the file `name`."""
    try:
        record = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # a ValidationError is a DecodeError
        raise seal_invalid(f"{name} is not of the format: {error}") from None
    if encode(record) != content:
        raise seal_invalid(
            f"{name} is not canonical JSON (keys sorted and unique, no white space, ASCII): it was changed after it was sealed"
        )
    return record
