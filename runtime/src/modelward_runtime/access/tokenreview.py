"""Has the API server say whose token it is, and whether it was issued for us (authentication.k8s.io/v1 TokenReview).

One of the two authenticators that `opening.py` chooses from. A token of this cluster that was meant for somebody else, the API server
included, must not open a model: whoever received it could replay it. So the audience that we ask for must be in the answer; a server
that knows nothing of audiences leaves it out, and nobody gets in.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from modelward_runtime.access.apiserver import ApiReviews
from modelward_runtime.access.identity import FOREVER, Identity, Refusal
from modelward_runtime.access.jose import expiry, take_apart

_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_LEEWAY: Final = 60.0  # our clock may be wrong by so much before we presume to know better than the API server


class TokenReviewer:
    """Asks for one audience."""

    def __init__(self, api: ApiReviews, audience: str, wall: Callable[[], float] = time.time) -> None:
        self._api = api
        self._audience = audience
        self._wall = wall

    async def authenticate(self, token: bytes) -> Identity:
        """The user of the token. A token that is long over costs the API server nothing."""
        expires = _expires(token)
        if expires < self._wall() - _LEEWAY:
            raise Refusal("expired")
        spec = {"token": token.decode("ascii"), "audiences": [self._audience]}
        status = await self._api.ask(_PATH, "TokenReview", "authentication.k8s.io/v1", spec=spec)
        if status.get("authenticated") is not True:
            raise Refusal(f"by the API server: {str(status.get('error') or 'it does not know it')[:300]}")
        if self._audience not in (status.get("audiences") or ()):
            raise Refusal("the API server does not say that it is for this audience")
        return _identity(status.get("user"), expires)


def _expires(token: bytes) -> float:
    """When it says that it expires: not verified, so it can only make things stricter."""
    try:
        found = expiry(take_apart(token).claims)
    except Refusal:
        return FOREVER  # no web token: the API server may know other kinds
    return FOREVER if found is None else found


def _identity(user: Any, expires: float) -> Identity:  # noqa: ANN401  JSON
    if not isinstance(user, dict) or not user.get("username"):
        raise Refusal("the API server names no user")
    return Identity(
        str(user["username"]), str(user.get("uid") or ""), user.get("groups") or (), user.get("extra") or {}, expires
    )
