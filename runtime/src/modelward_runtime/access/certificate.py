"""The certificate that REST and gRPC show, followed while it is renewed: no restart, and no connection is dropped.

`serve.py` waits for the first pair and then watches; `ports.py` takes both transports' view of it. A new pair holds for handshakes from
then on, connections that stand go on. The kubelet swaps a mounted Secret by one symbolic link (`..data`), so both files are read behind
the same one; and a key that does not fit its certificate is refused wherever the files come from. What is unusable never replaces the last
good pair. The key is in memory only, ours and OpenSSL's: OpenSSL reads files, and is given one that has no name in any file system.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.log import timestamp

PROTOCOLS: Final = ("http/1.1", "h2")  # of REST and of gRPC
_EVERY: Final = 1.0  # seconds between two looks
_SPKI: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
_MOST_BYTES: Final = 1 << 20

log = logging.getLogger(__name__)


class Unusable(Exception):
    """There is no pair, or it does not fit together; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its key, in PEM, that fit; `not_after` is in seconds since the epoch, `sha256` of the leaf in hex."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    not_after: float
    sha256: str

    @property
    def told(self) -> dict[str, str]:
        """What the report says about it."""
        return {"notAfter": timestamp(self.not_after), "sha256": self.sha256}


class Certificates:
    """The newest usable pair of a directory; `tell` hears of each that is taken."""

    def __init__(self, directory: Path, tell: Callable[[Pair], None] = lambda _: None) -> None:
        self._directory = directory
        self._tell = tell
        self._stamp: object = None
        self._problem = "not looked at yet"
        self._pair: Pair | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def arrive(self, fail: Callable[[LoadError], None], every: float = _EVERY) -> None:
        """Wait for the first usable pair; `fail` hears what is missing, again and again."""
        while problem := self.refresh():
            fail(LoadError(LoadReason.SERVING_CERTIFICATE_UNUSABLE, problem, "load", permanent=False))
            await asyncio.sleep(every)

    async def watch(self, every: float = _EVERY) -> None:
        """Follow the directory until cancelled."""
        while True:
            await asyncio.sleep(every)
            self.refresh()

    def refresh(self) -> str:
        """Look once; what is wrong with what lies there now, and an empty text when it is in use."""
        stamp = _stamp_of(self._directory)
        if stamp == self._stamp:
            return self._problem
        self._stamp = stamp
        try:
            pair = read_pair(self._directory)
            contexts = {protocol: make_context(pair, protocol) for protocol in PROTOCOLS}
        except (Unusable, OSError) as error:
            self._problem = str(error)
            log.error("the serving certificate is not usable", extra={"cause": self._problem})  # noqa: TRY400
            return self._problem
        self._pair, self._contexts, self._problem = pair, contexts, ""
        self._tell(pair)
        log.info("serving certificate taken", extra=pair.told)
        return ""

    @property
    def not_after(self) -> float:
        """When the one in use expires, in seconds since the epoch. Raises `Unusable` before the first."""
        return self._taken().not_after

    def for_http(self) -> ssl.SSLContext:
        """A context for the listener, that hands each handshake over to the newest pair's own.

        A live context is not reloaded: it would keep a certificate of another kind of key beside the new one, and show it.
        """
        return self._listening("http/1.1")

    def for_grpc(self) -> ssl.SSLContext:
        """The same for HTTP/2."""
        return self._listening("h2")

    def _listening(self, protocol: str) -> ssl.SSLContext:
        def choose(connection: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> None:
            connection.context = self._contexts[protocol]

        listening = make_context(self._taken(), protocol)
        listening.sni_callback = choose
        return listening

    def _taken(self) -> Pair:
        if self._pair is None:
            raise Unusable("there is no certificate yet")
        return self._pair


def read_pair(directory: Path) -> Pair:
    """What the directory holds, if it fits. Raises `Unusable`."""
    data = directory / "..data"
    place = data.resolve() if data.is_symlink() else directory  # once: the link may point elsewhere a moment later
    chain, key = _read(place, "tls.crt", directory), _read(place, "tls.key", directory)
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unusable(f"{directory}: tls.crt or tls.key is not PEM, or the key has a password: {error}") from None
    if leaf.public_key().public_bytes(*_SPKI) != private.public_key().public_bytes(*_SPKI):
        raise Unusable(f"{directory}: tls.key is not the key of the first certificate in tls.crt")
    return Pair(chain, key, leaf.not_valid_after_utc.timestamp(), leaf.fingerprint(hashes.SHA256()).hex())


def make_context(pair: Pair, protocol: str = PROTOCOLS[0]) -> ssl.SSLContext:
    """A server's context of this pair alone: TLS 1.2 or newer, one of `PROTOCOLS`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    with _nameless(pair.key.rstrip() + b"\n" + pair.chain) as path:
        context.load_cert_chain(path)
    return context


def _read(place: Path, name: str, directory: Path) -> bytes:
    try:
        with (place / name).open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise Unusable(f"{directory}/{name} cannot be read: {error.strerror}") from None


def _stamp_of(directory: Path) -> object:
    """What changes when a file is written anew, swapped, or comes or goes."""
    found: list[object] = []
    for name in ("tls.crt", "tls.key"):
        try:
            stat = (directory / name).stat()
        except OSError as error:
            found.append(error.errno)
        else:
            found.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size))
    return found


@contextmanager
def _nameless(content: bytes) -> Iterator[str]:
    """A path to a file that only this process has, while the block runs."""
    with os.fdopen(os.memfd_create("tls", os.MFD_CLOEXEC), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
