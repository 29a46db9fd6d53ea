"""Small sealed folders for tests: keys that are the same each time, files of any content, sealed by the code under test."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509 import Certificate

from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.sealed.opening import Expected
from modelward_runtime.store.sealed.writing import Identity, Sealer, seal

IDENTITY = Identity("risk", "fraud", "7")


def signing_key(name: str = "ci") -> ec.EllipticCurvePrivateKey:
    """The same P-256 key for the same name."""
    number = int.from_bytes(hashlib.sha256(f"signing {name}".encode()).digest(), "big") >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


def write_signing_key(folder: Path, name: str = "ci") -> tuple[Path, Path]:
    """The key's PEM files: private, public."""
    key = signing_key(name)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def write_kek(folder: Path, name: str = "k1") -> Path:
    """A key-encryption key's file, the same for the same name."""
    file = folder / name
    file.write_bytes(base64.b64encode(hashlib.sha256(f"kek {name}".encode()).digest()) + b"\n")
    return file


def random_like(seed: str) -> Callable[[int], bytes]:
    """Bytes that look random and are the same each time."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed} {count}".encode()).digest(size)

    return draw


@dataclass(frozen=True)
class Bytes:
    """A file of the model that is in memory."""

    path: str
    content: bytes = field(repr=False)
    piece: int = 300_007

    def chunks(self) -> Iterator[bytes]:
        """In pieces that fit no segment."""
        for start in range(0, len(self.content), self.piece):
            yield self.content[start : start + self.piece]


@dataclass(frozen=True)
class Sealed:
    """A sealed folder, and what opens it."""

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)
    kek_file: Path
    expected: Expected

    @property
    def kek(self) -> SecretFile:
        """The key-encryption key."""
        return SecretFile(self.kek_file)


def make_sealed(
    home: Path,
    files: Mapping[str, bytes],
    *,
    name: str = "sealed",
    identity: Identity = IDENTITY,
    signer: str = "ci",
    kek: str = "k1",
    seed: str = "seed",
    certificates: Sequence[Certificate] = (),
) -> Sealed:
    """Seal these files into HOME/NAME; `certificates` are the signer's chain."""
    random = random_like(seed)
    sealer = Sealer(SecretFile(write_kek(home, kek), kek, random), kek, signing_key(signer), random)
    if certificates:
        sealer = replace(sealer, certificates=tuple(one.public_bytes(Encoding.DER) for one in certificates))
    seal([Bytes(path, content) for path, content in files.items()], home / name, identity, sealer)
    trust = {signer: signing_key(signer).public_key()}
    expected = Expected(identity.tenant, identity.model, identity.version, trust)
    return Sealed(home / name, files, home / kek, expected)
