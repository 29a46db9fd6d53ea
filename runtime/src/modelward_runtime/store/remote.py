"""What every store of models offers: a list of files, and the bytes of one, piece by piece.

`fetch.py` reads a store through `Store`; `s3.py`, `gs.py`, `oci.py` and `site.py` are those there are. It must not know any. A store
whose files can be had in parts as well is `Divisible`, and `receiving.py` asks for several at once.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.locate import fetch_error

PIECE: Final = 256 * 1024  # at least this much a step; also what a slow line must move within the stall time
LANES: Final = 4  # connections over which one model comes
MOST_FILES: Final = 10_000


class RemoteFile(msgspec.Struct, frozen=True):
    """One file: what the store calls it, its path below the model's folder, its size in bytes as listed."""

    key: str
    name: str
    size: int
    sha256: str = ""  # hex, where the store says beforehand what the bytes must be
    version: str = ""  # by which the store tells that the file is still the same
    divisible: bool = False  # parts of it may be asked for, and prove to be parts of the same


class Reading(msgspec.Struct, frozen=True):
    """An open file: its announced size and its bytes, piece by piece; a piece is good until the next is asked for."""

    size: int
    pieces: Iterator[bytes] | Iterator[memoryview]


class Readable(Protocol):
    """Where a file's bytes come from; every call blocks, and raises LoadError of the fetch stage, or OSError."""

    def read(self, file: RemoteFile) -> Reading:
        """Open one file for streaming."""


@runtime_checkable
class Divisible(Protocol):
    """A store that gives parts of a file."""

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes] | Iterator[memoryview]:
        """Bytes `start` to `stop` of a divisible file, no more and no fewer; ChangedError when it is another by now."""


class ChangedError(Exception):
    """What a store gives for a part is not of the file as it was listed."""


class Store(Readable, Protocol):
    """One model in one store."""

    def files(self) -> Sequence[RemoteFile]:
        """The model's files; never none."""


def is_strong(version: str) -> bool:
    """Does an ETag stand for the very bytes, and may parts be asked for under it? RFC 9110, 8.8.1."""
    return bool(version) and not version.startswith("W/")


def is_page(content_type: str) -> bool:
    """Is it a page for people: of a login, of a proxy, about the file?"""
    return content_type.partition(";")[0].strip().lower() in {"text/html", "application/xhtml+xml"}


def read_bundle(file: Path) -> bytes:
    """The CA bundle; LoadError when it is not there or is no PEM, before anything is fetched with it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise fetch_error(
            LoadReason.CERTIFICATE_INVALID, f"the CA bundle {file} cannot be read: {error.strerror}"
        ) from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise fetch_error(LoadReason.CERTIFICATE_INVALID, f"the CA bundle {file} holds no PEM certificate")
    return content
