"""Key-encryption keys in HashiCorp Vault's Transit engine (or OpenBao's, which speaks the same): the key never leaves Vault.

A pod logs in by the Kubernetes auth method with its projected service-account token; `modelward seal` brings a token. Needs Transit's
`associated_data`, which binds a wrapped key to its manifest. The client is the standard library's: three calls do not pay for a client
library and what it pulls into the serving image. It must never put a token or a key into a message: only Vault's own words get out.

    policy of a serving pod    path "transit/decrypt/KEY" { capabilities = ["update"] }
    policy of who seals        path "transit/encrypt/KEY" { capabilities = ["update"] }
"""

import base64
import binascii
import http.client
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit

from modelward_runtime.config import VaultKeys
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek import WrappedKey
from modelward_runtime.store.sealed.refusals import refuse

PROVIDER: Final = "Vault"
_TIMEOUT = 10.0  # seconds, for a connection and for each answer
_MOST_BYTES = 1 << 20  # of an answer
_FRESH = 0.8  # of its lease, a token is used for
_LONGEST_LEASE = 1 << 40  # seconds
_TRANSIENT = frozenset(
    {408, 412, 425, 429, 472, 473}
)  # and every 3xx (a standby that does not forward) and 5xx (503: sealed)
_VERSION = re.compile(r"vault:(v[1-9][0-9]*):")

# What Transit says with 400, and what it means; the first that is found counts.
_MEANINGS: Final[tuple[tuple[str, LoadReason, str], ...]] = (
    ("encryption key not found", LoadReason.KEY_NOT_FOUND, "there is no such key"),
    ("(too old)", LoadReason.KEY_DENIED, "this version of the key was rotated away: min_decryption_version"),
    ("version is too new", LoadReason.KEY_NOT_FOUND, "the key has no such version: was it made anew?"),
    ("invalid ciphertext", LoadReason.KEY_WRONG, "it was not wrapped by this key, for this manifest.json"),
    ("message authentication failed", LoadReason.KEY_WRONG, "it was not wrapped by this key, for this manifest.json"),
    ("permission denied", LoadReason.KEY_DENIED, "the policy of the role does not allow it"),
)


@dataclass(frozen=True)
class Token:
    """What Vault lets in: until `until`, in seconds of a monotonic clock."""

    value: str = field(repr=False)
    until: float = float("inf")


Login = Callable[["Server"], Token]


def connect(keys: VaultKeys) -> "VaultKey":
    """The key that boot.json names, entered with the pod's service-account token. Nothing is asked yet."""
    server = Server(keys.address, keys.namespace, Path(keys.ca_bundle_file) if keys.ca_bundle_file else None)
    return VaultKey(server, keys.mount, keys.key, kubernetes_login(keys.auth_path, keys.role, Path(keys.token_file)))


def named(place: str) -> "VaultKey":
    """The key that a person names as `vault:https://HOST:PORT/MOUNT/KEY`, with the environment of Vault's own command line."""
    address = _split(place)
    mount, _, key = address.path.strip("/").rpartition("/")
    token = os.environ.get("VAULT_TOKEN", "")
    if address.scheme not in {"http", "https"} or not (address.hostname and mount and key):
        raise refuse(LoadReason.CONFIG_INVALID, f"vault:{place} is no key of Vault: vault:https://HOST:PORT/MOUNT/KEY")
    if not token:
        raise refuse(
            LoadReason.KEY_DENIED,
            "VAULT_TOKEN is not set: put a token into it that may encrypt or decrypt with the key",
        )
    ca_bundle = os.environ.get("VAULT_CACERT")
    server = Server(
        f"{address.scheme}://{address.netloc}",
        os.environ.get("VAULT_NAMESPACE"),
        Path(ca_bundle) if ca_bundle else None,
    )
    return VaultKey(server, mount, key, lambda _: Token(token))


def kubernetes_login(auth_path: str, role: str, token_file: Path, clock: Callable[[], float] = time.monotonic) -> Login:
    """Log in as a pod; the file is read each time, because the kubelet renews it."""

    def login(server: "Server") -> Token:
        try:
            jwt = token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no token"
            raise refuse(
                LoadReason.KEY_DENIED, f"the service-account token {token_file} cannot be read: {why}"
            ) from None
        path = f"auth/{_path(auth_path)}/login"
        answer = server.post(
            path, {"role": role, "jwt": jwt}, "", f"logging in as the role {role}", denied={400, 403, 404}
        )
        auth = _map(answer.get("auth"))
        lease = auth.get("lease_duration")
        lasts = lease * _FRESH if isinstance(lease, int) and 0 < lease < _LONGEST_LEASE else float("inf")
        return Token(str(auth.get("client_token", "")), clock() + lasts)

    return login


