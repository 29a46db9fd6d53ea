"""Verifies JSON Web Tokens of one issuer (RFC 7519, by the rules of RFC 8725).

One of the two authenticators that `opening.py` chooses from; imported only where boot.json asks for it, because PyJWT costs start-up time.
The header is checked here, before anything is verified; PyJWT verifies the signature and the times, the issuer and the audience. What the
token says of its own verification counts for nothing: the algorithm must be in the list of boot.json and fit the key that the issuer
publishes under this id; embedded keys and addresses of keys are not read. It says who somebody is, `permission.py` what they may do.
"""

from typing import Any, Final

import jwt

from modelward_runtime.access.config import JWT
from modelward_runtime.access.identity import Identity, Refusal
from modelward_runtime.access.jose import Parts, expiry, take_apart
from modelward_runtime.access.jwks import KeySet

LEEWAY: Final = 30.0  # seconds by which clocks may differ
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_OPTIONS: Final[Any] = {"require": ["exp", "iss", "aud"]}
_LONGEST_KID: Final = 256
_RESERVED: Final = "system:"  # users and groups that Kubernetes itself vouches for


class WebTokens:
    """Tokens of one issuer."""

    def __init__(self, config: JWT, keys: KeySet) -> None:
        self._config = config
        self._keys = keys

    async def authenticate(self, token: bytes) -> Identity:
        """The user that the claims name."""
        parts = take_apart(token)
        algorithm = self._check_header(parts)
        expires = expiry(parts.claims)
        if expires is None:
            raise Refusal("it never expires")
        key = await self._keys.find(_key_id(parts), algorithm)
        try:
            jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._config.issuer,
                audience=self._config.audiences,
                leeway=LEEWAY,
                options=_OPTIONS,
            )
        except jwt.InvalidTokenError as error:
            raise Refusal(type(error).__name__) from None
        return self._identify(parts.claims, expires)

    def _check_header(self, parts: Parts) -> str:
        """The algorithm, which is one of those that are allowed."""
        header = parts.header
        kind, algorithm = header.get("typ", "JWT"), header.get("alg")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise Refusal("another type of token")
        if "crit" in header or "b64" in header:
            raise Refusal("it demands an extension")
        if not isinstance(algorithm, str) or algorithm not in self._config.algorithms:
            raise Refusal("an algorithm that is not allowed")
        return algorithm

    def _identify(self, claims: dict[str, Any], expires: float) -> Identity:
        config = self._config
        if config.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise Refusal("an e-mail address that the issuer has not verified")
        username = config.username_prefix + _word(claims.get(config.username_claim), "username")
        listed = claims.get(config.groups_claim, ()) if config.groups_claim else ()
        listed = [listed] if isinstance(listed, str) else listed
        if not isinstance(listed, (list, tuple)):
            raise Refusal("its groups are no list")
        groups = tuple((config.groups_prefix or "") + _word(group, "group") for group in listed)
        if any(name.startswith(_RESERVED) for name in (username, *groups)):
            raise Refusal("it claims a name of Kubernetes itself")
        return Identity(username, groups=groups, expires=expires)


def _key_id(parts: Parts) -> str | None:
    kid = parts.header.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= _LONGEST_KID):
        raise Refusal("its key id is none")
    return kid


def _word(found: object, what: str) -> str:
    if not isinstance(found, str) or not found or not found.isprintable():
        raise Refusal(f"its {what} is none")
    return found
