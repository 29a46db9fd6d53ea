"""Whether header fields are well-formed: RFC 9113, section 8. Pure; called by `receiver.py` for each stream that opens, `client.py` for an
answer."""

import re
from typing import Final

from modelward_runtime.http2.hpack import Fields


class BadFields(Exception):
    """The stream is reset."""


_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED: Final = frozenset({b":method", b":scheme", b":path"})
_CONNECTION: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_STATUS: Final = re.compile(rb"[1-5][0-9][0-9]")


def check(fields: Fields) -> int:
    """How many bytes of a body are announced, -1 where nothing is said. Raises `BadFields`."""
    found = _checked.get(fields)
    if found is None:
        found = _check(fields)
        if len(_checked) >= 64:
            _checked.clear()
        if sum(len(name) + len(value) for name, value in fields) <= 1024:
            _checked[fields] = found
    return found


_checked: Final[dict[Fields, int]] = {}


def _check(fields: Fields) -> int:
    pseudo: set[bytes] = set()
    expected, regular = -1, False
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise BadFields
        if name.startswith(b":"):
            if regular or name not in _PSEUDO or name in pseudo:
                raise BadFields
            pseudo.add(name)
            continue
        regular = True
        if not _NAME.fullmatch(name) or name in _CONNECTION or (name == b"te" and value != b"trailers"):
            raise BadFields
        if name == b"content-length":
            expected = _length(value, expected)
    if not pseudo >= _NEEDED or (b":path", b"") in fields:
        raise BadFields
    return expected


def check_answer(fields: Fields, *, trailing: bool) -> None:
    """Of an answer's head, or of what stands behind its body. Raises `BadFields`."""
    begins = fields[:1] if not trailing else ()
    if not trailing and not (begins and begins[0][0] == b":status" and _STATUS.fullmatch(begins[0][1])):
        raise BadFields
    for name, value in fields[len(begins) :]:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name in _CONNECTION:
            raise BadFields


def _length(value: bytes, before: int) -> int:
    if not value.isdigit() or len(value) > 15 or before not in {-1, int(value)}:
        raise BadFields
    return int(value)
