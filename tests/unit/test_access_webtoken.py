"""Web tokens in one process: the attacks again, what passes, and whose names a token may carry. Keys come over real HTTPS."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from modelward_runtime.access import jwks
from modelward_runtime.access.bearer import NoToken, find_token
from modelward_runtime.access.client import Answer, Client
from modelward_runtime.access.config import JWT
from modelward_runtime.access.identity import Identity, Refusal, Unreachable
from modelward_runtime.access.jwks import KeySet, read_keys
from modelward_runtime.access.webtoken import WebTokens
from tests.attacks import ATTACKS, Attack
from tests.issuer import Issuer, issuer
from tests.loop_clock import LATER, in_the_end
from tests.serving_certificates import Authority
from tests.tokens import Mint, jwk
from tests.until import PATIENCE

URL = "https://issuer.example"
KEY = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
CLAIMS = {"iss": URL, "aud": ["a", "modelward.dev"], "sub": "ada"}
MINT = Mint(KEY, {"alg": "RS256", "kid": "k1", "typ": "JWT"}, CLAIMS)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with issuer(Authority(), tmp_path_factory.mktemp("issuer")) as running:
        running.keys = [jwk(KEY, "k1"), jwk(CURVE, "k2")]
        yield running


def config(**changes: Any) -> JWT:
    fields = {
        "server": "https://api", "tokenFile": "t", "caFile": "c", "issuer": URL, "audiences": ["modelward.dev"],
        "jwksUri": "https://issuer.example/keys", "algorithms": ["RS256", "ES256"], "usernameClaim": "sub",
        "usernamePrefix": "oidc:", "mode": "JWT",
    }  # fmt: skip
    return msgspec.convert({**fields, **changes}, JWT)


@pytest.fixture
def keys(published: Issuer, tmp_path: Path) -> KeySet:
    return KeySet(Client(published.url, published.ca), ("RS256", "ES256"))


async def verify(keys: KeySet, header: Any, **changes: Any) -> Identity:
    values = (header,) if isinstance(header, str) else header or ("",)
    token = find_token(", ".join(values).encode())
    return await WebTokens(config(**changes), keys).authenticate(token)


async def test_a_good_token_is_its_user(keys: KeySet) -> None:
    before = int(time.time())
    token, after = MINT.token(groups=["risk"]), int(time.time())
    found = await verify(keys, f"bearer {token}", groupsClaim="groups", groupsPrefix="team:")
    assert ("oidc:ada", ("team:risk",)) == (found.username, found.groups)
    assert before + 600 <= found.expires <= after + 600


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
async def test_every_attack_is_refused(keys: KeySet, attack: Attack) -> None:
    with pytest.raises((Refusal, NoToken)) as caught:
        await verify(keys, attack.send(MINT))
    assert MINT.token().split(".")[0] not in str(caught.value), "the log gets no token material"


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("no type", lambda: MINT.token({"typ": ...})),
        ("an access token", lambda: MINT.token({"typ": "at+JWT"})),
        ("another kind of key", lambda: MINT.token({"alg": "ES256", "kid": "k2"}, CURVE)),
        ("a thumbprint nobody needs", lambda: MINT.token({"x5t": "abc"})),
        ("a key of its own that nobody reads", lambda: MINT.token({"jwk": jwk(KEY, "x")})),
        ("one audience, not in a list", lambda: MINT.token(aud="modelward.dev")),
        ("a clock that is 20 s ahead", lambda: MINT.token(nbf=time.time() + 20, iat=time.time() + 20)),
        ("a clock that is 20 s behind", lambda: MINT.token(exp=time.time() - 20)),
        ("no key id, and one key that fits", lambda: MINT.token({"kid": ...})),
    ],
)
async def test_what_is_unusual_and_right_passes(keys: KeySet, reason: str, make: Callable[[], str]) -> None:
    assert "oidc:ada" == (await verify(keys, f"Bearer {make()}")).username, reason


@pytest.mark.parametrize(
    ("reason", "claims", "changes"),
    [
        ("a user of Kubernetes", {"sub": "system:admin"}, {"usernamePrefix": ""}),
        ("a group of Kubernetes", {"groups": ["system:masters"]}, {"groupsClaim": "groups"}),
        ("by a prefix that runs on", {"sub": "tem:admin"}, {"usernamePrefix": "sys"}),
        ("an unverified address", {"email": "a@b", "email_verified": False}, {"usernameClaim": "email"}),
        ("an address that is said to be verified", {"email": "a@b", "email_verified": "true"}, {"usernameClaim": "email"}),
        ("no such claim", {}, {"usernameClaim": "upn"}),
        ("a name of two lines", {"sub": "ada\nadmin"}, {}),
        ("a name that is a number", {"upn": 7}, {"usernameClaim": "upn"}),
        ("groups that are no list", {"groups": {"risk": True}}, {"groupsClaim": "groups"}),
        ("a group that is no text", {"groups": ["risk", None]}, {"groupsClaim": "groups"}),
    ],
)  # fmt: skip
async def test_names_that_a_token_may_not_carry(keys: KeySet, reason: str, claims: Any, changes: Any) -> None:
    with pytest.raises(Refusal):
        pytest.fail(f"{reason}: {await verify(keys, f'Bearer {MINT.token(**claims)}', **changes)}")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        *((name, KEY) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("ES256", CURVE),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
async def test_every_algorithm_of_the_contract_is_verified_with_a_key_that_a_library_wrote(
    published: Issuer, algorithm: str, key: Any
) -> None:
    kind: Any = jwt.get_algorithm_by_name(algorithm)
    before, published.keys = published.keys, [{**kind.to_jwk(key.public_key(), as_dict=True), "kid": "k9"}]
    try:
        keys = KeySet(Client(published.url, published.ca), (algorithm,))
        token = jwt.encode({**CLAIMS, "exp": int(time.time()) + 60}, key, algorithm, {"kid": "k9"})
        assert "oidc:ada" == (await verify(keys, f"Bearer {token}", algorithms=[algorithm])).username
        with pytest.raises(Refusal):
            await verify(keys, f"Bearer {token}", algorithms=["RS512" if algorithm == "RS256" else "RS256"])
    finally:
        published.keys = before


# ── the keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuer is waited for as long as a busy machine takes."""
    monkeypatch.setattr(jwks, "_SECONDS", PATIENCE)


