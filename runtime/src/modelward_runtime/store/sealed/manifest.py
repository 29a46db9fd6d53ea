"""`manifest.json`: which files a sealed model has, whose it is, and a commitment to its data key.

Written by `writing.py`, read by `opening.py`. It must not do I/O. The format is FORMAT.md's; every limit here is named there.
"""

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from modelward_runtime.store.sealed import canonical
from modelward_runtime.store.sealed.binding import bind
from modelward_runtime.store.sealed.refusals import seal_invalid
from modelward_runtime.store.sealed.stream import ciphertext_size

FORMAT: Final = "modelward.sealed/v1"
NAME: Final = "manifest.json"
MOST_BYTES: Final = 8 << 20
MOST_FILES: Final = 10_000
LONGEST_PATH: Final = 512
_LARGEST_FILE = 1 << 48

_WORD = re.compile(r"[!-~]{1,253}\Z")
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\Z")

# Printable ASCII without the space: what tenants, models and versions are called in a cluster, and more.
Word = Annotated[str, msgspec.Meta(pattern=f"^{_WORD.pattern}")]
Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_FILE)]


class SealedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One file of the model; its ciphertext lies at `data/<index>`."""

    path: str
    plaintext_size: Size
    size: Size  # of the ciphertext
    sha256: Hex32  # of the ciphertext


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What was sealed, for whom."""

    format: Literal["modelward.sealed/v1"] = FORMAT
    tenant: Word
    model: Word
    version: Word
    key_commitment: Hex32
    files: Annotated[tuple[SealedFile, ...], msgspec.Meta(min_length=1, max_length=MOST_FILES)]

    def associated_data(self, path: str) -> bytes:
        """What binds the stream of one file to its tenant, model, version and path."""
        return associated_data(self.tenant, self.model, self.version, path)

    @property
    def data_names(self) -> tuple[str, ...]:
        """Where the ciphertexts lie, in the order of `files`."""
        return tuple(f"data/{index}" for index in range(len(self.files)))


def associated_data(tenant: str, model: str, version: str, path: str) -> bytes:
    """What binds a stream to its place: a valid ciphertext is none for another tenant, model, version or path."""
    return bind(FORMAT, tenant, model, version, path)


def parse(content: bytes) -> Manifest:
    """The manifest in these bytes; LoadError SealInvalid says what is wrong with it."""
    found = canonical.decode(content, Manifest, NAME)
    check_paths([file.path for file in found.files])
    for file in found.files:
        expected = ciphertext_size(file.plaintext_size)
        if file.size != expected:
            raise seal_invalid(
                f"{NAME}: {file.path} is said to have {file.plaintext_size} bytes, which makes {expected} of ciphertext and not {file.size}"
            )
    return found


def check_words(**words: str) -> None:
    """Refuse a tenant, model or version that no manifest can hold."""
    for field, word in words.items():
        if not _WORD.match(word):
            raise seal_invalid(
                f"the {field} {word[:253]!r} cannot be in a sealed model: 1 to 253 printable ASCII characters without space"
            )


def check_paths(paths: Sequence[str]) -> None:
    """Refuse too many paths, and such as are not of the grammar, not sorted, double, or a file and a folder at once."""
    if len(paths) > MOST_FILES:
        raise seal_invalid(f"a sealed model has {MOST_FILES} files at most, and these are {len(paths)}")
    for path in paths:
        if len(path) > LONGEST_PATH or not _PATH.match(path):
            raise seal_invalid(
                f"the path {path[:LONGEST_PATH]!r} cannot be in a sealed model: segments of letters, digits, '.', '_' and '-', "
                f"none beginning with '.', at most {LONGEST_PATH} characters"
            )
    if any(former >= latter for former, latter in itertools.pairwise(paths)):
        raise seal_invalid(f"{NAME}: the files are not sorted by path, or one is there twice")
    known = set(paths)
    for path in paths:
        parents = path.split("/")[:-1]
        if any("/".join(parents[: depth + 1]) in known for depth in range(len(parents))):
            raise seal_invalid(f"{NAME}: {path!r} lies below a path that is a file itself")


def digest(content: bytes) -> str:
    """The hex SHA-256 of manifest.json: the digest of the sealed model, and what keys.json is bound to."""
    return hashlib.sha256(content).hexdigest()
