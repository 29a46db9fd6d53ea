"""Takes a compact JWS apart, strictly, before anybody believes a word of it (RFC 7515, 7519, 8725).

Called by `webtoken.py` for what it verifies afterwards, and by `tokenreview.py` for the expiry of a token that the API server has
verified. JSON that two parsers could read differently is refused: a name twice, NaN, bytes after the end.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from modelward_runtime.access.identity import Refusal

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a token says, of which nothing is verified."""

    header: dict[str, Any]
    claims: dict[str, Any]


def take_apart(token: bytes) -> Parts:
    """Header and claims. Raises `Refusal`."""
    segments = token.split(b".")
    if len(segments) != 3:
        raise Refusal("not a signed web token")
    return Parts(_object(segments[0], "header"), _object(segments[1], "claims"))


def expiry(claims: dict[str, Any]) -> float | None:
    """The claim `exp`, in seconds since the epoch; None where there is none. Raises `Refusal`."""
    found = claims.get("exp")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < 1e11:
        raise Refusal("exp is not a time")
    return float(found)


def _object(segment: bytes, what: str) -> dict[str, Any]:
    if not segment or len(segment) % 4 == 1 or not _ALPHABET.issuperset(segment):
        raise Refusal(f"the {what} is not base64url")
    try:
        content = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
        value = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, binascii.Error, RecursionError):
        raise Refusal(f"the {what} is not JSON, or says something twice") from None
    if not isinstance(value, dict):
        raise Refusal(f"the {what} is not an object")
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands there twice")
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