@pytest.fixture
def timed(published: Issuer, clock: Clock) -> Iterator[KeySet]:
    before = published.keys
    yield KeySet(Client(published.url, published.ca), ("RS256", "ES256"), clock)
    published.keys, published.status, published.content = before, 200, None
    published.may_answer.set()


async def test_a_new_key_is_fetched_when_it_is_first_seen_and_an_old_one_goes(
    published: Issuer, timed: KeySet, clock: Clock
) -> None:
    assert await timed.find("k1", "RS256")
    published.keys, asked = [jwk(KEY, "k3")], published.asked
    for _ in range(5):
        with pytest.raises(Refusal):
            await timed.find("k3", "RS256")
    assert asked == published.asked, "invented ids are no way to have the issuer asked all the time"
    clock.now += 11
    assert await timed.find("k3", "RS256")
    with pytest.raises(Refusal):
        await timed.find("k1", "RS256")
    assert asked + 1 == published.asked


async def test_keys_are_renewed_in_the_background_and_a_hanging_issuer_holds_up_nobody_who_is_known(
    published: Issuer, timed: KeySet, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await timed.find("k1", "RS256")
    monkeypatch.setattr(jwks, "_SECONDS", LATER)
    published.may_answer.clear()
    clock.now += 301
    for _ in range(10):
        assert await timed.find("k1", "RS256")
    assert timed._fetching is not None, "nobody has waited for its end"
    asked = published.asked
    published.may_answer.set()
    while timed._fetching:
        await timed._fetching
    assert published.asked <= asked + 1, "one fetch at a time"


async def test_an_unknown_key_waits_for_a_hanging_issuer_only_so_long(
    published: Issuer, timed: KeySet, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await timed.find("k1", "RS256")
    monkeypatch.setattr(jwks, "_SECONDS", LATER)
    published.may_answer.clear()
    clock.now += 11
    found = await in_the_end(monkeypatch, *(timed.find("k9", "RS256") for _ in range(20)))
    assert {Unreachable} == {type(error) for error in found}
    assert await timed.find("k1", "RS256"), "and who is known does not wait"


async def test_stale_keys_hold_for_an_hour_and_not_longer(published: Issuer, timed: KeySet, clock: Clock) -> None:
    await timed.find("k1", "RS256")
    published.status = 500
    clock.now += 3599
    assert await timed.find("k1", "RS256")
    while timed._fetching:
        await timed._fetching
    with pytest.raises(Unreachable):
        await timed.find("k9", "RS256")  # nobody can say that there is no such key
    clock.now += 2
    with pytest.raises(Unreachable):
        await timed.find("k1", "RS256")
    published.status = 200
    clock.now += 11
    assert await timed.find("k1", "RS256")


@pytest.mark.parametrize(
    ("reason", "content"),
    [
        ("no JSON", b"<html>"),
        ("no keys", b"{}"),
        ("no list", b'{"keys": {}}'),
        ("a list of other things", b'{"keys": [1, null, "x", {}]}'),
        ("a symmetric key", b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "k1", "alg": "HS256"}]}'),
        ("half a key", b'{"keys": [{"kty": "RSA", "n": "AQAB", "kid": "k1"}]}'),
        ("for encryption", msgspec.json.encode({"keys": [jwk(KEY, "k1", use="enc")]})),
        ("a weak key", msgspec.json.encode({"keys": [jwk(rsa.generate_private_key(65537, 1024), "k1")]})),
        ("a private key", msgspec.json.encode({"keys": [jwk(KEY, "k1", d="AQAB")]})),
        ("nested deeply", b'{"keys": ' + b"[" * 100_000),
        ("nested deeply, and whole", b'{"keys": [' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}"),
        ("too much", b'{"keys": [' + b" " * (5 << 20)),
    ],
)
async def test_what_an_issuer_should_not_publish_replaces_no_good_key(
    published: Issuer, timed: KeySet, clock: Clock, reason: str, content: bytes
) -> None:
    await timed.find("k1", "RS256")
    published.content = content
    clock.now += 400
    assert await timed.find("k1", "RS256"), reason
    while timed._fetching:
        await timed._fetching
    assert timed._failure, reason
    assert await timed.find("k1", "RS256"), reason


