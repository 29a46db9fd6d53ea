"""Reads lines of the chain again: strictly, for `verify.py`, and quickly, for heads and reports.

The hash covers the line's bytes, so nothing is ever written anew to compare it. It must not judge a chain: that is `verify.py`.
"""

import hashlib
import re
from typing import Final, Literal

import msgspec

from modelward_runtime.audit.chain import TYPE
from modelward_runtime.audit.records import Head

_END: Final = re.compile(rb',"hash":"([0-9a-f]{64})"(?:,"signature":"([0-9a-f]{128})")?\}\Z')
_LONGEST_END: Final = 256
_ANY_END: Final = re.compile(_END.pattern.removesuffix(rb"\Z"))
_OPENING: Final = b'{"specversion":"1.0","id":"'
_BEGINNING: Final = re.compile(re.escape(_OPENING) + rb'(\d{1,18})","source":"([^"\\]{1,600})"')
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z")
_SOURCE: Final = re.compile(
    r"/pods/[A-Za-z0-9-]{1,128}/boots/[A-Za-z0-9-]{1,64}\Z"
)  # what is printed holds no surprise


class _Attributes(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    time: str
    previous: str
    data: msgspec.Raw


class Link(msgspec.Struct, frozen=True, gc=False):
    """One record as the chain sees it; `kind` is the type without its common beginning."""

    number: int
    source: str
    kind: str
    time: str
    previous: str
    data: msgspec.Raw
    hash: str
    signature: bytes


class NotARecord(Exception):
    """The line is not what a writer writes; the text says why, without the line."""


_DECODER = msgspec.json.Decoder(_Attributes)


def read(line: bytes) -> Link:
    """The record in a line without its line end, its own hash checked. NotARecord."""
    end = _END.search(line, max(0, len(line) - _LONGEST_END))
    if end is None:
        raise NotARecord("does not end in a hash")
    body, digest = line[: end.start()], end[1].decode()
    if hashlib.sha256(body).hexdigest() != digest:
        raise NotARecord("was changed: its hash is another")
    try:
        found = _DECODER.decode(body + b"}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotARecord("is no record of the format") from None
    if not (_NUMBER.match(found.id) and _SOURCE.match(found.source) and found.type.startswith(TYPE)):
        raise NotARecord("is no record of the format")
    kind = found.type[len(TYPE) :]
    if (kind == "checkpoint") != (end[2] is not None):
        raise NotARecord("is signed and no checkpoint, or a checkpoint and not signed")
    signature = bytes.fromhex(end[2].decode()) if end[2] else b""
    return Link(int(found.id), found.source, kind, found.time, found.previous, found.data, digest, signature)


def beginning(rest: bytes) -> tuple[str, int] | None:
    """Source and id of a record that breaks off, ("", 0) where it breaks off before them; None: this is no beginning of a record."""
    if _ANY_END.search(rest):
        return None  # a whole record, and something else
    named = _BEGINNING.match(rest)
    if named:
        return named[2].decode("utf-8", "replace"), int(named[1])
    is_short = len(rest) < len(_OPENING) or b'","type":' not in rest
    return ("", 0) if is_short and rest[: len(_OPENING)] == _OPENING[: len(rest)] else None


def head_of(line: bytes) -> Head | None:
    """The end of a chain, as its last whole line tells it; None where that is no record."""
    try:
        link = read(line.rstrip(b"\n"))
    except NotARecord:
        return None
    return Head(link.source, str(link.number), link.hash)
