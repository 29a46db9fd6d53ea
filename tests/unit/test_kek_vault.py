"""Vault's Transit engine as a key provider: what is sent, and what each answer means. The real Vault is in the suite `keys`."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from modelward_runtime.config import VaultKeys
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.keyfiles import open_kek
from modelward_runtime.store.kek import WrappedKey, connect
from modelward_runtime.store.kek.vault import Server, Token, VaultKey, kubernetes_login
from tests.recorded_vault import JWT, Vault, running

DATA_KEY, CONTEXT = bytes(range(32)), bytes(32)


@pytest.fixture
def vault() -> Iterator[Vault]:
    with running() as started:
        yield started


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(JWT + "\n")
    return file


def key(vault: Vault, token_file: Path, **settings: Any) -> VaultKey:
    known = {"address": vault.address, "key": "fraud", "role": "risk", "token_file": str(token_file)}
    made = connect(VaultKeys(**{**known, **settings}))
    assert isinstance(made, VaultKey)
    return made


def refusal(key: VaultKey, wrapped: WrappedKey, context: bytes = CONTEXT) -> LoadError:
    with pytest.raises(LoadError) as caught:
        key.unwrap(wrapped, context)
    assert caught.value.stage in {"decrypt", "verify"}
    assert not any(secret in caught.value.message for secret in (JWT, "hvs.", DATA_KEY.hex()))
    return caught.value


def test_what_was_wrapped_is_unwrapped(vault: Vault, token_file: Path) -> None:
    wrapped = key(vault, token_file).wrap(DATA_KEY, CONTEXT)
    assert ("Vault", "transit/fraud", "v1") == (wrapped.provider, wrapped.kek_id, wrapped.kek_version)
    assert DATA_KEY not in wrapped.wrapped
    assert DATA_KEY == key(vault, token_file).unwrap(wrapped, CONTEXT)


def test_a_rotated_key_still_opens_what_its_older_version_wrapped(vault: Vault, token_file: Path) -> None:
    old = key(vault, token_file).wrap(DATA_KEY, CONTEXT)
    vault.keys["fraud"].append(b"2" * 32)
    assert DATA_KEY == key(vault, token_file).unwrap(old, CONTEXT)
    assert "v2" == key(vault, token_file).wrap(DATA_KEY, CONTEXT).kek_version


def test_a_token_is_kept_until_its_lease_is_near_its_end(vault: Vault, token_file: Path) -> None:
    now = [0.0]
    server = Server(vault.address)
    made = VaultKey(
        server, "transit", "fraud", kubernetes_login("kubernetes", "risk", token_file, lambda: now[0]), lambda: now[0]
    )
    wrapped = made.wrap(DATA_KEY, CONTEXT)
    logins = []
    for moment in (0, 2879, 2881, 5000):
        now[0] = moment
        made.unwrap(wrapped, CONTEXT)
        logins.append(sum("login" in path for path, _ in vault.asked))
    assert [1, 1, 2, 2] == logins


def test_the_projected_token_is_read_at_each_login(vault: Vault, token_file: Path) -> None:
    token_file.write_text("an expired token")
    made = key(vault, token_file)
    wrapped = WrappedKey("Vault", "transit/fraud", "v1", b"vault:v1:AAAA")
    assert refusal(made, wrapped).reason is LoadReason.KEY_DENIED
    token_file.write_text(JWT)
    assert DATA_KEY == made.unwrap(made.wrap(DATA_KEY, CONTEXT), CONTEXT)


def test_a_token_that_was_revoked_is_replaced_once(vault: Vault, token_file: Path) -> None:
    made = key(vault, token_file)
    wrapped = made.wrap(DATA_KEY, CONTEXT)
    vault.tokens.clear()
    assert DATA_KEY == made.unwrap(wrapped, CONTEXT)


def test_who_seals_brings_a_token(vault: Vault) -> None:
    vault.tokens.add("ci")
    made = VaultKey(Server(vault.address, "team-a"), "transit", "fraud", lambda _: Token("ci"))
    assert DATA_KEY == made.unwrap(made.wrap(DATA_KEY, CONTEXT), CONTEXT)
    assert {"team-a"} == {headers["x-vault-namespace"] for _, headers in vault.asked}
    assert "ci" not in repr(Token("ci"))


DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}


def test_a_person_names_a_key_by_its_address(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"vault:{vault.address}/transit/fraud"
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    for wrong, text in ((place, "VAULT_TOKEN is not set"), ("vault:fraud", "is no key of Vault")):
        with pytest.raises(LoadError, match=text):
            open_kek(wrong)
    monkeypatch.setenv("VAULT_TOKEN", "mine")
    vault.tokens.add("mine")
    made = open_kek(place, "transit/fraud")
    assert DATA_KEY == made.unwrap(made.wrap(DATA_KEY, CONTEXT), CONTEXT)
    with pytest.raises(LoadError, match=r"the id of .* is transit/fraud, and not k1"):
        open_kek(place, "k1")


CHANGES: list[tuple[str, dict[str, Any], LoadReason, str]] = [
    ("the key was deleted", {"keys": {}}, LoadReason.KEY_NOT_FOUND, "there is no such key"),
    ("rotated away", {"oldest": 2}, LoadReason.KEY_DENIED, "this version of the key was rotated away"),
    ("made anew", {"keys": {"fraud": [b"1" * 32]}}, LoadReason.KEY_WRONG, "it was not wrapped by this key"),
    ("no right", {"answer": (403, DENIED)}, LoadReason.KEY_DENIED, "permission denied (the policy"),
    ("no engine", {"answer": (404, {"errors": ["no handler for route"]})}, LoadReason.KEY_DENIED, "no handler for route"),
    ("sealed", {"answer": (503, {"errors": ["Vault is sealed"]})}, LoadReason.KEY_SERVICE_UNREACHABLE, "Vault is sealed"),
    ("a proxy's page", {"answer": (502, b"<html>")}, LoadReason.KEY_SERVICE_UNREACHABLE, "HTTP 502"),
    ("too many", {"answer": (429, {"errors": []})}, LoadReason.KEY_SERVICE_UNREACHABLE, "HTTP 429"),
    ("a standby", {"answer": (307, b"")}, LoadReason.KEY_SERVICE_UNREACHABLE, "HTTP 307"),
    ("nonsense", {"answer": (200, b"[1]")}, LoadReason.KEY_WRONG, ""),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "reason", "text"), CHANGES, ids=[case[0] for case in CHANGES])
def test_what_an_answer_means(
    vault: Vault, token_file: Path, what: str, change: dict[str, Any], reason: LoadReason, text: str
) -> None:
    wrapped = key(vault, token_file).wrap(DATA_KEY, CONTEXT)
    for name, value in change.items():
        setattr(vault, name, value)
    if what == "nonsense":
        assert b"" == key(vault, token_file).unwrap(wrapped, CONTEXT), "the caller finds that it is not the data key"
        return
    error = refusal(key(vault, token_file), wrapped)
    assert (reason, reason is not LoadReason.KEY_SERVICE_UNREACHABLE) == (error.reason, error.permanent)
    assert text in error.message


LIES: list[Any] = [b"[" * 200_000, b"\xff", b"", [1], {"data": [1], "auth": [1]}, {"data": "x", "auth": "x"}, {"data": {"plaintext": {}}},
    {"auth": {"lease_duration": "long", "client_token": ["t"]}}, {"auth": {"lease_duration": 10**400}}, {"auth": {"lease_duration": -1}},
    {"auth": {"client_token": "t\r\nX-Other: 1"}}, {"errors": {"a": 1}}, {"errors": [[[]]]},
]  # fmt: skip


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("said", LIES, ids=lambda said: str(said)[:40])
def test_whatever_is_answered_in_vaults_place_is_a_refusal_or_no_key(
    vault: Vault, token_file: Path, status: int, said: Any
) -> None:
    wrapped = key(vault, token_file).wrap(DATA_KEY, CONTEXT)
    vault.answer = (status, said)
    vault.tokens.clear()
    with suppress(LoadError):
        assert DATA_KEY != key(vault, token_file).unwrap(wrapped, CONTEXT), "the caller compares it with the manifest"


def test_another_context_or_another_key_does_not_open(vault: Vault, token_file: Path) -> None:
    made = key(vault, token_file)
    wrapped = made.wrap(DATA_KEY, CONTEXT)
    assert refusal(made, wrapped, bytes(31) + b"\1").reason is LoadReason.KEY_WRONG
    assert refusal(key(vault, token_file, key="other"), wrapped).reason is LoadReason.KEY_NOT_FOUND
    secret = WrappedKey("Secret", "transit/fraud", "v1", wrapped.wrapped)
    assert refusal(made, secret).reason is LoadReason.KEY_NOT_FOUND


def test_a_role_that_does_not_exist_is_a_denial(vault: Vault, token_file: Path) -> None:
    wrapped = key(vault, token_file).wrap(DATA_KEY, CONTEXT)
    error = refusal(key(vault, token_file, role="stranger"), wrapped)
    assert (LoadReason.KEY_DENIED, True) == (error.reason, error.permanent)
    assert "logging in as the role stranger" in error.message


def test_nobody_there_is_transient(token_file: Path) -> None:
    with running() as vault:
        made = key(vault, token_file)
        wrapped = made.wrap(DATA_KEY, CONTEXT)
    error = refusal(made, wrapped)
    assert (LoadReason.KEY_SERVICE_UNREACHABLE, False) == (error.reason, error.permanent)


def test_a_token_file_that_is_not_there_is_named(vault: Vault, tmp_path: Path) -> None:
    wrapped = WrappedKey("Vault", "transit/fraud", "v1", b"vault:v1:AAAA")
    error = refusal(key(vault, tmp_path / "gone"), wrapped)
    assert LoadReason.KEY_DENIED is error.reason
    assert "gone cannot be read: No such file" in error.message


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, with and without its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    both, public = folder / "both.pem", folder / "ca.pem"
    public.write_bytes(made.public_bytes(Encoding.PEM))
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(secret + public.read_bytes())
    return both, public


def test_a_private_ca_is_trusted_when_it_is_named_and_only_then(tmp_path: Path, token_file: Path) -> None:
    both, public = certificate(tmp_path)
    with running(both) as vault:
        wrapped = key(vault, token_file, ca_bundle_file=str(public)).wrap(DATA_KEY, CONTEXT)
        error = refusal(key(vault, token_file), wrapped)
        assert (LoadReason.KEY_SERVICE_UNREACHABLE, False) == (error.reason, error.permanent)
        assert "its certificate is not trusted" in error.message
        broken = refusal(key(vault, token_file, ca_bundle_file=str(token_file)), wrapped)
        assert LoadReason.CONFIG_INVALID is broken.reason


CREDENTIALS = [
    "https://joe:hunter2@vault.example:8200/transit/fraud",
    "https://joe:hunter2@[vault/transit/fraud",
    "https://hunter2@vault.example/transit/fraud",
    "joe:hunter2@vault.example/transit/fraud",
    "https://joe:hunter2@vault.example",
]


@pytest.mark.parametrize("address", CREDENTIALS)
def test_a_password_in_the_address_is_refused_and_not_repeated(
    address: str, monkeypatch: pytest.MonkeyPatch, token_file: Path
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "mine")
    keys = VaultKeys(address=address, key="fraud", role="risk", token_file=str(token_file))
    with pytest.raises(LoadError, match="leave out what stands before the @") as of_a_person:
        open_kek(f"vault:{address}")
    with pytest.raises(LoadError, match="leave out what stands before the @") as of_a_pod:
        connect(keys)
    for caught in (of_a_person, of_a_pod):
        assert LoadReason.CONFIG_INVALID is caught.value.reason
        assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("address", ["https://[vault/transit/fraud", "https://vault:port/transit/fraud"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(LoadError, match="the address of Vault is no URL") as caught:
        open_kek(f"vault:{address}")
    assert LoadReason.CONFIG_INVALID is caught.value.reason
