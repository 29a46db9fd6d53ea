"""Who a token belongs to, as whoever vouches for it says; and the ways in which that cannot be had.

Made by `tokenreview.py` and `webtoken.py`, judged by `permission.py`.

    Refusal         the token is not accepted: 401. The text is for the log only, and never holds a part of the token
    Unreachable     nobody could be asked: 503, and tried again
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

FOREVER = float("inf")


class Refusal(Exception):
    """The token is not accepted; the text says why, for the log."""


class Unreachable(Exception):
    """Nobody could say; the text says why, for the log."""


class Identity(msgspec.Struct, frozen=True):
    """A user as Kubernetes describes one; `expires` is when the token does, in seconds since the epoch."""

    username: str
    uid: str = ""
    groups: Sequence[str] = ()
    extra: Mapping[str, Sequence[str]] = {}
    expires: float = FOREVER


class Authenticator(Protocol):
    """Knows whose token it is."""

    async def authenticate(self, token: bytes) -> Identity:
        """Whose it is. Raises `Refusal` and `Unreachable`."""


class Authorizer(Protocol):
    """Knows who may predict."""

    async def permits(self, identity: Identity) -> bool:
        """May they? Raises `Unreachable`."""
