"""Everything that must not open the door, as a table: what is sent as `authorization`, in words and by a mint of good tokens.

Run over REST and gRPC against both authenticators (`tests/integration/test_access.py`), and in one process against the verifier of web
tokens (`tests/unit/test_access_webtoken.py`). All get the same answer, 401 and the same words. The API server is the judge of its own
tokens and reads some of them more kindly than we read web tokens (RFC 8725); those lines are for web tokens only.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.tokens import Mint, jwk, public_pem, raw, signed

BOTH, WEB = ("TokenReview", "JWT"), ("JWT",)
Header = str | tuple[str, ...] | None  # none, one, or several


@dataclass(frozen=True)
class Attack:
    """One line of the table."""

    reason: str
    send: Callable[[Mint], Header]
    modes: tuple[str, ...] = BOTH

    def __str__(self) -> str:
        return self.reason


def bearer(make: Callable[[Mint], str]) -> Callable[[Mint], Header]:
    return lambda mint: f"Bearer {make(mint)}"


def by_stranger(**header: Any) -> Callable[[Mint], Header]:
    """Signed with the attacker's own key."""
    return bearer(lambda mint: mint.token(header, mint.stranger))


def own_key(mint: Mint) -> dict[str, str]:
    return jwk(mint.stranger, str(mint.header.get("kid")), alg="RS256")


def unsigned(algorithm: str) -> Callable[[Mint], Header]:
    return bearer(lambda mint: raw({**mint.header, "alg": algorithm}, {**mint.claims, "exp": time.time() + 600}, b""))


def cut(mint: Mint, part: int, content: str) -> str:
    parts = mint.token().split(".")
    parts[part] = content
    return ".".join(parts)


def twice(name: str, text: str) -> Callable[[Mint], str]:
    """The claims with one of them said again, properly signed."""
    return lambda mint: signed(mint.header, json.dumps(dict(mint.claims))[:-1] + f', "{name}": {text}}}', mint.key)


