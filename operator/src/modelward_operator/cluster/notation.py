"""JSON as the API server speaks it and as the store keeps it, by msgspec: a third of the time of the standard library's, and less.

Called by client.py, store.py, compact.py and shelf.py. What is hashed or written into a document has its own notation, which may never
change: `plan/names.py`.
"""

import json
import re
from typing import Any, Final

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NOT_IN_YAML: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def read_json(text: bytes) -> Any:  # noqa: ANN401  -- whatever was sent
    """Return what the text says; raises ValueError where it is not JSON. The API server passes escaped halves of characters on."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return json.loads(text.decode(), parse_constant=_refuse)


def _refuse(constant: str) -> Any:  # noqa: ANN401  -- returns nothing
    raise ValueError(f"{constant} is no JSON")


def write_json(value: object) -> bytes:
    """Return the value as JSON without spaces, beyond ASCII as it is; halves of characters, which UTF-8 has no bytes for, are escaped."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def write_yaml(value: object) -> bytes:
    """Return JSON that is YAML too: beyond the BMP as it is, and escaped what YAML has no room for."""
    text = write_json(value)
    if text.isascii() and b"\x7f" not in text:
        return text
    whole = json.dumps(value, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda sign: f"\\u{ord(sign[0]):04x}", whole).encode()