class VaultKey:
    """One key of one Transit engine. Its id is MOUNT/KEY, its versions are Transit's: `v1`, `v2`, …"""

    def __init__(
        self, server: "Server", mount: str, key: str, login: Login, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._mount = mount
        self._key = key
        self._login = login
        self._clock = clock
        self._token = Token("", 0.0)
        self.kek_id = f"{mount}/{key}"

    def wrap(self, data_key: bytes, context: bytes, tenant: str = "") -> WrappedKey:
        """Have Transit encrypt the data key with the newest version of the key."""
        sent = {"plaintext": _encode(data_key), "associated_data": _encode(context)}
        wrapped = str(self._call("encrypt", sent).get("ciphertext", ""))
        version = _VERSION.match(wrapped)
        if version is None:
            raise refuse(LoadReason.KEY_WRONG, f"Vault {self.kek_id}: the answer to encrypt holds no ciphertext")
        return WrappedKey(PROVIDER, self.kek_id, version[1], wrapped.encode())

    def unwrap(self, wrapped: WrappedKey, context: bytes, tenant: str = "") -> bytes:
        """Have Transit decrypt it."""
        if (wrapped.provider, wrapped.kek_id) != (PROVIDER, self.kek_id):
            raise refuse(
                LoadReason.KEY_NOT_FOUND,
                f"the model is wrapped for the {wrapped.provider} key {wrapped.kek_id}, and the key at hand is Vault's {self.kek_id}",
            )
        try:
            sent = {"ciphertext": wrapped.wrapped.decode("ascii"), "associated_data": _encode(context)}
            return base64.b64decode(str(self._call("decrypt", sent).get("plaintext", "")), validate=True)
        except (UnicodeDecodeError, binascii.Error):
            raise refuse(
                LoadReason.KEY_WRONG, f"Vault {self.kek_id}: the wrapped key in keys.json is not one of Transit's"
            ) from None

    def _call(self, verb: str, sent: Mapping[str, str]) -> Mapping[str, Any]:
        """The `data` of one Transit call. A token that was revoked before its time is renewed once."""
        path = f"{_path(self._mount)}/{verb}/{_path(self._key)}"
        doing = f"{verb} with {self.kek_id}"
        is_new = self._clock() >= self._token.until
        if is_new:
            self._token = self._login(self._server)
        try:
            answer = self._server.post(path, sent, self._token.value, doing, denied={403})
        except LoadError as error:
            if is_new or error.reason is not LoadReason.KEY_DENIED:
                raise
            self._token = self._login(self._server)
            answer = self._server.post(path, sent, self._token.value, doing, denied={403})
        return _map(answer.get("data"))


class Server:
    """Where Vault is. Each call has a connection of its own: there is one per load."""

    def __init__(self, address: str, namespace: str | None = None, ca_bundle: Path | None = None) -> None:
        self._address = _split(address)
        self._namespace = namespace
        self._ca_bundle = ca_bundle

    def post(
        self, path: str, sent: Mapping[str, str], token: str, doing: str, *, denied: set[int]
    ) -> Mapping[str, Any]:
        """The answer to a POST below /v1/; LoadError with a Key… reason. Which codes are a denial depends on the call."""
        headers = {"Content-Type": "application/json", "X-Vault-Request": "true"}
        headers |= {"X-Vault-Token": token} if token else {}
        headers |= {"X-Vault-Namespace": self._namespace} if self._namespace else {}
        connection = self._connection()
        try:
            connection.request("POST", f"{self._address.path.rstrip('/')}/v1/{path}", json.dumps(sent), headers)
            response = connection.getresponse()
            content = response.read(_MOST_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise self._unreachable(
                f"its certificate is not trusted ({error.verify_message}); a private CA belongs into caBundleRef"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(str(error) or type(error).__name__) from None
        finally:
            connection.close()
        return self._judge(response.status, content, doing, denied)

    def _judge(self, status: int, content: bytes, doing: str, denied: set[int]) -> Mapping[str, Any]:
        try:
            answer = json.loads(content) if content else {}
        except (ValueError, RecursionError):
            answer = {}
        answer = _map(answer)
        if status in {200, 204}:
            return answer
        said = _said(answer) or f"HTTP {status}"
        if status in _TRANSIENT or 300 <= status < 400 or status >= 500:
            raise self._unreachable(said)
        reason, meaning = _meaning(status, said, denied)
        told = f" ({meaning})" if meaning else ""
        raise refuse(reason, f"Vault at {self._address.netloc}, {doing}: {said}{told}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        try:
            trust = ssl.create_default_context()
            if self._ca_bundle:
                trust.load_verify_locations(self._ca_bundle)
        except (OSError, ssl.SSLError) as error:
            raise refuse(
                LoadReason.CONFIG_INVALID, f"the CA bundle {self._ca_bundle} cannot be read: {error.strerror}"
            ) from None
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=trust)

    def _unreachable(self, why: str) -> LoadError:
        return refuse(LoadReason.KEY_SERVICE_UNREACHABLE, f"Vault at {self._address.netloc} does not answer: {why}")


def _split(address: str) -> SplitResult:
    """The parts of a URL; one with a user or password is refused, and not repeated."""
    if "@" in address:
        raise refuse(
            LoadReason.CONFIG_INVALID,
            "the address of Vault holds a user or a password: Vault takes a token, leave out what stands before the @",
        )
    try:
        parts = urlsplit(address)
        _ = parts.port  # parsed only when it is asked for
    except ValueError:
        raise refuse(LoadReason.CONFIG_INVALID, f"the address of Vault is no URL: {address}") from None
    return parts


def _meaning(status: int, said: str, denied: set[int]) -> tuple[LoadReason, str]:
    for words, reason, meaning in _MEANINGS:
        if words in said:
            return reason, meaning
    if status in denied:
        return LoadReason.KEY_DENIED, ""
    if status == 404:
        return LoadReason.KEY_NOT_FOUND, "there is no Transit engine at this mount, or no such namespace"
    return LoadReason.KEY_WRONG, ""


def _map(value: object) -> Mapping[str, Any]:
    """An object of JSON; empty for whatever else somebody puts in its place."""
    return value if isinstance(value, dict) else {}


def _said(answer: Mapping[str, Any]) -> str:
    """Vault's own words, on one line."""
    errors = answer.get("errors")
    words = [str(error) for error in errors] if isinstance(errors, list) else []
    return " ".join("; ".join(words).replace("1 error occurred:", "").replace("* ", "").split())[:300]


def _path(text: str) -> str:
    """A path of Vault's, its segments quoted."""
    return "/".join(quote(part, safe="") for part in text.strip("/").split("/"))


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