ATTACKS = (
    # nothing that could be a token
    Attack("nothing", lambda _: None),
    Attack("an empty header", lambda _: ""),
    Attack("another scheme", lambda _: "Basic YWRtaW46YWRtaW4="),
    Attack("another scheme, a good token", lambda mint: f"Token {mint.token()}"),
    Attack("no token", lambda _: "Bearer "),
    Attack("no scheme", lambda mint: mint.token()),
    Attack("no space", lambda mint: f"Bearer{mint.token()}"),
    Attack("one word", lambda _: "Bearer hello"),
    Attack("two tokens in one header", lambda mint: f"Bearer {mint.token()}, Bearer {mint.token()}"),
    Attack("two headers", lambda mint: (f"Bearer {mint.token()}", f"Bearer {mint.token()}")),
    Attack("two headers, one empty", lambda mint: ("", f"Bearer {mint.token()}")),
    Attack("a parameter", lambda mint: f"Bearer {mint.token()} realm=x"),
    Attack("characters of no token", lambda mint: f"Bearer {mint.token()};"),
    Attack("oversized", bearer(lambda mint: mint.token(pad="x" * 16384))),
    # not signed by who they say
    *(Attack(f"alg {name}", unsigned(name)) for name in ("none", "None", "NONE", "nOnE", "")),
    Attack("alg none, with a signature", bearer(lambda mint: mint.token({"alg": "none"}))),
    Attack("no alg", bearer(lambda mint: mint.token({"alg": ...}))),
    Attack("signature left out", bearer(lambda mint: cut(mint, 2, ""))),
    Attack("signature of another", bearer(lambda mint: cut(mint, 2, mint.token(jti="other").split(".")[2]))),
    Attack("claims of another", bearer(lambda mint: cut(mint, 1, mint.token(jti="other").split(".")[1]))),
    Attack("header of another", bearer(lambda mint: cut(mint, 0, mint.token({"x": 1}).split(".")[0]))),
    Attack("another's key under the right id", by_stranger()),
    Attack("an unknown key", by_stranger(kid="unknown")),
    Attack("no key id", by_stranger(kid=...)),
    Attack("HS256 with the public key", bearer(lambda m: m.token({"alg": "HS256"}, public_pem(m.key)))),
    Attack("HS256 with an empty key", bearer(lambda mint: mint.token({"alg": "HS256"}, b"\0"))),
    Attack("RS384 in name only", bearer(lambda mint: mint.token({"alg": "RS384"}))),
    Attack("ES256 over an RSA key", bearer(lambda mint: mint.token({"alg": "ES256"}))),
    Attack("its own key inside", bearer(lambda mint: mint.token({"jwk": own_key(mint)}, mint.stranger))),
    Attack("its own key inside, no id", bearer(lambda m: m.token({"jwk": own_key(m), "kid": ...}, m.stranger))),
    Attack("keys at its own address", by_stranger(jku="https://127.0.0.1:1/keys", kid="mine")),
    Attack("a certificate at its own address", by_stranger(x5u="https://127.0.0.1:1/cert", kid="mine")),
    Attack("a key id that is a path", bearer(lambda m: m.token({"alg": "HS256", "kid": "../../dev/null"}, b"\0"))),
    Attack("a key id that is SQL", by_stranger(kid="' UNION SELECT 'k' --")),
    Attack("a key id that is long", by_stranger(kid="k" * 9000)),
    Attack("a key id that is no text", by_stranger(kid=["0"])),
    # signed, and not for us, not now
    Attack("expired", bearer(lambda mint: mint.token(exp=int(time.time()) - 120, iat=int(time.time()) - 720))),
    Attack("not yet valid", bearer(lambda mint: mint.token(nbf=int(time.time()) + 600))),
    Attack("another audience", bearer(lambda mint: mint.token(aud=["https://somebody.example"]))),
    Attack("no audience", bearer(lambda mint: mint.token(aud=...)), WEB),
    Attack("another issuer", bearer(lambda mint: mint.token(iss="https://evil.example"))),
    Attack("the issuer with a slash", bearer(lambda mint: mint.token(iss=f"{mint.claims['iss']}/"))),
    Attack("it never expires", bearer(lambda mint: mint.token(exp=...)), WEB),
    Attack("exp is text", bearer(lambda mint: mint.token(exp="4000000000")), WEB),
    Attack("exp is endless", bearer(twice("exp", "1e999")), WEB),
    Attack("nobody's", bearer(lambda mint: mint.token(sub=...)), WEB),
    Attack("an empty subject", bearer(lambda mint: mint.token(sub="")), WEB),
    # signed, and not plainly what it seems
    Attack("an extension", bearer(lambda mint: mint.token({"crit": ["exp"]}))),
    Attack("claims that are not encoded", bearer(lambda mint: mint.token({"b64": False, "crit": ["b64"]})), WEB),
    Attack("another type", bearer(lambda mint: mint.token({"typ": "logout+jwt"})), WEB),
    Attack("a type that is no text", bearer(lambda mint: mint.token({"typ": 1})), WEB),
    Attack("a claim said twice", bearer(twice("sub", '"admin"')), WEB),
    Attack("NaN", bearer(twice("x", "NaN")), WEB),
    Attack("claims without an end", bearer(lambda m: signed(m.header, "[" * 6000, m.key))),
    Attack("claims that are a list", bearer(lambda m: signed(m.header, json.dumps([dict(m.claims)]), m.key))),
    Attack("claims that are no JSON", bearer(lambda mint: signed(mint.header, "sub=admin", mint.key))),
    Attack("two segments", bearer(lambda mint: mint.token().rpartition(".")[0])),
    Attack("four segments", bearer(lambda mint: f"{mint.token()}.e30")),
    Attack("encrypted", bearer(lambda mint: f"{mint.token()}.e30.e30")),
    Attack("base64 with padding", bearer(lambda mint: mint.token().replace(".", "=.", 1)), WEB),
)
