"""The public keys of a token issuer (RFC 7517), fetched when they are needed and kept for a bounded time.

Called by `webtoken.py` for each token that is verified. A key is found by its id and the algorithm together, each key is good for the
algorithms of its own kind only, and symmetric keys are none: a token cannot choose how it is verified.

    age of the keys     a known key        an unknown key
    under 5 min         at once            the keys are fetched anew, at most every 10 s, else refused
    under 1 h           at once, and they  likewise
                        are fetched anew in the background
    over 1 h, or none   waits for a fetch  waits for a fetch         nobody can be let in while it fails

A key that the issuer has withdrawn is gone with the next fetch that succeeds. A fetch takes 5 s at most; nobody who brings a known key
waits for one. It must not use what a token says about keys, other than the id.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import AllowedPublicKeys, ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from modelward_runtime.access.client import Answer, Client
from modelward_runtime.access.identity import Refusal, Unreachable

FRESH: Final = 300.0
STALE: Final = 3600.0
PAUSE: Final = 10.0
_SECONDS: Final = 5.0
_KEY_SETS: Final = "application/jwk-set+json, application/json"
"""RFC 7517, 8.5.1; the API server of Kubernetes gives its keys as nothing else, most issuers as plain JSON."""
_MOST_KEYS: Final = 256
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"P-256": ("ES256",), "P-384": ("ES384",), "Ed25519": ("EdDSA",)}
_RSA_BITS: Final = range(2048, 8193)  # weaker is broken, longer takes milliseconds

log = logging.getLogger(__name__)
Keys = Mapping[tuple[str, str], AllowedPublicKeys]


class KeySet:
    """The keys of one issuer, for these algorithms; `clock` is monotonic, in seconds."""

    def __init__(self, source: Client, algorithms: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._algorithms = frozenset(algorithms)
        self._clock = clock
        self._keys: Keys = {}
        self._fetched = -STALE
        self._next = float("-inf")
        self._failure = ""
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> AllowedPublicKeys:
        """The key. Raises `Refusal` when there is none, `Unreachable` when that cannot be known."""
        key = self._known(kid, algorithm)
        if key is not None:
            if self._clock() - self._fetched > FRESH:
                self._renew()
            return key
        if fetching := self._renew():
            await asyncio.shield(fetching)
            key = self._known(kid, algorithm)
        if key is not None:
            return key
        if self._failure or self._is_stale():
            raise Unreachable(f"the keys of the issuer cannot be fetched: {self._failure or 'not yet tried again'}")
        raise Refusal("signed with a key that the issuer does not publish")

    def _is_stale(self) -> bool:
        return self._clock() - self._fetched >= STALE

    def _known(self, kid: str | None, algorithm: str) -> AllowedPublicKeys | None:
        if self._is_stale():
            return None
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, fits), key in self._keys.items() if fits == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _renew(self) -> "asyncio.Task[None] | None":
        """The fetch that is on its way, or a new one unless there was one just now."""
        if self._fetching is None and self._clock() >= self._next:
            self._next = self._clock() + PAUSE
            self._fetching = asyncio.ensure_future(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            answer = await self._source.call("GET", {"accept": _KEY_SETS}, seconds=_SECONDS)
            self._keys, self._failure = read_keys(answer, self._algorithms), ""
            self._fetched = self._clock()
        except Unreachable as error:
            self._failure = str(error)
            log.warning("the keys of the token issuer cannot be fetched", extra={"cause": self._failure})
        finally:
            self._fetching = None


def read_keys(answer: Answer, algorithms: frozenset[str]) -> Keys:
    """The usable keys, by id and algorithm. Raises `Unreachable` when there are none: the old ones are better then."""
    if answer.status != 200:
        raise Unreachable(f"the address of the keys answers {answer.status}")
    try:
        listed = msgspec.json.decode(answer.body)["keys"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        raise Unreachable("what is published is no JSON Web Key Set") from None
    found: dict[tuple[str, str], AllowedPublicKeys] = {}
    for jwk in listed[:_MOST_KEYS] if isinstance(listed, list) else ():
        fits = [name for name in _algorithms_of(jwk) if name in algorithms]
        key = _public_key(jwk) if fits else None
        if key is not None:
            found |= {(_id_of(jwk), name): key for name in fits}
    if not found:
        raise Unreachable("there is no key for the algorithms that are allowed")
    return found


def _algorithms_of(jwk: Any) -> Sequence[str]:  # noqa: ANN401  JSON
    """What the kind of the key is good for, and the key says that it is for."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return ()
    operations = jwk.get("key_ops") or ["verify"]
    if not isinstance(operations, list) or "verify" not in operations:
        return ()
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "RSA":
        able: Sequence[str] = _RSA
    else:
        able = _CURVES.get(curve, ()) if kind in ("EC", "OKP") and isinstance(curve, str) else ()
    return [name for name in able if jwk.get("alg", name) == name]


def _id_of(jwk: dict[str, Any]) -> str:
    kid = jwk.get("kid")
    return kid if isinstance(kid, str) else ""


def _public_key(jwk: dict[str, Any]) -> AllowedPublicKeys | None:
    """None where it is broken, too weak or too long."""
    reader: Any = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}[jwk["kty"]]
    try:
        key = reader.from_jwk(jwk)
    except (InvalidKeyError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        log.warning("a key of the token issuer is broken", extra={"kid": _id_of(jwk)[:64]})
        return None
    if isinstance(key, RSAPublicKey) and key.key_size not in _RSA_BITS:
        return None
    public: AllowedPublicKeys = key
    return public
