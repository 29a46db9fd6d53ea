"""What every store of models offers: a list of files, and the bytes of one, piece by piece.

`fetch.py` reads a store through `Store`; `s3.py` and `oci.py` are the two there are. It must not know either.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.locate import fetch_error

PIECE: Final = 64 * 1024  # at least this much a step; also what a slow line must move within the stall time
MOST_FILES: Final = 10_000


class RemoteFile(msgspec.Struct, frozen=True):
    """One file: what the store calls it, its path below the model's folder, its size in bytes as listed."""

    key: str
    name: str
    size: int
    sha256: str = ""  # hex, where the store says beforehand what the bytes must be


class Reading(msgspec.Struct, frozen=True):
    """An open file: its announced size and its bytes, piece by piece."""

    size: int
    pieces: Iterator[bytes]


class Readable(Protocol):
    """Where a file's bytes come from; every call blocks, and raises LoadError of the fetch stage, or OSError."""

    def read(self, file: RemoteFile) -> Reading:
        """Open one file for streaming."""


class Store(Readable, Protocol):
    """One model in one store."""

    def files(self) -> Sequence[RemoteFile]:
        """The model's files; never none."""


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