ODD_KEYS: list[Any] = [
    {"kty": "RSA", "key_ops": 5},
    {"kty": "RSA", "key_ops": "verify", "n": "AQAB", "e": "AQAB"},
    {"kty": ["EC"]},
    {"kty": {"EC": 1}, "crv": "P-256"},
    {"kty": "EC", "crv": ["P-256"], "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "P-256", "x": 5, "y": None},
    {"kty": "RSA", "n": ["AQAB"], "e": {}},
    {"kty": "RSA", "alg": ["RS256"], "n": "AQAB", "e": "AQAB"},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": {"a": 1}},
    {"kty": "RSA", "use": ["sig"]},
    [], None, 1, "RSA",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_KEYS, ids=repr)
def test_an_odd_key_takes_no_other_along(odd: Any) -> None:
    body = msgspec.json.encode({"keys": [odd, jwk(KEY, "k1"), odd]})
    allowed = frozenset({"RS256", "ES256", "EdDSA"})
    assert [("k1", "RS256")] == list(read_keys(Answer(200, body=body), allowed))


@pytest.mark.parametrize(
    "body", [b'{"keys":["\xff"]}', b"\xff", b"[" * 200_000, b'{"keys":' + b"[" * 200_000, b"[]", b"{}"]
)
def test_what_is_no_key_set_leaves_the_keys_that_are_known(body: bytes) -> None:
    with pytest.raises(Unreachable):
        read_keys(Answer(200, body=body), frozenset({"RS256"}))


async def test_an_issuer_whose_certificate_is_not_trusted_is_away(published: Issuer, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(Authority("other").pem)
    with pytest.raises(Unreachable, match="certificate"):
        await KeySet(Client(published.url, tmp_path / "other.pem"), ("RS256",)).find("k1", "RS256")
