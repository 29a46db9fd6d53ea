"""Finds the token in an `authorization` header or metadata entry, or says that there is none.

Called by `door.py` for each call, before anything is looked up: what is remembered is remembered of the token. It must look at no more
than `MOST_BYTES`, and must not know what a token means.
"""

import re
from typing import Final

MOST_BYTES: Final = 16 * 1024  # of a token: those of Kubernetes have 1 to 2 KiB, those with hundreds of groups 10
_TOKEN: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")  # token68 of RFC 7235


class NoToken(Exception):
    """Nothing that could be a bearer token; the text says why, for the log."""


def find_token(authorization: bytes) -> bytes:
    """The token of `Bearer TOKEN` (RFC 6750, 2.1), the scheme in any case, one space or more (RFC 9110, 11.4). Raises `NoToken`."""
    if not authorization:
        raise NoToken("no authorization")
    if len(authorization) > MOST_BYTES:
        raise NoToken("too long")
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise NoToken("another scheme")
    token = rest.strip(b" ")
    if not _TOKEN.fullmatch(token):
        raise NoToken("not a token")
    return token
